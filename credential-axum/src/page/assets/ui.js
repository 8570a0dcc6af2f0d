// What every part of the page is made of: words, icons, dialogs, notes, dates, copying.

import { Component, h } from "./preact.js";
import english from "./words.js";

export { Component, h };

export const settings = JSON.parse(document.getElementById("app").dataset.settings);
settings.apiTypes = Object.fromEntries(settings.apiTypes.map((type) => [type.id, type]));

const table = { ...english, ...settings.words };
const lang = settings.lang;
const plural = new Intl.PluralRules(lang);
export const number = (value) => value.toLocaleString(lang);

/** Somebody's name inside a sentence, whichever way it is written. */
export const bdi = (text) => h("bdi", {}, text);

const support = () => (settings.supportUrl
  ? h("a", { href: settings.supportUrl, target: "_blank", rel: "noopener" }, settings.support)
  : settings.support);

/**
 * A sentence of the table, with values for what stands in braces: a text, or a list of texts and
 * elements if a value is an element. `count` chooses the plural form.
 */
export function t(key, values = {}) {
  const entry = table[key] ?? key;
  const text = typeof entry === "string" ? entry : entry[plural.select(values.count)] ?? entry.other;
  const given = { tenant: settings.tenant, admins: settings.admins, ...values };
  const parts = text.split(/\{(\w+)\}/).map((part, at) => {
    if (at % 2 === 0) return part;
    const value = part === "support" && !("support" in given) ? support() : given[part];
    return typeof value === "number" ? number(value) : value ?? "";
  });
  return parts.every((part) => typeof part === "string") ? parts.join("") : parts;
}

export const isSaid = (key) => (table[key] ?? "") !== "";

// Secrets that were pasted where they do not belong

/** The public part of a pasted secret, `""` if it cannot be told; null if the text holds none. */
export function selectorOf(text) {
  const whole = /_(?:sandbox|production)_([0-9A-Za-z]{23,})/.exec(text);
  if (whole) return whole[1].slice(0, 16);
  const body = (text.match(/[0-9A-Za-z]{49,}/g) ?? []).find((run) => /\d/.test(run) && /[a-z]/.test(run) && /[A-Z]/.test(run));
  if (!body) return null;
  return body.length === 65 ? body.slice(0, 16) : "";
}

/**
 * Keeps secrets out of a field: `found(selector)` is called in place of `typed(text)`. What is pasted does
 * not even get in, so that no undo brings it back.
 */
export const field = (typed, found) => ({
  onpaste: (event) => {
    const selector = selectorOf(event.clipboardData?.getData("text") ?? "");
    if (selector === null) return;
    event.preventDefault();
    event.currentTarget.value = "";
    found(selector);
  },
  oninput: ({ currentTarget: input }) => {
    const selector = selectorOf(input.value);
    if (selector === null) return typed(input.value);
    input.value = "";
    return found(selector);
  },
});

// Text that is compared as people read it

export const fold = (text) => text.normalize("NFKC").toLowerCase();

/** Whether every word of `query` is somewhere in `text`, which is folded already. */
export const hasWords = (text, query) => fold(query).split(/[\s,]+/).every((word) => text.includes(word));

const ICONS = {
  alert: "M12 9v4.5M12 17h.01M10.3 4.2 2.6 17.5A2 2 0 0 0 4.3 20.5h15.4a2 2 0 0 0 1.7-3L13.7 4.2a2 2 0 0 0-3.4 0Z",
  check: "m5 12.5 4.5 4.5L19 7.5",
  chevron: "m9 6 6 6-6 6",
  close: "M6 6l12 12M18 6 6 18",
  copy: "M9 9h10v11H9zM5 15V4h10",
  download: "M12 4v11m-4.5-4.5L12 15l4.5-4.5M5 20h14",
  key: "M8 20a4.5 4.5 0 1 1 0-9 4.5 4.5 0 0 1 0 9Zm3.3-7.7L20 3.5M16.5 7l3 3",
  pencil: "m4 20 1-4.5L16 4.5l3.5 3.5L8.5 19 4 20ZM14 6.5l3.5 3.5",
  plus: "M12 5v14M5 12h14",
  rotate: "M20 11a8 8 0 0 0-14.5-4L3.5 9.5M3.5 4.5v5h5M4 13a8 8 0 0 0 14.5 4l2-2.5M20.5 19.5v-5h-5",
  trash: "M4.5 7h15M9.5 7V4.5h5V7M6.5 7l1 13h9l1-13M10.5 11v5.5M13.5 11v5.5",
};

export const icon = (name) =>
  h("svg", { viewBox: "0 0 24 24", class: `icon ${name}`, "aria-hidden": "true" }, h("path", { d: ICONS[name] }));

export const hidden = (text) => h("span", { class: "unseen" }, text);

let lastId = 0;
export const newId = () => `id-${++lastId}`;

