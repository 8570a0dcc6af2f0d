// The dialogs of a key's life: create, the one sight of its secret, rename, delete.

import { Copy, Dialog, Working, bdi, button, explain, field, fold, guardLeaving, h, icon, isSaid, lastUse, newId, note, selectorOf, settings, t } from "./ui.js";

const LONGEST_NAME = 100;

function faultOfName(name) {
  if (!name) return t("fault.name.required");
  if (selectorOf(name) !== null) return t("leak.elsewhere");
  const { length } = [...name];
  return length > LONGEST_NAME ? t("fault.name.too_long", { count: LONGEST_NAME, actual: length }) : null;
}

/** What the server found wrong with a field, in the page's words. */
function faultFrom(fields, name, words) {
  const fault = fields.find(({ field: of }) => of === name);
  if (!fault) return null;
  const key = `fault.${words}.${fault.code}`;
  return t(isSaid(key) ? key : `fault.${words}.other`, { count: LONGEST_NAME, actual: "" });
}

const fault = (id, text) => h("p", { id, class: "error" }, text && [icon("alert"), text]);

function nameField(ids, { name, nameFault }, change) {
  return h("div", { class: "field" },
    h("label", { for: ids.name }, t("field.name")),
    h("p", { id: ids.nameHint, class: "muted" }, t("field.name.hint", { count: LONGEST_NAME })),
    h("input", { type: "text", id: ids.name, dir: "auto", autocomplete: "off", "aria-required": "true", value: name,
      "aria-invalid": String(Boolean(nameFault)), "aria-describedby": `${ids.nameFault} ${ids.nameHint}`,
      ...field((text) => change({ name: text }), () => change({ name: "", nameFault: t("leak.elsewhere") })) }),
    fault(ids.nameFault, nameFault));
}

const idsOf = (...names) => Object.fromEntries(names.map((name) => [name, newId()]));

const randomText = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

export class Create extends Working {
  constructor(props) {
    super(props);
    const { size } = props.apiTypes;
    this.state = { name: "", type: size === 1 ? [...props.apiTypes.keys()][0] : null };
    this.ids = idsOf("form", "name", "nameHint", "nameFault", "type", "typeHint", "typeFault");
    /** Names whose creation may have happened although no answer came, and which keys were there before. */
    this.lost = new Map();
    // One per intended key: the same attempt repeated must not make two.
    this.attempt = { of: null, key: null };
  }

  leave() {
    if (!this.isBusy) this.props.onClose(this.lost);
  }

  submit() {
    if (this.isBusy) return;
    const name = this.state.name.trim();
    const faults = { nameFault: faultOfName(name), typeFault: this.state.type ? null : t("fault.type.required") };
    this.setState(faults, () => this.focusFault());
    if (faults.nameFault || faults.typeFault) return;
    this.work(() => this.create({ name, api_type: this.state.type }));
  }

  focusFault() {
    const first = this.find('[aria-invalid="true"]');
    (first?.matches("fieldset") ? first.querySelector("input") : first)?.focus();
    return Boolean(first);
  }

  async create(wanted) {
    const { api, known, onCreated } = this.props;
    const of = JSON.stringify(wanted);
    if (this.attempt.of !== of) this.attempt = { of, key: randomText() };
    const before = this.lost.get(wanted.name) ?? known();
    try {
      const made = await api.create(wanted, this.attempt.key);
      this.lost.delete(wanted.name);
      onCreated(made, this.lost);
    } catch (error) {
      if (error.unsure || (error.code === "name_taken" && this.lost.has(wanted.name))) {
        this.lost.set(wanted.name, before);
        await this.lookForOrphan(error, wanted);
        return;
      }
      const fields = error.fields ?? [];
      const nameFault = error.code === "name_taken" ? t("fault.name.taken") : faultFrom(fields, "name", "name");
      const typeFault = faultFrom(fields, "api_type", "type");
      this.props.onRefused(error);
      this.setState({ nameFault, typeFault, alert: nameFault || typeFault ? null : explain(error) }, () => this.focusFault());
    }
  }

