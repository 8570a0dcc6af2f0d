// The list of keys, as a function of what is loaded and what somebody looks for.

import { Copy, DAY_MS, ago, bdi, button, explain, field, fold, h, hasWords, hidden, icon, note, number, settings, t, time } from "./ui.js";
import { held } from "./selection.js";

const PER_PAGE = 100;
const UNUSED_MS = 90 * DAY_MS;

const idle = ({ last_used_at: at }) => Date.now() - new Date(at);
const FILTERS = {
  all: () => true,
  in_use: (key) => Boolean(key.last_used_at) && idle(key) < UNUSED_MS,
  unused: (key) => Boolean(key.last_used_at) && idle(key) >= UNUSED_MS,
  never: (key) => !key.last_used_at,
  full: (key, { index } = {}) => Boolean(index?.full && key.scopes.includes(index.full)),
};

const SORTS = { created: (key) => Date.parse(key.created_at), last_used: (key) => (key.last_used_at ? Date.parse(key.last_used_at) : -Infinity) };

/** The keys that are looked for, in their order, and how many each chip would show. */
export function select({ keys, apiTypes, query, filter, sort, leak }) {
  const counts = {};
  for (const [name, fits] of Object.entries(FILTERS)) counts[name] = keys.filter((key) => fits(key, apiTypes.get(key.api_type))).length;
  const owner = leak && ownerOf(keys, leak);
  const fits = (key) => (owner ? key === owner : FILTERS[filter](key, apiTypes.get(key.api_type)));
  const found = searched(keys.filter(fits), query.trim(), apiTypes);
  const value = SORTS[sort.by];
  // Stable: keys of the same moment stay in the order of the API, newest first.
  found.sort((a, b) => (value(a) === value(b) ? 0 : value(a) < value(b) === (sort.down) ? 1 : -1));
  return { found, counts, owner };
}

/** What holds the text as it is; if nothing does, what holds all of its words. */
function searched(keys, query, apiTypes) {
  if (!query) return keys;
  const text = ({ name, client_id: id, api_type: type }) => fold([name, id, apiTypes.get(type)?.label ?? type].join("\n"));
  const found = keys.filter((key) => text(key).includes(fold(query)));
  return found.length ? found : keys.filter((key) => hasWords(text(key), query));
}

export const ownerOf = (keys, { selector }) =>
  selector && keys.find(({ secrets }) => secrets.some((secret) => secret.selector === selector));

export function listView(state, act) {
  const { keys, more, apiTypes, query, filter, sort } = state;
  const { found, counts, owner } = select(state);
  const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
  const page = Math.min(state.page, pages - 1);
  const first = page * PER_PAGE;
  const visible = found.slice(first, first + PER_PAGE);
  const isLoading = more === "loading";

  const shown = pages > 1
    ? t("list.range", { from: number(first + 1), to: number(first + visible.length), count: found.length })
    : t("list.count", { count: found.length });
  const column = (name) => h("th", { role: "columnheader", scope: "col", class: `of-${name}` }, t(`column.${name}`));
  const sortable = (name) => {
    const direction = sort.down ? "descending" : "ascending";
    return h("th", { role: "columnheader", scope: "col", class: `sortable of-${name}`, "aria-sort": sort.by === name ? direction : undefined },
      button({ class: "quiet small", onclick: () => act.sort(name) }, t(`column.${name}`),
        h("span", { "aria-hidden": "true", class: "arrow" }, sort.by === name ? (sort.down ? "▼" : "▲") : "")));
  };
  // Roles are spelled out because narrow screens lay the table out as cards.
  return h("div", {},
    h("div", { class: "tools" },
      h("label", { class: "search" }, hidden(t("list.search")),
        h("input", { type: "search", id: "search", placeholder: t("list.search.hint"), autocomplete: "off", spellcheck: false, value: query,
          onkeydown: (event) => event.key === "Escape" && act.search(""), ...field(act.search, act.leak) })),
      h("div", { class: "chips", role: "group", "aria-label": t("list.filters") }, Object.keys(FILTERS).map((name) =>
        button({ class: "chip", "aria-pressed": String(filter === name), onclick: () => act.filter(name) },
          t(`filter.${name}`), " ", h("span", { class: "number" }, number(counts[name]))))),
      h("p", { class: "muted shown", role: "status", tabindex: "-1" }, isLoading ? t("list.more", { words: shown }) : shown)),
    h("div", { class: "found", role: "alert" }, state.leak && leakNote(state, owner, act)),
    h("table", { class: "keys", role: "table", "aria-label": t("list.label") },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" },
        column("name"), column("client_id"), column("access"), sortable("last_used"), sortable("created"),
        h("th", { role: "columnheader", scope: "col", class: "do" }, hidden(t("column.actions"))))),
      h("tbody", { role: "rowgroup" },
        visible.map((key) => row(key, apiTypes.get(key.api_type), act)),
        !visible.length && h("tr", { role: "row", class: "nothing", key: "" }, h("td", { role: "cell", colspan: 6 },
          isLoading ? t("list.searching") : query.trim() ? t("list.no_match", { text: query.trim() }) : t("list.no_match.filter"))))),
    h("div", { role: "alert" }, more?.error && explain(more.error, h("p", {}, t("list.incomplete")), button({ onclick: act.loadRest }, t("list.rest")))),
    pages > 1 && h("nav", { class: "pager", "aria-label": t("list.pages") },
      turn("list.previous", page - 1, pages, act),
      h("span", { class: "muted" }, t("list.page", { page: page + 1, pages })),
      turn("list.next", page + 1, pages, act)));
}