/** A note with an icon: `kind` is `warn`, `danger`, `ok` or empty. */
export const note = (kind, ...content) =>
  h("div", { class: `note ${kind}` }, icon(kind === "ok" ? "check" : "alert"), h("div", {}, ...content));

export const button = (attributes, ...content) => h("button", { type: "button", ...attributes }, ...content);

export const newTab = (href, text) => h("a", { href, target: "_blank", rel: "noopener" }, text, hidden(` ${t("new_tab")}`));

export function explain(error, ...more) {
  const { code } = error;
  if (code === undefined) {
    console.error(error);
    return note("danger", h("p", {}, t("error.page")));
  }
  if (code === "unauthenticated") {
    return note("warn", h("p", {}, t("error.session", { signIn: newTab(settings.signInUrl, t("sign_in")) })), ...more);
  }
  if (code === "tenant_changed") {
    return note("danger", h("p", {}, t("error.tenant_changed")),
      button({ onclick: startOver }, t("error.tenant_changed.reload")));
  }
  const text = isSaid(`error.${code}`) ? t(`error.${code}`) : t("error.other", { code });
  const facts = error.asked && (error.answer
    ? t("error.not_ours.answer", { asked: error.asked, answer: error.answer })
    : t("error.asked", { asked: error.asked }));
  return note("danger", h("p", {}, text), facts && h("p", { class: "facts" }, facts), ...more);
}

/** Whether the page is being loaded anew on purpose: then nothing asks any more. */
export const leaving = { isMeant: false };

/** Loads the page anew, for whoever is signed in now; nothing that it holds could be saved any more. */
export function startOver() {
  leaving.isMeant = true;
  location.reload();
}

export class Copy extends Component {
  async copy(near) {
    const done = await copy(this.props.text(), near);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.setState({ done: undefined }), 4000);
    this.setState({ done });
  }

  componentWillUnmount() {
    clearTimeout(this.timer);
  }

  render({ what, labelled }, { done }) {
    const said = done === undefined ? "" : t(done ? "copy.done.what" : "copy.not.what", { what });
    const face = done === undefined ? t("copy") : t(done ? "copy.done" : "copy.not");
    return [
      button({
        class: labelled ? "" : "quiet small",
        "aria-label": labelled ? undefined : t("copy.what", { what }),
        onclick: ({ currentTarget }) => this.copy(currentTarget),
      }, icon(done === undefined ? "copy" : done ? "check" : "alert"), labelled && [h("span", {}, face), hidden(` ${what}`)]),
      h("span", { class: "unseen", role: "status" }, said),
    ];
  }
}

async function copy(text, near) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without a secure connection there is no clipboard; the old way works from a click.
    const box = document.createElement("textarea");
    box.className = "unseen";
    box.setAttribute("aria-hidden", "true");
    box.tabIndex = -1;
    box.value = text;
    near.after(box);
    box.select();
    const done = document.execCommand("copy");
    box.remove();
    near.focus();
    return done;
  }
}

const DATE = new Intl.DateTimeFormat(lang, { dateStyle: "medium" });
const DAY = new Intl.DateTimeFormat(lang, { month: "short", day: "numeric" });
const MOMENT = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "short" });
const EXACT = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "long" });
const RELATIVE = new Intl.RelativeTimeFormat(lang, { numeric: "auto" });
const UNITS = [["year", 31_557_600], ["month", 2_629_800], ["day", 86_400], ["hour", 3600], ["minute", 60]];
export const DAY_MS = 86_400_000;

/** How far this device's clock is off, as the server's answers say, if it is off by more than they can tell. */
export const clock = { offset: 0 };
export const now = () => Date.now() + clock.offset;

export function ago(at) {
  const seconds = Math.max(0, (now() - new Date(at)) / 1000);
  for (const [unit, length] of UNITS) {
    if (seconds >= length) return RELATIVE.format(-Math.floor(seconds / length), unit);
  }
  return t("time.now");
}

/** Of a secret or a key: whether its end has not come. */
export const isLive = ({ expires_at: end }) => !end || Date.parse(end) > now();

/** "in 6 days", at least one. */
export const inDays = (at) => RELATIVE.format(Math.max(1, Math.ceil((new Date(at) - now()) / DAY_MS)), "day");

/** "Dec 2"; with the year if it is another one. */
export const day = (at) => (new Date(at).getFullYear() === new Date().getFullYear() ? DAY : DATE).format(new Date(at));
export const moment = (at) => MOMENT.format(new Date(at));

/** Between each two of a list. */
export const join = (list, between) => list.flatMap((each, at) => (at ? [between, each] : [each]));

export const exact = (at) => EXACT.format(new Date(at));

export const time = (at, text) =>
  h("time", { datetime: at, title: exact(at) }, text ?? DATE.format(new Date(at)), hidden(` (${exact(at)})`));