  /** The answer got lost. Whether the key is there decides what can be done. */
  async lookForOrphan(error, wanted) {
    let orphan;
    try {
      orphan = findOrphan((await this.props.api.list()).items, wanted.name, this.lost.get(wanted.name));
    } catch {
      this.setState({ alert: explain(error, h("p", {}, t("create.lost"), " ", t("create.lost.unchecked", { name: bdi(wanted.name) }))) });
      return;
    }
    if (orphan) {
      this.alert(note("danger", h("p", {}, t("create.orphan", { name: bdi(wanted.name) })),
        h("div", { class: "inline" }, button({ class: "small again", onclick: () => this.work(() => this.replace(orphan, wanted)) }, t("create.orphan.again")))), ".again");
    } else if (error.code === "name_taken") {
      this.setState({ nameFault: t("fault.name.taken") }, () => this.focusFault());
    } else {
      this.setState({ alert: explain(error, h("p", {}, t("create.lost"), " ", t("create.lost.absent", { name: bdi(wanted.name) }))) });
    }
  }

  async replace(orphan, wanted) {
    try {
      this.props.onReplaced((await this.props.api.revoke(orphan.id)).credential);
    } catch (error) {
      this.props.onRefused(error);
      this.setState({ alert: explain(error, h("p", {}, t("create.orphan", { name: bdi(wanted.name) }))) });
      return;
    }
    this.lost.delete(wanted.name);
    this.attempt = { of: null, key: null };
    await this.create(wanted);
  }

  render({ apiTypes }, state) {
    const { ids } = this;
    const radios = [...apiTypes.values()].map(({ id, label, description }, at) => {
      const [radio, describe] = [`${ids.type}-${at}`, `${ids.type}-${at}-about`];
      return h("div", { class: "choice" },
        h("input", { type: "radio", name: ids.type, value: id, id: radio, checked: state.type === id, "aria-describedby": state.typeFault ? `${ids.typeFault} ${describe}` : describe,
          onchange: () => this.setState({ type: id, typeFault: null }) }),
        h("label", { for: radio }, label), h("p", { id: describe, class: "muted" }, description));
    });
    return h(Dialog, {
      title: t("create"), className: "narrow", alert: this.alerts(state), leave: () => this.leave(),
      opened: (dialog) => dialog.querySelector("input").focus(),
      actions: [
        this.action({ onclick: () => this.leave() }, t("cancel")),
        this.action({ type: "submit", class: "primary", form: ids.form }, t(state.busy ? "create.busy" : "create.submit")),
      ],
    }, h("form", { id: ids.form, novalidate: true, onsubmit: (event) => {
      event.preventDefault();
      this.submit();
    } },
    nameField(ids, state, (changes) => this.setState({ nameFault: null, ...changes })),
    h("fieldset", { class: "field", role: "radiogroup", "aria-required": "true", "aria-invalid": String(Boolean(state.typeFault)), "aria-describedby": `${ids.typeFault} ${ids.typeHint}` },
      h("legend", {}, t("field.type")), h("p", { id: ids.typeHint, class: "muted" }, t("field.type.hint")),
      h("div", { class: "choices" }, radios), fault(ids.typeFault, state.typeFault)),
    isSaid("create.integrations") && h("p", { class: "muted fine" }, t("create.integrations"))));
  }
}

/** The key that a lost answer was about: of that name, made by this person, and not there before. */
export const findOrphan = (keys, name, before) =>
  keys.find((key) => fold(key.name) === fold(name) && !before.has(key.id) && key.created_by === settings.actor);

/** The one sight of the secret. Nothing but the ticked checkbox and its buttons closes it. */
export class Secret extends Working {
  constructor(props) {
    super(props);
    this.state = { saved: false, secret: props.secret };
    this.ids = idsOf("saved", "warning", "id", "secret");
  }

