// The list of keys: loads them, and draws list and dialogs anew whenever something changed.

import { render } from "./preact.js";
import { App, start } from "./app.js";
import { bdi, button, h, icon, settings, t } from "./ui.js";
import { emptyView, listView, select, summaryOf } from "./list.js";

/** What somebody looked for is there again after a visit to a key's page. */
const VIEW = { query: "", filter: "all", sort: { by: "created", down: true }, page: 0 };

function remember(view) {
  try {
    history.replaceState({ ...history.state, view }, "");
  } catch {
    // A browser that has had enough of it for now: then the way back shows all keys.
  }
}

class Keys extends App {
  constructor(props) {
    super(props);
    this.state = { ...this.state, ...VIEW, ...history.state?.view, phase: "loading", keys: [], more: null, leak: null };
    this.gone = new Set();
    this.edits = 0;
  }

  componentDidMount() {
    this.load();
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.refresh());
    addEventListener("pageshow", ({ persisted }) => persisted && this.refresh());
    this.componentDidUpdate();
  }

  componentDidUpdate() {
    const { query, filter, sort, page } = this.state;
    const view = { query, filter, sort, page };
    if (JSON.stringify(history.state?.view ?? VIEW) !== JSON.stringify(view)) remember(view);
    // The button stands beside the heading, which the server wrote.
    render(this.isEmpty() || this.state.phase !== "ready" ? null : this.createButton(), document.getElementById("actions"));
  }

  isEmpty({ phase, keys, more } = this.state) {
    return phase === "ready" && !keys.length && !more;
  }

  async load() {
    this.setState({ phase: "loading", slow: false, error: null });
    const timer = setTimeout(() => this.setState({ slow: true }), 4000);
    try {
      const first = await this.api.list();
      this.setState({ phase: "ready", keys: first.items, more: first.next_cursor ? "loading" : null });
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
        const { items, next_cursor: after } = await this.api.list(next);
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
      let { items: keys, next_cursor: cursor } = await this.api.list();
      while (cursor) {
        const next = await this.api.list(cursor);
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
  put(newer, changes, then) {
    const key = summaryOf(newer, this.state.keys.find(({ id }) => id === newer.id));
    this.edits += 1;
    this.setState(({ keys }) => ({
      keys: keys.some(({ id }) => id === key.id) ? keys.map((each) => (each.id === key.id ? key : each)) : [key, ...keys],
      ...changes,
    }), then);
  }

  drop(id, changes, then) {
    this.edits += 1;
    this.gone.add(id);
    this.setState(({ keys }) => ({ keys: keys.filter((key) => key.id !== id), ...changes }), then);
  }

  create() {
    this.loadPolicy();
    this.open(() => Promise.all([import("./create.js"), import("./secret.js")]), ([{ Create, findOrphan }, { Secret }], props) => h(Create, { ...props,
      known: () => new Set(this.state.keys.map(({ id }) => id)),
      onReplaced: ({ id }) => this.drop(id),
      onCreated: ({ credential, client_secret: secret }, lost) => {
        this.put(credential, { ...VIEW, leak: null, dialog: (more) => h(Secret, { ...more, credential, secret, onClose: (thenEdit) => {
          if (thenEdit) this.scopes(credential);
          else this.close({ note: this.say("ok", t("create.done", { name: bdi(credential.name) })) }, () => this.focusRow(credential.id, "scopes"));
          this.lookForOrphans(lost, findOrphan);
        } }) });
      },
      onClose: (lost) => this.close({}, () => {
        document.getElementById("create")?.focus();
        this.lookForOrphans(lost, findOrphan);
      }),
    }));
  }

  /** Keys may have been made whose secret nobody saw: their name, and which were there before. */
  async lookForOrphans(lost, findOrphan) {
    if (!lost.size) return;
    await this.refresh();
    for (const [name, before] of lost) {
      const orphan = findOrphan(this.state.keys, name, before);
      this.setState({ note: orphan
        ? this.say("danger", t("create.orphan", { name: bdi(name) }), " ", button({ onclick: () => this.remove(orphan) }, h("span", {}, t("delete.named", { name: bdi(name) }))))
        : this.say("warn", t("create.lost"), " ", t("create.lost.unchecked", { name: bdi(name) })) });
    }
  }

  scopes({ id }) {
    this.open(() => Promise.all([import("./editor.js"), this.catalog(), this.api.get(id)]), ([{ Editor }, types, key], props) => h(Editor, { ...props, key: id, apiKey: key, apiType: types.get(key.api_type),
      onChanged: (newer) => this.put(newer),
      onGone: () => this.drop(id),
      onClose: (said) => this.close({ note: said ?? null }, () => this.focusRow(id, "scopes")),
    }));
  }

  rotate(key) {
    this.loadPolicy();
    this.open(() => Promise.all([import("./rotate.js"), import("./secret.js")]), ([{ Rotate }, { Secret }], props) => h(Rotate, { ...props, apiKey: key,
      onRotated: ({ client_secret: secret }) => {
        this.refresh();
        this.setState({ dialog: (more) => h(Secret, { ...more, credential: key, secret, title: t("rotated"), canEdit: false,
          onClose: () => this.close({ note: this.say("ok", t("rotated.done", { name: bdi(key.name) })) }, () => this.focusRow(key.id, "rotate")) }) });
      },
      onClose: (isLost) => this.close({}, () => {
        this.focusRow(key.id, "rotate");
        if (isLost) this.refresh();
      }),
    }));
  }

  remove(key) {
    this.open(() => import("./question.js"), ({ Delete }, props) => h(Delete, { ...props, apiKey: key,
      onDeleted: ({ seconds }) => {
        const { found } = select(this.state);
        const at = found.findIndex(({ id }) => id === key.id);
        const next = found[at + 1] ?? found[at - 1];
        this.drop(key.id, { dialog: null, leak: null, note: this.done("delete.done", seconds, { name: bdi(key.name) }) }, () => this.focusRow(next?.id, "scopes"));
      },
      onDisabled: ({ credential, seconds }) => this.put(credential, { dialog: null, note: this.done("disable.done", seconds, { name: bdi(key.name) }) }, () => {
        this.focusRow(key.id, "delete");
        this.refresh();
      }),
      onClose: () => this.close({}, () => this.focusRow(key.id, "delete")),
    }));
  }

  revokeAll() {
    this.open(() => import("./question.js"), ({ RevokeAll }, props) => h(RevokeAll, { ...props, keys: this.state.keys,
      onRefused: (error) => {
        props.onRefused(error);
        // Somebody made or deleted a key meanwhile: the number is another one now.
        if (error.code === "invalid") this.refresh();
      },
      onRevoked: ({ revoked: count, seconds }) => {
        this.edits += 1;
        for (const { id } of this.state.keys) this.gone.add(id);
        const words = seconds ? t("revoke_all.done.soon", { keys: t("list.count", { count }), count: seconds }) : t("revoke_all.done", { count });
        this.setState({ dialog: null, leak: null, keys: [], note: this.say("ok", words) }, () => {
          this.focusHeading();
          this.refresh();
        });
      },
      onClose: () => this.close({}, () => document.getElementById("revoke-all")?.focus()),
    }));
  }

  /** Focus goes back to what opened a dialog, or to what is nearest; never to nothing, never to a text field. */
  focusRow(id, action) {
    const row = id && document.querySelector(`[data-key="${CSS.escape(id)}"]`);
    const target = row?.querySelector(`[data-do="${action}"]`) ?? row?.querySelector("[data-do]");
    if (target) target.focus();
    else this.focusHeading();
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
      rotate: (key) => this.rotate(key),
      remove: (key) => this.remove(key),
      revokeAll: () => this.revokeAll(),
    };
  }

  content(state) {
    if (state.foreign || state.phase === "failed") return null;
    if (state.phase === "loading") {
      return [h("p", { class: "muted loading" }, t("list.loading")), state.slow && h("p", { class: "muted" }, t("list.slow"))];
    }
    return this.isEmpty(state) ? emptyView(this.createButton()) : listView(state, this.actions());
  }

  render(_, state) {
    return this.frame(state, h("div", { id: "list" }, this.content(state)));
  }
}

start(Keys);
