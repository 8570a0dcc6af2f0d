// Small tools for the page: elements without markup strings, dialogs, dates, copying.

/** An element. `on…` become listeners, `true` an empty attribute; null and false are left out. */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const ICONS = {
  alert: "M12 9v4.5M12 17h.01M10.3 4.2 2.6 17.5A2 2 0 0 0 4.3 20.5h15.4a2 2 0 0 0 1.7-3L13.7 4.2a2 2 0 0 0-3.4 0Z",
  check: "m5 12.5 4.5 4.5L19 7.5",
  chevron: "m9 6 6 6-6 6",
  copy: "M9 9h10v11H9zM5 15V4h10",
  download: "M12 4v11m-4.5-4.5L12 15l4.5-4.5M5 20h14",
  key: "M8 20a4.5 4.5 0 1 1 0-9 4.5 4.5 0 0 1 0 9Zm3.3-7.7L20 3.5M16.5 7l3 3",
  plus: "M12 5v14M5 12h14",
};

export function icon(name) {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon ${name}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(namespace, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

export const hidden = (text) => h("span", { class: "unseen" }, text);

let lastId = 0;
export const newId = () => `id-${++lastId}`;

/**
 * Opens a modal dialog and returns its parts. `mayClose()` is asked before Escape or a click
 * outside closes it, and says why not; `closed()` is called once it is gone. While an answer is
 * awaited (`whileBusy`) nothing closes it.
 */
export function openDialog({ title, className, lead, role, mayClose = () => true, clickOutside, closed }) {
  const titleId = newId();
  const leadId = newId();
  const body = h("div", { class: "body" });
  const alert = h("div", { class: "alerts", role: "alert" });
  const actions = h("div", { class: "actions" });
  const heading = h("h2", { id: titleId, tabindex: "-1" }, title);
  const dialog = h(
    "dialog",
    { class: className, role, "aria-labelledby": titleId, "aria-describedby": lead && leadId },
    h("header", {}, heading, lead && h("p", { id: leadId, class: "muted" }, lead)),
    alert,
    body,
    h("footer", {}, actions),
  );
  let done = false;
  const isBusy = () => actions.querySelector('[aria-disabled="true"]') !== null;
  const close = () => {
    if (isBusy()) return;
    done = true;
    dialog.close();
    leave();
  };
  // At once, not with the later `close` event: what the dialog showed is gone when it is closed.
  const leave = () => {
    if (!dialog.isConnected) return;
    dialog.remove();
    closed?.();
  };
  const askToClose = () => {
    if (!isBusy() && mayClose()) close();
  };
  dialog.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    askToClose();
  });
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    askToClose();
  });
  dialog.addEventListener("close", () => {
    // Why: browsers let a second Escape or a back gesture through, whatever `cancel` was told.
    if (!done && (isBusy() || !mayClose())) {
      if (dialog.isConnected) dialog.showModal();
      return;
    }
    leave();
  });
  if (clickOutside) {
    dialog.addEventListener("pointerdown", (event) => {
      if (event.target === dialog && outside(dialog, event)) clickOutside();
    });
  }
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, heading, body, alert, actions, close };
}

function outside(dialog, { clientX, clientY }) {
  const box = dialog.getBoundingClientRect();
  return clientX < box.left || clientX > box.right || clientY < box.top || clientY > box.bottom;
}

/** A note with an icon: `kind` is `warn`, `danger`, `ok` or empty. */
export const note = (kind, ...content) =>
  h("div", { class: `note ${kind}` }, icon(kind === "ok" ? "check" : "alert"), h("div", {}, ...content));

/**
 * Runs `work` once at a time, with the button saying what happens. Clicks in between do nothing.
 */
export async function whileBusy(button, words, alert, work) {
  if (button.getAttribute("aria-disabled") === "true") return;
  const label = [...button.childNodes];
  const all = [...button.parentNode.children];
  for (const each of all) each.setAttribute("aria-disabled", "true");
  button.replaceChildren(words);
  alert.replaceChildren();
  const slow = setTimeout(() => {
    alert.replaceChildren(note("", h("p", {}, "This takes longer than usual. Still waiting for the server…")));
  }, 4000);
  try {
    return await work();
  } finally {
    clearTimeout(slow);
    for (const each of all) each.removeAttribute("aria-disabled");
    button.replaceChildren(...label);
  }
}

/** What to show for a failed request. */
export function explain(error, settings, ...more) {
  if (error.code === "unauthenticated") {
    return note(
      "warn",
      h("p", {}, "Your session has ended. ", signIn(settings), " in a new tab, then come back and try again. Nothing here is lost."),
    );
  }
  if (error.code === undefined) console.error(error);
  const text = error.code === undefined ? "Something went wrong on this page. Reload it and try again." : error.message;
  return note("danger", h("p", {}, text), ...more);
}

const signIn = ({ signInUrl }) =>
  h("a", { href: signInUrl, target: "_blank", rel: "noopener" }, "Sign in", hidden(" (new tab)"));

/** Asks before the page is left while `needed()`. */
export function guardLeaving(needed) {
  const ask = (event) => {
    if (needed()) event.preventDefault();
  };
  addEventListener("beforeunload", ask);
  return () => removeEventListener("beforeunload", ask);
}

/** A button that copies `text()` and says so. */
export function copyButton(what, text, { label } = {}) {
  const said = h("span", { class: "unseen", role: "status" });
  const face = h("span", {}, label ?? "");
  const button = h("button", { type: "button", class: label ? "" : "quiet small", "aria-label": label ? null : `Copy ${what}` }, icon("copy"), face, label && hidden(` ${what}`));
  let timer;
  button.addEventListener("click", async () => {
    const done = await copy(text(), button);
    button.firstChild.replaceWith(icon(done ? "check" : "alert"));
    if (label) face.textContent = done ? "Copied" : "Not copied";
    said.textContent = done ? `${what} copied` : `${what} could not be copied; select it and copy it by hand`;
    clearTimeout(timer);
    timer = setTimeout(() => {
      button.firstChild.replaceWith(icon("copy"));
      if (label) face.textContent = label;
      said.textContent = "";
    }, 4000);
  });
  return [button, said];
}

async function copy(text, near) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without a secure connection there is no clipboard; the old way works from a click.
    const field = h("textarea", { class: "unseen", "aria-hidden": "true", tabindex: "-1" });
    field.value = text;
    near.after(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    near.focus();
    return done;
  }
}

const DATE = new Intl.DateTimeFormat("en", { dateStyle: "medium" });
const EXACT = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "long" });
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const UNITS = [["year", 31_557_600], ["month", 2_629_800], ["day", 86_400], ["hour", 3600], ["minute", 60]];

export function ago(at, now = Date.now()) {
  const seconds = Math.max(0, (now - new Date(at)) / 1000);
  for (const [unit, length] of UNITS) {
    if (seconds >= length) return RELATIVE.format(-Math.floor(seconds / length), unit);
  }
  return "just now";
}

export const exact = (at) => EXACT.format(new Date(at));

/** A time whose exact form shows on hover and focus. */
export const time = (at, text) =>
  h("time", { datetime: at, class: "tip", tabindex: "0", "data-tip": exact(at) }, text ?? DATE.format(new Date(at)), hidden(` (${exact(at)})`));

export const count = (number, one, many = `${one}s`) =>
  `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