  componentDidMount() {
    this.stopGuard = guardLeaving(() => !this.state.saved);
    this.forget = () => this.setState({ secret: "" });
    addEventListener("pagehide", this.forget);
  }

  componentWillUnmount() {
    this.stopGuard();
    removeEventListener("pagehide", this.forget);
  }

  leave(thenEdit = false) {
    if (this.state.saved) {
      this.props.onClose(thenEdit);
      return;
    }
    this.alert(note("danger", h("p", {}, h("strong", {}, t("created.save_first")), " ", t("created.save_first.rest"))), `#${this.ids.saved}`);
  }

  render({ credential }, { saved, secret, alert }) {
    const { ids } = this;
    const value = (label, id, text) => h("div", { class: "value", role: "group", "aria-labelledby": id },
      h("div", { id, class: "label" }, label),
      h("div", { class: "line" }, h("code", { translate: false }, text), h(Copy, { what: label, text: () => text, labelled: true })));
    return h(Dialog, {
      title: t("created"), className: "narrow secret", lead: bdi(credential.name), describedBy: ids.warning, alert, outside: true,
      leave: () => this.leave(),
      opened: (dialog) => {
        dialog.querySelector("h2").focus();
        dialog.scrollTop = 0;
      },
      actions: [
        button({ disabled: !saved, onclick: () => this.leave() }, t("created.done")),
        button({ class: "primary", disabled: !saved, onclick: () => this.leave(true) }, t("created.edit")),
      ],
    },
    h("div", { id: ids.warning }, note("warn", h("p", {}, h("strong", {}, t("created.warning")), " ", t("created.warning.rest")))),
    value(t("created.client_id"), ids.id, credential.client_id),
    value(t("created.secret"), ids.secret, secret),
    button({ class: "wide", onclick: () => secret && save(credential, secret) }, icon("download"), t("created.download")),
    h("div", { class: "choice gate" },
      h("input", { type: "checkbox", id: ids.saved, checked: saved, onchange: ({ currentTarget }) => this.setState({ saved: currentTarget.checked, alert: currentTarget.checked ? null : alert }) }),
      h("label", { for: ids.saved }, t("created.saved"))));
  }
}

