// The dialogs of a key's life: create, the one sight of its secret, delete.

import { ago, copyButton, exact, explain, guardLeaving, h, icon, newId, note, openDialog, whileBusy } from "./dom.js";

const LONGEST_NAME = 100;
const DAY_MS = 86_400_000;

export function openCreate({ api, apiTypes, settings }, { isTaken, created, unsure, done, closed }) {
  let result = null;
  let lost = false;
  const { body, alert, actions, close } = openDialog({
    title: "Create API Key",
    className: "narrow",
    closed: () => {
      if (result) showSecret(result, { done });
      else {
        closed();
        if (lost) unsure();
      }
      result = null;
    },
  });

  const name = field({ label: "Name", hint: "What uses the key, such as “Lab results sync”. Up to 100 characters.",
    control: h("input", { type: "text", autocomplete: "off", required: true }) });
  const typeName = newId();
  const radios = [...apiTypes.values()].map((apiType) => {
    const describe = newId();
    const radio = h("input", { type: "radio", name: typeName, value: apiType.id, id: newId(), "aria-describedby": describe,
      checked: apiTypes.size === 1, required: true });
    return h("div", { class: "choice" }, radio, h("label", { for: radio.id }, apiType.label),
      h("p", { id: describe, class: "muted" }, apiType.description));
  });
  const type = group({ label: "API type", hint: "The API type cannot be changed later.", controls: radios });
  const submit = h("button", { type: "submit", class: "primary", form: newId() }, "Create");
  const form = h("form", { id: submit.getAttribute("form"), novalidate: true }, name.element, type.element,
    h("p", { class: "muted fine" }, "Connecting a named vendor or lab? That is set up for you: contact ", support(settings), "."));
  body.append(form);
  actions.append(h("button", { type: "button", onclick: close }, "Cancel"), submit);
  name.control.focus();

  // One per intended key: the same attempt repeated must not make two.
  let attempt = { of: null, key: null };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (submit.hasAttribute("aria-disabled")) return;
    const wanted = { name: name.control.value.trim(), api_type: form.querySelector(":checked")?.value };
    name.fault(faultOfName(wanted.name, isTaken));
    type.fault(wanted.api_type ? null : "Choose what the key is for.");
    if (focusFirstFault(form)) return;
    const of = JSON.stringify(wanted);
    if (attempt.of !== of) attempt = { of, key: randomText() };
    whileBusy(submit, "Creating…", alert, async () => {
      try {
        result = await api.create(wanted, attempt.key);
        created(result.credential);
      } catch (error) {
        lost ||= error.unsure === true;
        const fields = error.fields ?? [];
        name.fault(error.code === "name_taken" ? "Another key has this name. Choose a different one." : sentence(fields, "name"));
        type.fault(sentence(fields, "api_type"));
        if (!form.querySelector("[aria-invalid]")) {
          alert.replaceChildren(explain(error, settings, error.unsure && h("p", {},
            `It is not known whether the key was created. If “${wanted.name}” appears in the list, delete it: its secret can no longer be shown.`)));
        }
      }
    }).then(() => (result ? close() : focusFirstFault(form)));
  });
}

function faultOfName(name, isTaken) {
  if (!name) return "Enter a name.";
  if ([...name].length > LONGEST_NAME) return `Use at most ${LONGEST_NAME} characters; this has ${[...name].length}.`;
  if (isTaken(name)) return "Another key has this name. Choose a different one.";
  return null;
}

function sentence(fields, name) {
  const fault = fields.find(({ field: of }) => of === name);
  return fault ? `${fault.message[0].toUpperCase()}${fault.message.slice(1)}.` : null;
}

function focusFirstFault(form) {
  const first = form.querySelector("[aria-invalid]");
  (first?.matches("fieldset") ? first.querySelector("input") : first)?.focus();
  return first !== null;
}

const support = ({ support: who, supportUrl }) => (supportUrl ? h("a", { href: supportUrl, target: "_blank", rel: "noopener" }, who) : who);

function field({ label, hint, control }) {
  const [id, hintId, errorId] = [newId(), newId(), newId()];
  control.id = id;
  control.setAttribute("aria-describedby", `${errorId} ${hintId}`);
  const error = h("p", { id: errorId, class: "error" });
  const element = h("div", { class: "field" }, h("label", { for: id }, label), h("p", { id: hintId, class: "muted" }, hint), control, error);
  return { element, control, fault: (text) => showFault(control, error, text) };
}

function group({ label, hint, controls }) {
  const [hintId, errorId] = [newId(), newId()];
  const error = h("p", { id: errorId, class: "error" });
  const element = h("fieldset", { class: "field", "aria-describedby": `${errorId} ${hintId}` }, h("legend", {}, label),
    h("p", { id: hintId, class: "muted" }, hint), h("div", { class: "choices" }, controls), error);
  const radios = element.querySelectorAll("input");
  return { element, fault: (text) => {
    showFault(radios[0], error, text);
    for (const radio of radios) describe(radio, errorId, Boolean(text));
  } };
}

function describe(control, id, on) {
  const others = (control.getAttribute("aria-describedby") ?? "").split(" ").filter((each) => each && each !== id);
  control.setAttribute("aria-describedby", (on ? [id, ...others] : others).join(" "));
}

