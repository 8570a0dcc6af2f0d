// The list of keys, as a function of what is loaded and what somebody looks for.

import { Copy, DAY_MS, ago, bdi, button, day, explain, field, fold, h, hasWords, hidden, icon, inDays, isLive, join, note, now, number, settings, t, time } from "./ui.js";

const PER_PAGE = 100;
const UNUSED_MS = 90 * DAY_MS;
const SOON_MS = 30 * DAY_MS;
/** Keys that the line above the list names; it counts all of them. */
const MOST_NAMED = 3;

const idle = ({ last_used_at: at }) => now() - new Date(at);
const isOn = ({ status }) => status !== "disabled";
const isUnused = (key) => isOn(key) && Boolean(key.last_used_at) && idle(key) >= UNUSED_MS;
const isFull = ({ full_access: full, scope_counts: { broad } }) => full ?? broad > 0;

/** When a key stops by itself: at its own end, or when the last of its secrets ends. Null if it does not. */
function endOf({ expires_at: own, secrets = [], keys = [], workloads = [], jwks_uri: uri }) {
  const live = secrets.filter(isLive);
  const lasts = keys.length || workloads.length || uri || !live.length || live.some(({ expires_at: end }) => !end);
  const ends = [own && Date.parse(own), lasts ? null : Math.max(...live.map(({ expires_at: end }) => Date.parse(end)))].filter(Boolean);
  return ends.length ? Math.min(...ends) : null;
}

function endsSoon(key) {
  const left = (endOf(key) ?? Infinity) - now();
  return isOn(key) && left > 0 && left < SOON_MS;
}

/** Ended of itself a short time ago: what used it may be waiting. */
function hasEnded({ status, expires_at: end }) {
  return status === "expired" && now() - Date.parse(end) < SOON_MS;
}

const FILTERS = {
  all: () => true,
  in_use: (key) => isOn(key) && Boolean(key.last_used_at) && idle(key) < UNUSED_MS,
  unused: isUnused,
  never: (key) => isOn(key) && !key.last_used_at,
  ending: endsSoon,
  disabled: (key) => !isOn(key),
  full: (key) => isOn(key) && isFull(key),
  // Not on a chip: what the line above the list is about.
  attention: (key) => endsSoon(key) || hasEnded(key) || isUnused(key),
};
const CHIPS = Object.keys(FILTERS).filter((name) => name !== "attention");

const SORTS = { created: (key) => Date.parse(key.created_at), last_used: (key) => (key.last_used_at ? Date.parse(key.last_used_at) : -Infinity) };

/** A key as the list holds it: with counts of its scopes. Whoever changed none knows none, and the list's stay. */
export const summaryOf = (key, known) => ({ ...key, scope_counts: key.scope_counts ?? known?.scope_counts ?? { read: 0, write: 0, broad: 0, unused_30d: 0 }, full_access: key.full_access ?? (key.scope_counts ? undefined : known?.full_access) });

/** The keys that are looked for, in their order, and how many each chip would show. */
export function select({ keys, query, filter, sort, leak }) {
  const counts = {};
  for (const [name, fits] of Object.entries(FILTERS)) counts[name] = keys.filter(fits).length;
  const owner = leak && ownerOf(keys, leak);
  const fits = (key) => (owner ? key === owner : (FILTERS[filter] ?? FILTERS.all)(key));
  const found = searched(keys.filter(fits), query.trim());
  const value = SORTS[sort.by] ?? SORTS.created;
  // Stable: keys of the same moment stay in the order of the API, newest first.
  found.sort((a, b) => (value(a) === value(b) ? 0 : value(a) < value(b) === (sort.down) ? 1 : -1));
  return { found, counts, owner };
}

const labelOf = ({ api_type: type }) => settings.apiTypes[type]?.label ?? type;

/** What holds the text as it is; if nothing does, what holds all of its words. */
function searched(keys, query) {
  if (!query) return keys;
  const text = (key) => fold([key.name, key.client_id, labelOf(key)].join("\n"));
  const found = keys.filter((key) => text(key).includes(fold(query)));
  return found.length ? found : keys.filter((key) => hasWords(text(key), query));
}

const ownerOf = (keys, { selector }) =>
  selector && keys.find(({ secrets }) => secrets.some((secret) => secret.selector === selector));

