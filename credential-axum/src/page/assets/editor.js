// The dialog that edits a key's scopes: which are chosen is the state, all else follows from it.

import { ago, bdi, button, explain, field, fold, h, hasWords, hidden, icon, newId, newTab, note, number, t } from "./ui.js";
import { Dialog, Working, guardLeaving, lastUse } from "./dialog.js";
import { changeInWords, combine, countsOf, effective, excludes, holdsWrite, inWords, lonely, minus, readNames, readOnly, same, scopesOf, unknown, withoutWrite } from "./selection.js";

/** Unknown names that are repeated; whoever pastes a whole document need not read it again. */
const MOST_NAMES = 30;
/** Scopes that the footer names; the rest is counted. */
const MOST_REMOVED = 3;
/** How long nothing is ticked before the server is asked what a change would do. */
const PAUSE_MS = 250;

export class Editor extends Working {
  constructor(props) {
    super(props);
    const { apiKey, apiType: { index }, without = [] } = props;
    const base = new Set(apiKey.scopes);
    const isPartly = (category) => {
      const scopes = category.resources.flatMap(scopesOf);
      const { length } = scopes.filter((scope) => base.has(scope));
      return length > 0 && length < scopes.length;
    };
    this.version = apiKey.version;
    this.ids = { panel: newId(), count: newId(), about: newId(), paste: newId() };
    this.state = {
      base, chosen: minus(base, new Set(without)), query: "", only: null, lastUsed: apiKey.last_used_at, pasting: false, paste: "", pasted: null, gone: false, isUnsure: false,
      foreseen: null, unused: new Set(),
      open: new Set(index.categories.filter((category) => isPartly(category) || category.resources.flatMap(scopesOf).some((scope) => without.includes(scope))).map(({ id }) => id)),
      // First where something of it is held, so that nobody misses it; last otherwise, because least is best.
      broadFirst: index.broad.some(({ scope }) => base.has(scope)),
    };
    this.texts = new Map(index.categories.flatMap((category) => category.resources.map((resource) => [resource, textOf(category, resource)])));
  }

  componentDidMount() {
    this.stopGuard = guardLeaving(() => this.isChanged());
    this.foresee();
  }