const turn = (words, to, pages, act) => {
  const exists = to >= 0 && to < pages;
  return button({ "aria-disabled": exists ? undefined : "true", onclick: () => exists && act.turn(to) }, t(words));
};

function leakNote({ more }, owner, act) {
  const all = button({ onclick: act.forgetLeak }, t("list.clear"));
  if (owner) {
    return note("danger", h("p", {}, h("strong", {}, t("leak.found", { name: bdi(owner.name) }))), h("p", {}, t("leak.found.hint")),
      h("div", { class: "inline" }, button({ class: "danger", onclick: () => act.remove(owner) }, h("span", {}, t("delete.named", { name: bdi(owner.name) }))), all));
  }
  if (more === "loading") return note("", h("p", {}, t("list.searching")));
  return note("warn", h("p", {}, h("strong", {}, t("leak.unknown"))), h("p", {}, t("leak.unknown.hint")), h("div", { class: "inline" }, all));
}

const CLIENT_ID = /^(.*_)(.*)$/;

function row(key, apiType, act) {
  const words = apiType ? held(apiType.index, key.scopes) : t("key.scope_count", { count: key.scopes.length });
  const [, prefix, id] = CLIENT_ID.exec(key.client_id) ?? [null, "", key.client_id];
  const cell = (name, ...content) => h("td", { role: "cell", class: `of-${name}`, "data-label": t(`column.${name}`) }, h("div", {}, ...content));
  return h("tr", { role: "row", key: key.id, "data-key": key.id },
    h("th", { role: "rowheader", scope: "row" },
      h("div", { class: "title" }, h("span", { class: "name", dir: "auto" }, key.name),
        settings.selfService && button({ class: "quiet small rename", "data-do": "rename", title: t("rename"), "aria-label": t("key.rename.of", { name: key.name }), onclick: () => act.rename(key) }, icon("pencil")),
        key.status === "expired" && h("span", { class: "badge warn" }, t("key.expired"))),
      h("span", { class: "muted type" }, apiType?.label ?? key.api_type)),
    cell("client_id", h("code", { translate: false }, h("span", { class: "muted" }, prefix), h("wbr"), id),
      h(Copy, { what: t("copy.client_id.of", { name: key.name }), text: () => key.client_id })),
    cell("access", words || h("span", { class: "attention" }, t(key.last_used_at ? "key.scopes_gone" : "key.no_scopes"))),
    cell("last_used", key.last_used_at ? time(key.last_used_at, ago(key.last_used_at)) : h("span", { class: "muted" }, t("key.never_used"))),
    cell("created", time(key.created_at), h("span", { class: "muted by" }, t("key.by", { who: bdi(key.created_by) }))),
    // What takes away stays possible where self-service is off.
    h("td", { role: "cell", class: "do" }, h("div", {},
      settings.selfService && apiType && button({ class: "small", "data-do": "scopes", "aria-label": t("key.scopes.of", { name: key.name }), onclick: () => act.scopes(key) }, t("key.scopes")),
      button({ class: "small danger", "data-do": "delete", title: t("delete"), "aria-label": t("key.delete.of", { name: key.name }), onclick: () => act.remove(key) }, icon("trash"), h("span", { class: "text" }, t("delete"))))));
}

export const emptyView = (createButton) =>
  h("div", { class: "empty" }, h("span", { class: "halo" }, icon("key")),
    h("h2", { tabindex: "-1" }, t(settings.selfService ? "list.none" : "list.none.off")),
    h("p", { class: "muted" }, t(settings.selfService ? "list.none.hint" : "list.none.off.hint")),
    createButton);