export function listView(state, act) {
  const { keys, more, query, filter, sort } = state;
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
    attention(keys.filter(FILTERS.attention), filter, act),
    h("div", { class: "tools" },
      h("label", { class: "search" }, hidden(t("list.search")),
        h("input", { type: "search", id: "search", placeholder: t("list.search.hint"), autocomplete: "off", spellcheck: false, value: query,
          onkeydown: (event) => event.key === "Escape" && act.search(""), ...field(act.search, act.leak) })),
      h("div", { class: "chips", role: "group", "aria-label": t("list.filters") }, CHIPS.map((name) =>
        button({ class: "chip", "aria-pressed": String(filter === name), onclick: () => act.filter(name) },
          t(`filter.${name}`), " ", h("span", { class: "number" }, number(counts[name]))))),
      h("p", { class: "muted shown", role: "status", tabindex: "-1" }, isLoading ? t("list.more", { words: shown }) : shown)),
    h("div", { class: "found", role: "alert" }, state.leak && leakNote(state, owner, act)),
    h("table", { class: "keys", role: "table", "aria-label": t("list.label") },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" },
        column("name"), column("client_id"), column("access"), sortable("last_used"), sortable("created"),
        h("th", { role: "columnheader", scope: "col", class: "do" }, hidden(t("column.actions"))))),
      h("tbody", { role: "rowgroup" },
        visible.map((key) => row(key, act)),
        !visible.length && h("tr", { role: "row", class: "nothing", key: "" }, h("td", { role: "cell", colspan: 6 },
          isLoading ? t("list.searching") : query.trim() ? t("list.no_match", { text: query.trim() }) : t("list.no_match.filter"))))),
    h("div", { role: "alert" }, more?.error && explain(more.error, h("p", {}, t("list.incomplete")), button({ onclick: act.loadRest }, t("list.rest")))),
    pages > 1 && h("nav", { class: "pager", "aria-label": t("list.pages") },
      turn("list.previous", page - 1, pages, act),
      h("span", { class: "muted" }, t("list.page", { page: page + 1, pages })),
      turn("list.next", page + 1, pages, act)),
    !more && h("p", { class: "last" }, button({ class: "quiet small", id: "revoke-all", onclick: act.revokeAll }, t("revoke_all"))));
}

/** Which keys somebody should look at, and why, in one line. */
function attention(keys, filter, act) {
  if (!keys.length) return null;
  const why = (key) => {
    const name = nameLink(key, h("bdi", {}, key.name));
    if (hasEnded(key)) return t("attention.ended", { name, ago: ago(key.expires_at) });
    return endsSoon(key) ? t("attention.ends", { name, in: inDays(endOf(key)) }) : t("attention.unused", { name, count: Math.floor(idle(key) / DAY_MS) });
  };
  // What has stopped comes first, then what will stop.
  const rank = (key) => (hasEnded(key) ? 0 : endsSoon(key) ? endOf(key) : Infinity);
  const named = [...keys].sort((a, b) => (rank(a) === rank(b) ? idle(b) - idle(a) : rank(a) - rank(b))).slice(0, MOST_NAMED);
  const rest = keys.length - named.length;
  return h("div", { class: "note warn look", role: "note" }, icon("alert"),
    h("p", {}, h("strong", {}, t("attention", { count: keys.length })), " ",
      join(named.map(why), " · "), rest > 0 && [" · ", t("attention.more", { count: rest })]),
    button({ class: "small", "aria-pressed": String(filter === "attention"), onclick: () => act.filter(filter === "attention" ? "all" : "attention") }, t("attention.show")));
}

const linkTo = ({ id }) => `${settings.base}/keys/${encodeURIComponent(id)}`;
const nameLink = (key, ...content) => h("a", { href: linkTo(key) }, ...content);

const turn = (words, to, pages, act) => {
  const exists = to >= 0 && to < pages;
  return button({ "aria-disabled": exists ? undefined : "true", onclick: () => exists && act.turn(to) }, t(words));
};

