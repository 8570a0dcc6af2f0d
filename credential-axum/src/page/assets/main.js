// Starts the page: loads the data, and draws list and dialogs anew whenever something changed.

import { render } from "./preact.js";
import { connect } from "./api.js";
import { Component, bdi, button, explain, h, icon, note, settings, t } from "./ui.js";
import { Editor } from "./editor.js";
import { Create, Delete, Rename, Secret, findOrphan } from "./keys.js";
import { emptyView, listView, select } from "./list.js";
import { indexScopes } from "./selection.js";

const api = connect(settings.api, settings.expectedTenant);

class App extends Component {
  constructor(props) {
    super(props);
    this.state = { phase: "loading", keys: [], more: null, query: "", filter: "all", sort: { by: "created", down: true }, page: 0, leak: null, dialog: null, note: null };
    this.gone = new Set();
    this.edits = 0;
  }

  componentDidMount() {
    this.load();
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.refresh());
    addEventListener("pageshow", ({ persisted }) => persisted && this.refresh());
    this.componentDidUpdate();
  }

  /** The button stands beside the heading, which the server wrote. */
  componentDidUpdate() {
    render(this.isEmpty() || this.state.phase !== "ready" ? null : this.createButton(), document.getElementById("actions"));
  }

  isEmpty({ phase, keys, more } = this.state) {
    return phase === "ready" && !keys.length && !more;
  }

  async load() {
    this.setState({ phase: "loading", slow: false, error: null });
    const timer = setTimeout(() => this.setState({ slow: true }), 4000);
    try {
      const [catalog, first] = await Promise.all([api.catalog(), api.list()]);
      const apiTypes = new Map(catalog.api_types.map((apiType) => [apiType.id, { ...apiType, index: indexScopes(apiType), rules: settings.apiTypes[apiType.id] ?? {} }]));
      this.setState({ phase: "ready", apiTypes, keys: first.items, more: first.next_cursor ? "loading" : null });
      if (first.next_cursor) await this.loadRest(first.next_cursor);
    } catch (error) {
      this.refused(error);
      this.setState({ phase: "failed", error });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Loads what the first answer did not hold; what is there can be used meanwhile. */
  async loadRest(cursor) {
    this.setState({ more: "loading" });
    let next = cursor;
    try {
      while (next) {
        const { items, next_cursor: after } = await api.list(next);
        this.setState(({ keys }) => {
          const known = new Set(keys.map(({ id }) => id));
          return { keys: [...keys, ...items.filter(({ id }) => !known.has(id) && !this.gone.has(id))] };
        });
        next = after;
      }
      this.setState({ more: null });
    } catch (error) {
      this.refused(error);
      this.setState({ more: { error, cursor: next } });
    }
  }

  /** Fetches the whole list anew. What somebody did here meanwhile counts more, and asks once again. */
  async refresh() {
    const { phase, more, foreign } = this.state;
    if (this.isRefreshing || phase !== "ready" || more || foreign) return;
    this.isRefreshing = true;
    const { edits } = this;
    try {
      let { items: keys, next_cursor: cursor } = await api.list();
      while (cursor) {
        const next = await api.list(cursor);
        keys = [...keys, ...next.items];
        cursor = next.next_cursor;
      }
      if (edits === this.edits) this.setState({ keys: [...new Map(keys.map((key) => [key.id, key])).values()] }, () => this.keepFocus());
    } catch (error) {
      // Whatever is asked next says so; the list that is there stays.
      this.refused(error);
    } finally {
      this.isRefreshing = false;
    }
    if (edits !== this.edits) await this.refresh();
  }

  /** Shows the newer state of a key, on top if it is new. */
  put(key, changes) {
    this.edits += 1;
    this.setState(({ keys }) => ({
      keys: keys.some(({ id }) => id === key.id) ? keys.map((each) => (each.id === key.id ? key : each)) : [key, ...keys],
      ...changes,
    }));
  }

  drop(id, changes, then) {
    this.edits += 1;
    this.gone.add(id);
    this.setState(({ keys }) => ({ keys: keys.filter((key) => key.id !== id), ...changes }), then);
  }

  refused(error) {
    // Nothing here belongs to who is signed in now.
    if (error.code === "tenant_changed") this.setState({ foreign: true });
    if (error.code === "not_found" || error.code === "revoked") this.refresh();
  }

  say(kind, ...content) {
    return { kind, content };
  }

  open(dialog) {
    this.setState({ dialog, note: null });
  }

  close(changes, then) {
    this.setState({ dialog: null, ...changes }, then);
  }

  create() {
    this.open((props) => h(Create, { ...props, apiTypes: this.state.apiTypes,
      known: () => new Set(this.state.keys.map(({ id }) => id)),
      onReplaced: ({ id }) => this.drop(id),
      onCreated: ({ credential, client_secret: secret }, lost) => {
        this.put(credential, { query: "", filter: "all", leak: null, page: 0, sort: { by: "created", down: true } });
        this.open((more) => h(Secret, { ...more, credential, secret, onClose: (thenEdit) => {
          if (thenEdit) this.scopes(credential);
          else this.close({ note: this.say("ok", t("create.done", { name: bdi(credential.name) })) }, () => this.focusRow(credential.id, "scopes"));
          this.lookForOrphans(lost);
        } }));
      },
      onClose: (lost) => this.close({}, () => {
        document.getElementById("create")?.focus();
        this.lookForOrphans(lost);
      }),
    }));
  }

  /** Keys may have been made whose secret nobody saw: their name, and which were there before. */
  async lookForOrphans(lost) {
    if (!lost.size) return;
    await this.refresh();
    for (const [name, before] of lost) {
      const orphan = findOrphan(this.state.keys, name, before);
      this.setState({ note: orphan
        ? this.say("danger", t("create.orphan", { name: bdi(name) }), " ", button({ onclick: () => this.remove(orphan) }, h("span", {}, t("delete.named", { name: bdi(name) }))))
        : this.say("warn", t("create.lost"), " ", t("create.lost.unchecked", { name: bdi(name) })) });
    }
  }

  scopes(key) {
    this.open((props) => h(Editor, { ...props, key: key.id, apiKey: key, apiType: this.state.apiTypes.get(key.api_type),
      onChanged: (newer) => this.put(newer),
      onGone: () => this.drop(key.id),
      onClose: (said) => this.close({ note: said ?? null }, () => this.focusRow(key.id, "scopes")),
    }));
  }

  rename(key) {
    this.open((props) => h(Rename, { ...props, apiKey: key,
      onRenamed: (newer) => {
        this.put(newer);
        this.close({ note: this.say("ok", t("rename.done", { from: bdi(key.name), name: bdi(newer.name) })) }, () => this.focusRow(key.id, "rename"));
      },
      onClose: () => this.close({}, () => this.focusRow(key.id, "rename")),
    }));
  }

  remove(key) {
    this.open((props) => h(Delete, { ...props, apiKey: key,
      onDeleted: ({ seconds }) => {
        const { found } = select(this.state);
        const at = found.findIndex(({ id }) => id === key.id);
        const next = found[at + 1] ?? found[at - 1];
        const words = seconds ? t("delete.done.soon", { name: bdi(key.name), count: seconds }) : t("delete.done", { name: bdi(key.name) });
        this.drop(key.id, { dialog: null, leak: null, note: this.say("ok", words) }, () => this.focusRow(next?.id, "scopes"));
      },
      onClose: () => this.close({}, () => this.focusRow(key.id, "delete")),
    }));
  }

  /** Focus goes back to what opened a dialog, or to what is nearest; never to nothing, never to a text field. */
  focusRow(id, action) {
    const row = id && document.querySelector(`[data-key="${CSS.escape(id)}"]`);
    const target = row?.querySelector(`[data-do="${action}"]`) ?? row?.querySelector("[data-do]");
    if (target) target.focus();
    else this.focusHeading();
  }

  focusHeading() {
    (document.querySelector("#list .empty h2") ?? document.querySelector("#app h1")).focus();
  }

  keepFocus() {
    if (document.activeElement === document.body && !this.state.dialog) this.focusHeading();
  }

  createButton() {
    return settings.selfService && !this.state.foreign
      && button({ class: "primary", id: "create", onclick: () => this.create() }, icon("plus"), t("create"));
  }

  actions() {
    const set = (changes, then) => this.setState({ page: 0, ...changes }, then);
    return {
      search: (query) => set({ query, leak: null }),
      leak: (selector) => set({ query: "", leak: { selector }, filter: "all", note: null }),
      forgetLeak: () => set({ leak: null }, () => document.querySelector("#list .shown").focus()),
      filter: (filter) => set({ filter, leak: null }),
      sort: (by) => set({ sort: { by, down: this.state.sort.by === by ? !this.state.sort.down : true } }),
      turn: (page) => this.setState({ page }),
      loadRest: () => {
        document.querySelector("#list .shown").focus();
        this.loadRest(this.state.more.cursor);
      },
      scopes: (key) => this.scopes(key),
      rename: (key) => this.rename(key),
      remove: (key) => this.remove(key),
    };
  }

  content(state) {
    if (state.foreign) return null;
    if (state.phase === "loading") {
      return [h("p", { class: "muted loading" }, t("list.loading")), state.slow && h("p", { class: "muted" }, t("list.slow"))];
    }
    if (state.phase === "failed") return null;
    return this.isEmpty(state) ? emptyView(this.createButton()) : listView(state, this.actions());
  }

  trouble({ foreign, phase, error }) {
    if (foreign) return explain({ code: "tenant_changed" });
    return phase === "failed" && explain(error, button({ onclick: () => {
      this.focusHeading();
      this.load();
    } }, t("try_again")));
  }

  render(_, state) {
    const said = state.note;
    return [
      h("div", { id: "status", role: "status" }, said && h("div", { class: `note ${said.kind}` }, icon(said.kind === "ok" ? "check" : "alert"),
        h("p", {}, said.content),
        button({ class: "quiet small dismiss", "aria-label": t("dismiss"), onclick: () => this.setState({ note: null }, () => this.focusHeading()) }, icon("close")))),
      h("div", { id: "trouble", role: "alert" }, this.trouble(state)),
      h("div", { id: "list" }, this.content(state)),
      state.dialog?.({ api, onRefused: (error) => this.refused(error) }),
    ];
  }
}

const root = document.getElementById("root");
root.replaceChildren();
document.getElementById("incomplete").replaceChildren();
render(h(App), root);
document.documentElement.dataset.started = "true";
