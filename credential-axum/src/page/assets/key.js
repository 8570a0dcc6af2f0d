// A key's own page: loads it and what is known about it, and draws its parts and dialogs.

import { App, start } from "./app.js";
import { Copy, bdi, button, explain, h, icon, settings, t, time } from "./ui.js";
import { Activity } from "./key-activity.js";
import { Networks } from "./key-networks.js";
import { proofGroups } from "./key-proofs.js";
import { secretsView } from "./key-secrets.js";
import { useView } from "./key-use.js";
import { held } from "./selection.js";

const FIRST_EVENTS = 5;
const MORE_EVENTS = 100;
const TITLE = document.title;

class Key extends App {
  constructor(props) {
    super(props);
    this.state = { ...this.state, phase: "loading", parts: {}, isWhy: false };
    this.id = settings.key;
  }

  componentDidMount() {
    this.load();
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.refresh());
    addEventListener("pageshow", ({ persisted }) => persisted && this.refresh());
  }

  async load() {
    this.setState({ phase: "loading", slow: false, error: null });
    const timer = setTimeout(() => this.setState({ slow: true }), 4000);
    try {
      const [key, types] = await Promise.all([this.api.get(this.id), this.catalog()]);
      this.show(key, { phase: "ready", apiType: types.get(key.api_type) });
      this.loadPolicy();
    } catch (error) {
      if (error.code === "tenant_changed") this.refused(error);
      this.setState({ phase: error.code === "not_found" ? "absent" : "failed", error });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Fetches what may have changed elsewhere. What was done here meanwhile counts more. */
  async refresh() {
    const { phase, foreign } = this.state;
    if (phase !== "ready" || foreign || this.isRefreshing) return;
    this.isRefreshing = true;
    const { key: before } = this.state;
    try {
      const key = await this.api.get(this.id);
      if (this.state.key === before) this.show(key);
    } catch (error) {
      if (error.code === "not_found") this.setState({ phase: "absent", dialog: null }, () => this.focusHeading());
      else if (error.code === "tenant_changed") this.setState({ foreign: true });
    } finally {
      this.isRefreshing = false;
    }
  }

  /** Shows the newer state of the key, and looks anew at what follows from it. */
  show(key, changes, then) {
    document.title = `${key.name} · ${TITLE}`;
    this.setState({ key, ...changes }, () => {
      then?.();
      this.keepFocus();
    });
    this.part("use", () => this.recorded(() => Promise.all([this.api.usage(this.id), this.api.refusals(this.id)]).then(([usage, { items }]) => ({ usage, refusals: items })), { usage: null, refusals: [] }));
    this.part("events", () => this.api.events(this.id, this.state.parts.events?.value?.items.length > FIRST_EVENTS ? MORE_EVENTS : FIRST_EVENTS));
    // What a change of nothing would leave unused: asked in the words of an edit, which only those who may edit can.
    if (settings.selfService && key.status !== "revoked" && key.scopes.length) this.part("unused", () => this.recorded(async () => (await this.api.preview(this.id, key.scopes)).unused_30d, []));
    else this.setState(({ parts }) => ({ parts: { ...parts, unused: { value: [] } } }));
  }

  /** What is recorded of its use: where nothing is, that is not found, though the key was found a moment ago. */
  async recorded(load, nothing) {
    try {
      return await load();
    } catch (error) {
      if (error.code === "not_found") return nothing;
      throw error;
    }
  }

  /** Loads one part. What was there stays until the answer comes; of two, the later one counts. */
  async part(name, load) {
    const asked = {};
    this.latest = { ...this.latest, [name]: asked };
    const set = (part) => this.latest[name] === asked
      && this.setState(({ parts }) => ({ parts: { ...parts, [name]: { ...part, retry: () => this.part(name, load) } } }), () => this.keepFocus());
    try {
      set({ value: await load() });
    } catch (error) {
      if (error.code === "tenant_changed") this.refused(error);
      set({ error });
    }
  }

  /** A part as it is: there, on its way, or not to be had. */
  drawn({ value, error, retry } = {}, draw) {
    if (error) return explain(error, button({ class: "small", onclick: retry }, t("try_again")));
    return value === undefined ? h("p", { class: "muted" }, t("part.loading")) : draw(value);
  }

  focusOn(id) {
    const target = document.getElementById(id);
    if (target) target.focus();
    else this.focusHeading();
  }

  /** What every dialog about this key needs, and where the focus goes after it. */
  ask(load, draw, focus) {
    this.open(load, (parts, props) => draw(parts, { ...props, apiKey: this.state.key, onClose: () => this.close({}, () => this.focusOn(focus)) }));
  }

  changed(key, note, focus) {
    this.show(key, { dialog: null, note }, () => this.focusOn(focus));
  }

  named(key = this.state.key) {
    return { name: bdi(key.name) };
  }

  rename() {
    const before = this.state.key;
    this.ask(() => import("./rename.js"), ({ Rename }, props) => h(Rename, { ...props, apiKey: before,
      onRenamed: (key) => this.changed(key, this.say("ok", t("rename.done", { from: bdi(before.name), name: bdi(key.name) })), "rename") }), "rename");
  }

  describe() {
    this.ask(() => import("./description.js"), ({ Describe }, props) => h(Describe, { ...props,
      onDescribed: (key) => this.changed(key, this.say("ok", t(key.description ? "description.done" : "description.done.none", this.named(key))), "describe") }), "describe");
  }

  expiry() {
    this.ask(() => import("./expiry.js"), ({ Expiry }, props) => h(Expiry, { ...props,
      onChanged: (key) => this.changed(key, this.say("ok", key.expires_at ? t("expires.done", { ...this.named(key), when: time(key.expires_at) }) : t("expires.done.never", this.named(key))), "change-end") }), "change-end");
  }

  disable() {
    this.ask(() => import("./question.js"), ({ Disable }, props) => h(Disable, { ...props,
      onDisabled: ({ credential, seconds }) => this.changed(credential, this.done("disable.done", seconds, this.named()), "toggle") }), "toggle");
  }

  async enable() {
    if (this.isEnabling) return;
    this.isEnabling = true;
    this.setState({ note: null, trouble: null });
    try {
      const { credential, seconds } = await this.api.enable(this.id);
      this.changed(credential, this.done("enable.done", seconds, this.named()), "toggle");
    } catch (error) {
      this.refused(error);
      this.setState({ trouble: explain(error, error.unsure && h("p", {}, t("enable.unsure"))) });
    } finally {
      this.isEnabling = false;
    }
  }

  remove() {
    this.ask(() => import("./question.js"), ({ Delete }, props) => h(Delete, { ...props,
      onDeleted: ({ credential, seconds }) => this.changed(credential, this.done("delete.done", seconds, this.named()), ""),
      onDisabled: ({ credential, seconds }) => this.changed(credential, this.done("disable.done", seconds, this.named()), "toggle") }), "delete");
  }

  rotate() {
    const done = () => this.close({ note: this.say("ok", t("rotated.done", this.named())) }, () => this.focusOn("rotate"));
    this.ask(() => Promise.all([import("./rotate.js"), import("./secret.js")]), ([{ Rotate }, { Secret }], props) => h(Rotate, { ...props,
      onRotated: ({ client_secret: secret }) => {
        const { key } = this.state;
        this.setState({ dialog: (more) => h(Secret, { ...more, credential: key, secret, title: t("rotated"), canEdit: false, onClose: done }) });
        this.refresh();
      },
      onClose: (isLost) => {
        this.close({}, () => this.focusOn("rotate"));
        if (isLost) this.refresh();
      } }), "rotate");
  }

  end(secret) {
    this.ask(() => import("./question.js"), ({ EndSecret }, props) => h(EndSecret, { ...props, secret,
      onEnded: ({ credential, seconds }) => this.changed(credential, this.done("end.done", seconds, { last: h("code", { translate: false }, secret.selector.slice(-4)) }), "rotate") }), `end-${secret.selector}`);
  }

  /** Keys or workloads: adds one by a dialog. */
  addProof(name, focus) {
    this.ask(() => import("./add-proof.js"), ({ [name]: Add }, props) => h(Add, { ...props, onAdded: (answer) => this.proofsChanged(answer, focus) }), focus);
  }

  removeProof(kind, entry) {
    const focus = `remove-${entry.uri ? "address" : entry.thumbprint ?? entry.id}`;
    this.ask(() => import("./question.js"), ({ RemoveProof }, props) => h(RemoveProof, { ...props, kind, entry,
      onRefused: (error) => {
        props.onRefused(error);
        // What stays is sent with its removal, so it must be what is there.
        if (error.code === "stale_version") this.refresh();
      },
      onRemoved: (answer) => this.proofsChanged(answer, kind === "keys" ? "add-keys" : "add-workload") }), focus);
  }

  proofsChanged({ credential, seconds }, focus) {
    this.changed(credential, this.done("proofs.done", seconds, this.named()), focus);
  }

  /** The editor; `without` are scopes that it unticks to begin with. */
  scopes(without = []) {
    const focus = without.length ? "review" : "scopes";
    this.open(() => Promise.all([import("./editor.js"), this.api.get(this.id)]), ([{ Editor }, key], props) => h(Editor, { ...props, key: this.id, apiKey: key, apiType: this.state.apiType, without,
      onChanged: (newer) => this.show(newer),
      onGone: () => this.refresh(),
      onClose: (said) => this.close({ note: said ?? null }, () => this.focusOn(document.getElementById(focus) ? focus : "scopes")) }));
  }

  status({ status, expires_at: end, disabled_at: disabled, revoked_at: revoked, revoked_by: by }) {
    const words = {
      active: () => (end ? t("status.until", { when: time(end) }) : t("status.active")),
      disabled: () => t("status.disabled", { when: time(disabled) }),
      expired: () => t("status.expired", { when: time(end) }),
      revoked: () => t("status.revoked", { when: time(revoked), who: bdi(by) }),
    };
    return h("span", { class: `state ${status}` }, words[status]?.() ?? status);
  }

  head(key) {
    const isThere = key.status !== "revoked";
    const mayEdit = isThere && settings.selfService;
    return h("div", { class: "top" },
      h("div", {},
        h("div", { class: "title" }, h("h1", { tabindex: "-1", dir: "auto" }, key.name),
          mayEdit && button({ class: "small", id: "rename", onclick: () => this.rename() }, icon("pencil"), t("rename")),
          mayEdit && button({ class: "small", id: "describe", onclick: () => this.describe() }, t(key.description ? "description.edit" : "description.add"))),
        key.description && h("p", { class: "description", dir: "auto" }, key.description),
        h("p", { class: "state-line" }, h("span", {}, this.state.apiType?.label ?? key.api_type), " · ", this.status(key), " ",
          mayEdit && button({ class: "small", id: "change-end", "aria-label": t("expires.change.of"), onclick: () => this.expiry() }, t("expires.change"))),
        h("p", { class: "id-line" }, h("span", { class: "muted" }, t("created.client_id")), " ", h("code", { translate: false }, key.client_id), h(Copy, { what: t("created.client_id"), text: () => key.client_id })),
        h("p", { class: "muted" }, t("key.created", { when: time(key.created_at), who: bdi(key.created_by) }))),
      isThere && h("div", { class: "actions" },
        key.disabled_at
          ? settings.selfService && button({ id: "toggle", onclick: () => this.enable() }, t("enable"))
          : button({ id: "toggle", onclick: () => this.disable() }, t("disable")),
        button({ class: "danger", id: "delete", onclick: () => this.remove() }, icon("trash"), t("delete"))));
  }

  section(name, head, ...content) {
    return h("section", { class: "part", id: `part-${name}`, "aria-labelledby": `part-${name}-title` },
      h("div", { class: "part-head" }, h("h2", { id: `part-${name}-title`, tabindex: "-1" }, t(`part.${name}`)), head), content);
  }

  scopesPart(key, { unused }) {
    const { apiType } = this.state;
    const mayEdit = settings.selfService && key.status !== "revoked" && apiType;
    const words = apiType ? held(apiType.index, key.scopes) : t("key.scope_count", { count: key.scopes.length });
    // Of a key that was never used, that is no news.
    const idle = key.last_used_at ? unused?.value ?? [] : [];
    const names = idle.slice(0, 5).map((scope) => apiType?.index.scopes.get(scope)?.name ?? scope);
    if (idle.length > names.length) names.push(t("and_more", { count: idle.length - names.length }));
    return this.section("scopes", mayEdit && button({ class: "small", id: "scopes", onclick: () => this.scopes() }, t("key.scopes")),
      h("p", {}, words || h("span", { class: "attention" }, t(key.last_used_at ? "key.scopes_gone" : "key.no_scopes"))),
      unused?.error && explain(unused.error, button({ class: "small", onclick: unused.retry }, t("try_again"))),
      idle.length > 0 && h("p", { class: "idle" }, t("scopes.unused", { count: idle.length, names: names.join(", ") }), " ",
        mayEdit && button({ class: "small", id: "review", onclick: () => this.scopes(idle) }, t("scopes.review"))));
  }

  ready({ key, parts, apiType, policy, isWhy }) {
    const isThere = key.status !== "revoked";
    const mayEdit = isThere && settings.selfService;
    return [
      this.head(key),
      h("div", { class: "parts" },
        this.section("use", null, this.drawn(parts.use, (use) => useView({ ...use, key, index: apiType?.index, isWhy, toggleWhy: () => this.setState({ isWhy: !isWhy }) }))),
        this.scopesPart(key, parts),
        this.section("proofs", mayEdit && button({ class: "small", id: "rotate", onclick: () => this.rotate() }, icon("rotate"), t("rotate")),
          secretsView({ key, end: isThere && ((secret) => this.end(secret)) }),
          isThere && h("details", { class: "advanced" }, h("summary", {}, t("advanced")),
            proofGroups({ key, policy, mayEdit, addKeys: () => this.addProof("AddKeys", "add-keys"), addWorkload: () => this.addProof("AddWorkload", "add-workload"), remove: (kind, entry) => this.removeProof(kind, entry) }),
            h(Networks, { api: this.api, apiKey: key, policy, mayEdit, onRefused: (error) => this.refused(error), onChanged: (newer, note) => this.show(newer, { note }), onSaid: (newer) => this.say("ok", t(newer.allowed_networks.length ? "networks.done" : "networks.done.everywhere", this.named(newer))) }))),
        this.section("activity", null, this.drawn(parts.events, ({ items, next_cursor: more }) => h(Activity, { api: this.api, id: this.id, name: key.name, items, more, index: apiType?.index, onRefused: (error) => this.refused(error) })))),
    ];
  }

  content(state) {
    if (state.foreign) return null;
    if (state.phase === "ready") return this.ready(state);
    if (state.phase === "absent") {
      return [h("h1", { tabindex: "-1" }, t("key.absent")), h("p", { class: "lead" }, t("key.absent.about")),
        h("p", {}, h("a", { href: settings.base || "/" }, t("title")))];
    }
    return [h("h1", { tabindex: "-1" }, t("title")), state.phase === "loading" && h("p", { class: "muted loading" }, t("part.loading")), state.slow && state.phase === "loading" && h("p", { class: "muted" }, t("list.slow"))];
  }

  render(_, state) {
    return this.frame(state, h("div", { id: "key" }, this.content(state)));
  }
}

start(Key);