  componentDidUpdate(_, { base, chosen }) {
    if (base === this.state.base && chosen === this.state.chosen) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.foresee(), PAUSE_MS);
  }

  componentWillUnmount() {
    clearTimeout(this.timer);
    this.stopGuard();
  }

  /** Asks what the change would do to the calls of the last 30 days. An answer about another selection is dropped. */
  async foresee() {
    const { chosen } = this.state;
    const { index, rules } = this.props.apiType;
    // What cannot be saved is not asked about.
    if (lonely(index, this.wanted(), rules)) return;
    const scopes = [...this.wanted()].sort();
    let foreseen;
    try {
      const { removed, unused_30d: unused } = await this.props.api.preview(this.props.apiKey.id, scopes);
      foreseen = { removed };
      this.setState({ unused: new Set(unused) });
    } catch {
      // Saving says what is wrong; here the effect is not known.
      foreseen = { removed: null };
    }
    if (chosen === this.state.chosen) this.setState({ foreseen: { ...foreseen, of: chosen } });
  }

  wanted({ chosen } = this.state) {
    const { index, rules } = this.props.apiType;
    return effective(index, chosen, rules);
  }

  isChanged() {
    return !this.state.gone && !same(this.state.base, this.wanted());
  }

  choose(scopes, then) {
    this.setState({ chosen: new Set(scopes), pasted: null, isUnsure: false }, then);
  }

  /** As the API's preset: not while the key holds what nobody here can call read-only. */
  chooseReadOnly() {
    const { index } = this.props.apiType;
    if (unknown(index, this.state.chosen).length === 0) this.choose(readOnly(index));
    else this.setState({ isUnsure: true }, () => this.find(".unknown input:checked").focus());
  }

  tick(scopes, on) {
    const chosen = new Set(this.state.chosen);
    for (const scope of scopes) {
      if (on) chosen.add(scope);
      else chosen.delete(scope);
    }
    this.choose(chosen);
  }

  paste() {
    const { index, rules } = this.props.apiType;
    const { listed, broad, unknown: names } = readNames(index, this.state.paste);
    const chosen = new Set([...this.state.chosen, ...listed]);
    const labels = [...broad].filter((scope) => !chosen.has(scope)).map((scope) => index.scopes.get(scope).name);
    const isNothing = !listed.size && !broad.size && !names.length;
    const pasted = [
      isNothing && t("editor.paste.none"),
      listed.size > 0 && t("editor.paste.done", { count: listed.size }),
      listed.size > 0 && excludes(index, chosen, rules) && t("editor.paste.covered"),
      names.length > 0 && t("editor.paste.unknown", { names: names.length > MOST_NAMES ? `${names.slice(0, MOST_NAMES).join(", ")}, … (${number(names.length)})` : names.join(", ") }),
      labels.length > 0 && t("editor.paste.broad", { names: labels.join(", ") }),
    ].filter(Boolean).map((text) => h("p", {}, text));
    const touched = index.categories.filter(({ resources }) => resources.flatMap(scopesOf).some((scope) => listed.has(scope)));
    this.setState(({ open }) => ({ chosen, pasted, query: "", only: null, paste: names.length || isNothing ? this.state.paste : "",
      open: new Set([...open, ...touched.map(({ id }) => id)]) }));
  }

  leave() {
    if (this.isBusy) return;
    if (!this.isChanged()) {
      this.close();
      return;
    }
    this.alert(note("warn", h("p", {}, t("editor.unsaved")), h("div", { class: "inline" },
      button({ class: "small keep", onclick: () => this.alert(null, ".primary") }, t("editor.keep")),
      button({ class: "small", onclick: () => this.close() }, t("editor.discard")))), ".keep");
  }

  close(said) {
    if (this.state.gone) this.props.onGone();
    this.props.onClose(said);
  }

  say(kind, key, values = {}) {
    return { kind, content: [t(key, { name: bdi(this.props.apiKey.name), ...values })] };
  }

  save(isConfirmed = false) {
    if (this.isBusy) return;
    const { index, rules } = this.props.apiType;
    const { base } = this.state;
    const scopes = this.wanted();
    const alone = lonely(index, scopes, rules);
    if (alone) {
      this.alert(note("danger", h("p", {}, t("editor.lonely.save", { name: alone.name }))));
    } else if (same(base, scopes)) {
      this.close(this.say("", "editor.unchanged"));
    } else if (!scopes.size && !isConfirmed) {
      this.work(() => this.confirmEmpty());
    } else {
      this.work(() => this.send(scopes));
    }
  }

  /** Asks before a key that is used loses everything. The list may be old, so its last use is asked for anew. */
  async confirmEmpty() {
    let { lastUsed } = this.state;
    try {
      lastUsed = (await this.props.api.get(this.props.apiKey.id)).last_used_at;
    } catch {
      // What the list knew has to do; saving says what is wrong.
    }
    if (!lastUsed) {
      await this.send(this.wanted());
      return;
    }
    this.setState({ lastUsed });
    this.alert(note("danger", h("p", {}, h("strong", {}, t("editor.empty.confirm", { name: bdi(this.props.apiKey.name) })), " ", lastUse(lastUsed).text),
      h("div", { class: "inline" },
        button({ class: "small keep", onclick: () => this.alert(null, ".primary") }, t("editor.keep")),
        button({ class: "small danger", onclick: () => this.save(true) }, t("editor.save.anyway")))), ".keep");
  }

  async send(scopes) {
    try {
      this.saved(await this.props.api.setScopes(this.props.apiKey.id, this.version, [...scopes].sort()));
    } catch (error) {
      await this.failed(error, scopes);
    }
  }

  saved({ credential, seconds }) {
    this.tell(credential);
    this.close(seconds ? this.say("ok", "editor.done.soon", { count: seconds }) : this.say("ok", "editor.done"));
  }

  /** What changed, with the counts that the list shows. */
  tell(key) {
    const { onChanged, apiType: { index } } = this.props;
    onChanged({ ...key, ...countsOf(index, key.scopes, this.state.unused) });
  }

  async failed(error, scopes) {
    this.props.onRefused(error);
    if (error.code === "stale_version") {
      try {
        this.conflict(await this.props.api.get(this.props.apiKey.id), scopes);
      } catch (second) {
        await this.failed(second, scopes);
      }
    } else if (error.code === "revoked") {
      this.removed();
    } else {
      this.setState({ alert: explain(error, h("p", {}, t("editor.kept"))) });
    }
  }

  removed() {
    this.setState({ gone: true });
    this.alert(note("danger", h("p", {}, t("editor.gone"))), "footer button");
  }

  /** Somebody else saved first: nothing is overwritten until the admin has seen it. */
  conflict(newer, mine) {
    if (newer.status === "revoked") {
      this.removed();
      return;
    }
    const { index } = this.props.apiType;
    const theirs = new Set(newer.scopes);
    if (same(theirs, mine)) {
      this.saved({ credential: newer }); // an earlier attempt of ours, or the same idea
      return;
    }
    this.tell(newer);
    const before = this.state.base;
    this.version = newer.version;
    this.setState({ base: theirs });
    if (same(before, theirs)) {
      this.setState({ alert: note("warn", h("p", {}, t("editor.other.elsewhere"))) });
      return;
    }
    const use = (words, scopes) => button({ class: "small", onclick: () => this.choose(scopes, () => this.alert(null, ".primary")) }, t(words));
    const { text } = changeInWords(index, before, theirs);
    this.setState({ alert: note("warn",
      h("p", {}, h("strong", {}, t("editor.other")), " ",
        t("editor.other.change", { change: text.charAt(0).toLowerCase() + text.slice(1), held: inWords(index, theirs) || t("editor.other.nothing") })),
      h("p", {}, t("editor.other.hint")),
      h("div", { class: "inline" }, use("editor.other.both", combine(before, mine, theirs)), use("editor.other.theirs", theirs))) });
  }

  render({ apiKey, apiType }, state) {
    const { index, rules, label } = apiType;
    const { chosen, broadFirst } = state;
    const wanted = this.wanted(state);
    const isCovered = excludes(index, chosen, rules);
    const looked = this.look(state, isCovered);
    const broad = looked.broad.length > 0 && this.broad(looked.broad, state);
    return h(Dialog, {
      title: t("editor"), className: "editor", alert: this.alerts(state), leave: () => this.leave(),
      lead: [h("strong", {}, bdi(apiKey.name)), ` · ${label}`, rules.documentation && [" · ", newTab(rules.documentation, t("editor.about"))]],
      // Where it would bring up an on-screen keyboard, the title gets the focus instead.
      opened: (dialog) => dialog.querySelector(matchMedia("(pointer: coarse)").matches ? "h2" : "input[type=search]").focus(),
      tools: this.tools(state, looked, wanted),
      summary: this.summary(state, wanted),
      actions: [
        this.action({ onclick: () => this.leave() }, t("cancel")),
        !state.gone && this.action({ class: "primary", onclick: () => this.save() }, t(state.busy ? "editor.busy" : "editor.save")),
      ],
    },
    this.pasteBox(state),
    this.unknown(state),
    broadFirst && broad,
    isCovered && h("p", { class: "muted covered" }, t("editor.covered")),
    h("fieldset", { class: isCovered ? "listed off" : "listed" }, h("legend", { class: "unseen" }, t("editor.categories")), looked.categories),
    looked.hits === 0 && h("p", { class: "muted nothing" }, state.query.trim() ? t("editor.no_match", { text: state.query.trim() }) : t("editor.selected.none")),
    !broadFirst && broad);
  }

  tools(state, { hits }, wanted) {
    const { index } = this.props.apiType;
    // Full access has no half that reads: it is replaced by what does.
    const narrows = holdsWrite(index, wanted) && !(index.full && wanted.has(index.full));
    const view = (only, words) => button({ class: "chip", "aria-pressed": String((state.only !== null) === only),
      onclick: () => this.setState({ only: only ? new Set([...state.chosen, ...state.base]) : null }) }, t(words));
    return h("div", { class: "tools" },
      h("label", { class: "search" }, hidden(t("editor.search")),
        h("input", { type: "search", placeholder: t("editor.search"), autocomplete: "off", spellcheck: false, value: state.query,
          onkeydown: (event) => {
            if (event.key !== "Escape" || !state.query) return;
            event.preventDefault();
            this.setState({ query: "" });
          },
          ...field((query) => this.setState({ query }), () => this.warnOfSecret()) })),
      h("div", { class: "chips", role: "group", "aria-label": t("editor.view") }, view(false, "editor.all"), view(true, "editor.selected")),
      h("div", { class: "bulk" },
        narrows && button({ onclick: () => this.choose(withoutWrite(index, wanted, this.props.apiType.rules), () => {
          if (!this.find(".narrows")) this.find(".read-only").focus();
        }), class: "narrows" }, t("editor.narrow")),
        button({ class: "read-only", onclick: () => this.chooseReadOnly() }, t("editor.read_only")),
        button({ "aria-expanded": String(state.pasting), "aria-controls": this.ids.paste, onclick: () => this.setState({ pasting: !state.pasting, pasted: null }, () => this.find("textarea")?.focus()) }, t("editor.paste"))),
      h("span", { class: "unseen", role: "status" }, state.query.trim() && t("editor.found", { count: hits })));
  }

  pasteBox(state) {
    return h("div", { id: this.ids.paste, class: "paste" }, state.pasting && [
      h("label", { class: "label", for: `${this.ids.paste}-box` }, t("editor.paste.label")),
      h("p", { class: "muted", id: `${this.ids.paste}-hint` }, t("editor.paste.hint")),
      h("div", { class: "row" },
        h("textarea", { id: `${this.ids.paste}-box`, rows: 2, spellcheck: false, autocomplete: "off", "aria-describedby": `${this.ids.paste}-hint`, value: state.paste,
          ...field((paste) => this.setState({ paste }), () => this.setState({ paste: "", pasted: h("p", {}, t("leak.elsewhere")) })) }),
        button({ onclick: () => this.paste() }, t("editor.paste.add"))),
      h("div", { class: "said", role: "status" }, state.pasted)]);
  }

  warnOfSecret() {
    this.setState({ query: "", alert: note("danger", h("p", {}, t("leak.elsewhere"))) });
  }

  summary({ base, lastUsed }, wanted) {
    const { index, rules } = this.props.apiType;
    const { everything, text } = changeInWords(index, base, wanted);
    const alone = lonely(index, wanted, rules);
    const isEmpty = wanted.size === 0;
    const rest = isEmpty ? t(lastUsed ? "editor.empty.used" : "editor.empty.yet") : alone && t("editor.lonely", { name: alone.name });
    const kind = isEmpty && lastUsed ? " alarm" : rest || everything ? " attention" : "";
    return h("div", { class: "outlook" },
      h("p", { class: `summary${kind}`, role: "status" }, [text || t("change.none"), rest].filter(Boolean).join(". ")),
      this.outlook(minus(base, wanted)));
  }

  /** What the change would have done to the calls of the last 30 days. */
  outlook(gone) {
    const { index } = this.props.apiType;
    const { foreseen, chosen, lastUsed } = this.state;
    if (!gone.size || foreseen?.of !== chosen) return h("p", { class: "preview", role: "status" });
    if (!foreseen.removed) return h("p", { class: "preview", role: "status" }, t("preview.unknown"));
    const used = foreseen.removed.filter(({ requests_30d: count }) => count > 0).sort((a, b) => b.requests_30d - a.requests_30d);
    const named = used.length ? used.map(({ scope }) => scope) : [...gone];
    const names = named.slice(0, MOST_REMOVED).map((scope) => index.scopes.get(scope)?.name ?? scope).join(", ");
    const rest = named.length - MOST_REMOVED;
    const all = rest > 0 ? `${names}, ${t("and_more", { count: rest })}` : names;
    // Of a key that was never used that is no news.
    if (!used.length) return h("p", { class: "preview", role: "status" }, lastUsed && t("preview.unused", { names: all }));
    const last = used.map(({ last_used_at: at }) => at).filter(Boolean).sort().at(-1);
    const count = used.reduce((sum, { requests_30d: each }) => sum + each, 0);
    return h("p", { class: "preview alarm", role: "status" }, t(last ? "preview.used" : "preview.used.some", { names: all, count, ago: last && ago(last) }));
  }

  /** Said at a scope that the key holds and did not use, unless nothing was used at all. */
  idle(scope) {
    const { unused, base, lastUsed } = this.state;
    return lastUsed && base.has(scope) && unused.has(scope) && h("span", { class: "unused" }, t("editor.unused"));
  }

  /** What of the catalogue is looked for, and how much that is. */
  look({ query, only, chosen, open }, isCovered) {
    const { index } = this.props.apiType;
    const isNarrowed = query.trim() !== "" || only !== null;
    const names = readNames(index, query);
    const pasted = new Set([...names.listed, ...names.broad]);
    // Names of scopes are looked for one beside the other, other words together.
    const fits = (text, scopes) => (pasted.size ? scopes.some((scope) => pasted.has(scope)) : hasWords(text, query.trim()));
    const isSeen = (text, scopes) => (only === null || scopes.some((scope) => only.has(scope))) && (query.trim() === "" || fits(text, scopes));
    const categories = [];
    let hits = 0;
    index.categories.forEach((category, at) => {
      const rows = isNarrowed ? category.resources.filter((resource) => isSeen(this.texts.get(resource), scopesOf(resource))) : category.resources;
      if (!rows.length) return;
      hits += rows.length;
      categories.push(this.category(category, at, rows, { chosen, isOpen: isNarrowed || open.has(category.id), isFixed: isNarrowed, isCovered }));
    });
    const broad = index.broad.filter(({ scope, name, description }) =>
      !isNarrowed || isSeen(fold([t("editor.broad"), name, scope, description].join(" ")), [scope]));
    return { categories, broad, hits: hits + (isNarrowed ? broad.length : 0) };
  }

  /** An expander and a tri-state checkbox side by side, and the table they are about. */
  category(category, at, rows, { chosen, isOpen, isFixed, isCovered }) {
    const scopes = category.resources.flatMap(scopesOf);
    const { length } = scopes.filter((scope) => chosen.has(scope));
    const [panel, count] = [`${this.ids.panel}-${at}`, `${this.ids.count}-${at}`];
    const toggle = () => this.setState(({ open }) => ({ open: open.has(category.id) ? minus(open, new Set([category.id])) : new Set([...open, category.id]) }));
    return h("section", { class: "category", key: category.id },
      h("div", { class: "head" },
        h("input", { type: "checkbox", "data-category": at, "aria-label": category.label, "aria-describedby": count, checked: length === scopes.length,
          indeterminate: length > 0 && length < scopes.length, disabled: isFixed || isCovered, onchange: ({ currentTarget }) => this.tick(scopes, currentTarget.checked) }),
        h("h3", {}, button({ class: "expander", "aria-expanded": String(isOpen), "aria-controls": panel, "aria-disabled": isFixed ? "true" : undefined, onclick: () => isFixed || toggle() }, icon("chevron"), category.label)),
        h("span", { id: count, class: length ? "held some" : "held" }, t("editor.of", { count: length, total: scopes.length }))),
      h("div", { id: panel, class: "panel", hidden: !isOpen }, isOpen && h("table", {}, h("caption", { class: "unseen" }, category.label),
        h("thead", {}, h("tr", {}, ["resource", "read", "write"].map((head) => h("th", { scope: "col" }, t(`editor.${head}`))))),
        h("tbody", {}, rows.map((resource) => this.resource(resource, chosen, isCovered))))));
  }

  resource({ id, label, read, write }, chosen, isCovered) {
    const about = (right) => `${this.ids.about}-${id}-${right}`;
    const line = (scope, right) => scope && h("span", { class: "right" },
      h("span", { class: "word" }, t(`editor.${right}`)), h("span", { id: about(right), class: "muted" }, scope.description, " ", h("code", { translate: false }, scope.scope), " ", this.idle(scope.scope)));
    const cell = (scope, right, only) => h("td", {}, scope
      ? h("label", { class: "tick" }, h("input", { type: "checkbox", "data-scope": scope.scope, "aria-label": t("editor.scope", { resource: label, right: t(`editor.${right}`).toLowerCase() }),
        "aria-describedby": about(right), checked: chosen.has(scope.scope), disabled: isCovered, onchange: ({ currentTarget }) => this.tick([scope.scope], currentTarget.checked) }))
      : h("span", { class: "muted" }, t(only)));
    return h("tr", { key: id }, h("th", { scope: "row" }, label, line(read, "read"), line(write, "write")),
      cell(read, "read", "editor.write.only"), cell(write, "write", "editor.read.only"));
  }

  /** What opens more than one resource: marked, and ticked by nothing but its own checkbox. */
  broad(scopes, { chosen }) {
    const { index, rules } = this.props.apiType;
    return h("fieldset", { class: "broad" }, h("legend", {}, t("editor.broad")), h("p", { class: "muted" }, t("editor.broad.hint")),
      scopes.map(({ scope, name, description, right }) =>
        this.choice({ scope, name, about: [`${description}. `, h("code", { translate: false }, scope), " ", this.idle(scope)], chosen,
          disabled: excludes(index, chosen, rules) && (right === "read" || right === "write") })));
  }

  /** What the key holds and this version of the catalogue does not know. Nothing but its own checkbox takes it away. */
  unknown({ base, chosen, isUnsure }) {
    const { index } = this.props.apiType;
    const names = unknown(index, new Set([...base, ...chosen])).sort();
    return names.length > 0 && h("fieldset", { class: "broad unknown" }, h("legend", {}, t("editor.unknown")), h("p", { class: "muted" }, t("editor.unknown.hint")),
      h("div", { role: "alert" }, isUnsure && note("warn", h("p", {}, t("editor.unknown.unsure")))),
      names.map((scope) => this.choice({ scope, name: scope, chosen })));
  }

  choice({ scope, name, about, chosen, disabled }) {
    const id = `${this.ids.about}-${scope}`;
    return h("div", { class: "choice", key: scope },
      h("input", { type: "checkbox", id, "data-scope": scope, checked: chosen.has(scope), disabled, "aria-describedby": about && `${id}-about`, onchange: ({ currentTarget }) => this.tick([scope], currentTarget.checked) }),
      h("label", { for: id }, name), about && h("p", { id: `${id}-about`, class: "muted" }, about));
  }
}

function textOf(category, { label, read, write }) {
  const right = (scope, name) => scope && [scope.scope, scope.description, t(`editor.${name}`)];
  return fold([category.label, label, right(read, "read"), right(write, "write")].flat().filter(Boolean).join(" "));
}