function showFault(control, error, text) {
  if (text) control.setAttribute("aria-invalid", "true");
  else control.removeAttribute("aria-invalid");
  error.replaceChildren(...(text ? [icon("alert"), text] : []));
}

function randomText() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The one sight of the secret. Nothing but the ticked checkbox and its buttons closes it. */
function showSecret({ credential, client_secret: secret }, { done }) {
  let thenEdit = false;
  const warn = () => {
    alert.replaceChildren(note("danger", h("p", {}, h("strong", {}, "Save the secret first. "),
      "It cannot be shown again. Copy or download it, then tick the box below.")));
    saved.focus();
    return false;
  };
  const mayClose = () => saved.checked || warn();
  const forget = () => {
    secret = null;
    secretText.textContent = "";
  };
  const { dialog, heading, body, alert, actions, close } = openDialog({
    title: "API Key Created",
    className: "narrow secret",
    lead: `${credential.name}`,
    mayClose,
    clickOutside: () => mayClose(),
    closed: () => {
      stopGuard();
      removeEventListener("pagehide", forget);
      forget();
      done(credential, thenEdit);
    },
  });
  const stopGuard = guardLeaving(() => !saved.checked);
  addEventListener("pagehide", forget);

  const secretText = h("code", { translate: "no" }, secret);
  const saved = h("input", { type: "checkbox", id: newId() });
  const finish = (edit) => () => {
    if (!saved.checked) return;
    thenEdit = edit;
    close();
  };
  const doneButton = h("button", { type: "button", disabled: true, onclick: finish(false) }, "Done");
  const editButton = h("button", { type: "button", class: "primary", disabled: true, onclick: finish(true) }, "Close and Edit Scopes");
  saved.addEventListener("change", () => {
    doneButton.disabled = editButton.disabled = !saved.checked;
    if (saved.checked) alert.replaceChildren();
  });
  const download = h("button", { type: "button", class: "wide", onclick: () => secret && save(credential, secret) }, icon("download"), "Download Credentials");

  body.append(
    note("warn", h("p", {}, h("strong", {}, "The client secret is shown only once."), " Store it in a secrets manager now. Nobody can show it to you again.")),
    value("Client ID", h("code", { translate: "no" }, credential.client_id), () => credential.client_id),
    value("Client Secret", secretText, () => secret ?? ""),
    download,
    h("div", { class: "choice gate" }, saved, h("label", { for: saved.id }, "I have saved my credentials securely")),
  );
  actions.append(doneButton, editButton);
  heading.focus();
  dialog.scrollTop = 0;
}

function value(label, code, text) {
  const id = newId();
  code.id = newId();
  return h("div", { class: "value", role: "group", "aria-labelledby": id }, h("div", { id, class: "label" }, label),
    h("div", { class: "line" }, code, ...copyButton(label, text, { label: "Copy" })));
}

/** Built here from the one answer, so the secret crosses the network once. */
function save({ name, api_type: apiType, environment, client_id: clientId, created_at: createdAt }, secret) {
  const content = { name, api_type: apiType, environment, client_id: clientId, client_secret: secret, created_at: createdAt };
  const url = URL.createObjectURL(new Blob([`${JSON.stringify(content, null, 2)}\n`], { type: "application/json" }));
  const stem = name.normalize("NFKC").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "");
  h("a", { href: url, download: `${stem || "api-key"}-credentials.json` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

export function openDelete({ api, settings }, key, { deleted, closed }) {
  let gone = false;
  const { body, alert, actions, close } = openDialog({
    title: `Delete “${key.name}”?`,
    className: "narrow",
    role: "alertdialog",
    lead: "This cannot be undone.",
    closed: () => {
      if (gone) deleted();
      closed();
    },
  });
  const used = h("div", {});
  const showUse = (at) => used.replaceChildren(lastUse(at));
  showUse(key.last_used_at);
  body.append(used,
    h("p", {}, "Every program that uses this key is refused at once. Access tokens that it already has stop working too."),
    h("dl", {}, h("dt", {}, "Client ID"), h("dd", {}, h("code", {}, key.client_id))));
  const remove = h("button", { type: "button", class: "primary danger" }, "Delete");
  const cancel = h("button", { type: "button", onclick: close }, "Cancel");
  actions.append(cancel, remove);
  cancel.focus();
  remove.addEventListener("click", () =>
    whileBusy(remove, "Deleting…", alert, async () => {
      try {
        await api.revoke(key.id);
        gone = true;
      } catch (error) {
        if (error.code === "not_found") gone = true;
        else alert.replaceChildren(explain(error, settings, error.unsure && h("p", {}, "The key may still work. Deleting again does no harm.")));
      }
    }).then(() => gone && close()));
  // The list may be old, and the last use is what the decision rests on.
  api.get(key.id).then((newer) => showUse(newer.last_used_at), () => {});
}

function lastUse(at) {
  if (!at) return h("p", {}, "This key was never used.");
  const words = [`Last used ${ago(at)}`, h("span", { class: "muted" }, ` (${exact(at)})`)];
  if (Date.now() - new Date(at) >= DAY_MS) return h("p", {}, ...words, ".");
  return note("danger", h("p", {}, h("strong", {}, ...words, "."), " Something still depends on this key."));
}