function leakNote({ more, leak: { selector } }, owner, act) {
  const all = button({ onclick: act.forgetLeak }, t("list.clear"));
  if (owner && !isLive(owner.secrets.find(({ selector: each }) => each === selector))) {
    return note("", h("p", {}, h("strong", {}, t("leak.ended", { name: bdi(owner.name) }))), h("p", {}, t("leak.ended.hint")), h("div", { class: "inline" }, all));
  }
  if (owner) {
    return note("danger", h("p", {}, h("strong", {}, t("leak.found", { name: bdi(owner.name) }))), h("p", {}, t("leak.found.hint")),
      h("div", { class: "inline" }, button({ class: "danger", onclick: () => act.remove(owner) }, h("span", {}, t("delete.named", { name: bdi(owner.name) }))), all));
  }
  if (more === "loading") return note("", h("p", {}, t("list.searching")));
  return note("warn", h("p", {}, h("strong", {}, t("leak.unknown"))), h("p", {}, t("leak.unknown.hint")), h("div", { class: "inline" }, all));
}

const CLIENT_ID = /^(.*_)(.*)$/;

/** "2 read, 1 write". */
function accessOf(key) {
  const { read, write, broad } = key.scope_counts;
  const full = isFull(key);
  const others = broad - (full ? 1 : 0);
  return [full && t("editor.full_access"), read && t("change.read", { count: read }), write && t("change.write", { count: write }),
    others > 0 && t("access.broad", { count: others })].filter(Boolean).join(", ");
}

function badge(key) {
  if (key.status === "disabled") return h("span", { class: "badge off" }, t("key.disabled"));
  if (key.status === "expired") return h("span", { class: "badge warn" }, t("key.expired"));
  return endsSoon(key) && h("span", { class: "badge warn" }, t("key.ends", { in: inDays(endOf(key)) }));
}

/** While two secrets work, one replaces the other. */
function rotation({ secrets = [] }) {
  const live = secrets.filter(isLive);
  if (live.length < 2) return null;
  const ends = live.map(({ expires_at: end }) => end).filter(Boolean).sort()[0];
  return [" · ", ends ? t("key.rotating", { count: live.length, when: day(ends) }) : t("key.secrets", { count: live.length })];
}

function row(key, act) {
  const isKnown = key.api_type in settings.apiTypes;
  const words = accessOf(key);
  const [, prefix, id] = CLIENT_ID.exec(key.client_id) ?? [null, "", key.client_id];
  const cell = (name, ...content) => h("td", { role: "cell", class: `of-${name}`, "data-label": t(`column.${name}`) }, h("div", {}, ...content));
  return h("tr", { role: "row", key: key.id, "data-key": key.id },
    h("th", { role: "rowheader", scope: "row" },
      h("div", { class: "title" }, h("a", { class: "name", dir: "auto", href: linkTo(key) }, key.name), badge(key)),
      h("span", { class: "muted type" }, labelOf(key), rotation(key))),
    cell("client_id", h("code", { translate: false }, h("span", { class: "muted" }, prefix), h("wbr"), id),
      h(Copy, { what: t("copy.client_id.of", { name: key.name }), text: () => key.client_id })),
    cell("access", words || h("span", { class: "attention" }, t(key.last_used_at ? "key.scopes_gone" : "key.no_scopes"))),
    cell("last_used", key.last_used_at ? time(key.last_used_at, ago(key.last_used_at)) : h("span", { class: "muted" }, t("key.never_used"))),
    cell("created", time(key.created_at), h("span", { class: "muted by" }, t("key.by", { who: bdi(key.created_by) }))),
    // What takes away stays possible where self-service is off.
    h("td", { role: "cell", class: "do" }, h("div", {},
      settings.selfService && isKnown && button({ class: "small", "data-do": "scopes", "aria-label": t("key.scopes.of", { name: key.name }), onclick: () => act.scopes(key) }, t("key.scopes")),
      settings.selfService && button({ class: "small rotate", "data-do": "rotate", title: t("rotate"), "aria-label": t("key.rotate.of", { name: key.name }), onclick: () => act.rotate(key) }, icon("rotate")),
      button({ class: "small danger", "data-do": "delete", title: t("delete"), "aria-label": t("key.delete.of", { name: key.name }), onclick: () => act.remove(key) }, icon("trash"), h("span", { class: "text" }, t("delete"))))));
}

export const emptyView = (createButton) =>
  h("div", { class: "empty" }, h("span", { class: "halo" }, icon("key")),
    h("h2", { tabindex: "-1" }, t(settings.selfService ? "list.none" : "list.none.off")),
    h("p", { class: "muted" }, t(settings.selfService ? "list.none.hint" : "list.none.off.hint")),
    createButton);