/** Built here from the one answer, so the secret crosses the network once. */
function save({ name, api_type: apiType, environment, client_id: clientId, created_at: createdAt }, secret) {
  const content = { name, api_type: apiType, environment, client_id: clientId, client_secret: secret, created_at: createdAt };
  const url = URL.createObjectURL(new Blob([`${JSON.stringify(content, null, 2)}\n`], { type: "application/json" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = `${fileStem(name)}-credentials.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/**
 * The name as a part of a file's name. File systems take 255 bytes, and browsers add to what they are
 * given while they load, so it is cut, at whole characters as people see them.
 */
export function fileStem(name, most = 180) {
  const stem = name.normalize("NFKC").toLowerCase().replace(/[^\p{L}\p{N}\p{M}]+/gu, "-").replace(/^-+|-+$/g, "");
  const bytes = (text) => new TextEncoder().encode(text).length;
  let cut = "";
  let length = 0;
  const characters = Intl.Segmenter
    ? Array.from(new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(stem), ({ segment }) => segment)
    : [...stem];
  for (const segment of characters) {
    length += bytes(segment);
    if (length > most) break;
    cut += segment;
  }
  return cut.replace(/-+$/, "") || "api-key";
}

export class Rename extends Working {
  constructor(props) {
    super(props);
    this.state = { name: props.apiKey.name };
    this.ids = idsOf("form", "name", "nameHint", "nameFault");
    this.version = props.apiKey.version;
  }

  leave() {
    if (!this.isBusy) this.props.onClose();
  }

  submit() {
    if (this.isBusy) return;
    const name = this.state.name.trim();
    const nameFault = faultOfName(name);
    this.setState({ nameFault }, () => nameFault && this.find("input").focus());
    if (!nameFault) this.work(() => this.rename(name));
  }

  async rename(name) {
    const { api, apiKey, onRefused, onRenamed } = this.props;
    try {
      onRenamed(await api.rename(apiKey.id, this.version, name));
    } catch (error) {
      onRefused(error);
      const nameFault = error.code === "name_taken" ? t("fault.name.taken") : faultFrom(error.fields ?? [], "name", "name");
      if (nameFault) {
        this.setState({ nameFault }, () => this.find("input").focus());
      } else if (error.code === "stale_version") {
        await this.again(error);
      } else {
        this.setState({ alert: explain(error, error.unsure && h("p", {}, t("rename.unsure"))) });
      }
    }
  }

  /** Somebody else changed the key. Their change is kept: a name is all that this one sends. */
  async again(error) {
    try {
      this.version = (await this.props.api.get(this.props.apiKey.id)).version;
      this.setState({ alert: note("warn", h("p", {}, t("rename.stale"))) });
    } catch {
      this.setState({ alert: explain(error) });
    }
  }

  render({ apiKey }, state) {
    const { ids } = this;
    return h(Dialog, {
      title: t("rename.title"), className: "narrow", lead: bdi(apiKey.name), alert: this.alerts(state), leave: () => this.leave(),
      opened: (dialog) => dialog.querySelector("input").select(),
      actions: [
        this.action({ onclick: () => this.leave() }, t("cancel")),
        this.action({ type: "submit", class: "primary", form: ids.form }, t(state.busy ? "rename.busy" : "rename.save")),
      ],
    }, h("form", { id: ids.form, novalidate: true, onsubmit: (event) => {
      event.preventDefault();
      this.submit();
    } }, nameField(ids, state, (changes) => this.setState({ nameFault: null, ...changes }))));
  }
}

export class Delete extends Working {
  constructor(props) {
    super(props);
    this.state = { lastUsed: props.apiKey.last_used_at };
    this.ids = idsOf("use", "effect");
  }

  componentDidMount() {
    // The list may be old, and the last use is what the decision rests on.
    this.props.api.get(this.props.apiKey.id).then(({ last_used_at: lastUsed }) => this.setState({ lastUsed }), () => {});
  }

  leave() {
    if (!this.isBusy) this.props.onClose();
  }

  async remove() {
    const { api, apiKey, onRefused, onDeleted } = this.props;
    try {
      onDeleted(await api.revoke(apiKey.id));
    } catch (error) {
      onRefused(error);
      this.setState({ alert: explain(error, error.unsure && h("p", {}, t("delete.unsure"))) });
    }
  }

  render({ apiKey }, { lastUsed, busy, ...state }) {
    const { ids } = this;
    const use = lastUse(lastUsed);
    return h(Dialog, {
      title: t("delete.title", { name: bdi(apiKey.name) }), className: "narrow", role: "alertdialog", lead: t("delete.final"),
      describedBy: `${ids.use} ${ids.effect}`, alert: this.alerts(state), leave: () => this.leave(),
      opened: (dialog) => dialog.querySelector("footer button").focus(),
      actions: [
        this.action({ onclick: () => this.leave() }, t("cancel")),
        this.action({ class: "primary danger", onclick: () => this.work(() => this.remove()) }, t(busy ? "delete.busy" : "delete")),
      ],
    },
    h("div", { id: ids.use }, use.isRecent ? note("danger", h("p", {}, h("strong", {}, use.text), " ", t("use.recent"))) : h("p", {}, use.text)),
    h("p", { id: ids.effect }, t("delete.effect")),
    h("dl", {}, h("dt", {}, t("created.client_id")), h("dd", {}, h("code", { translate: false }, apiKey.client_id))));
  }
}
