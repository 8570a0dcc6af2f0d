// The list of keys: loaded page by page, searched and paged here.

import { ago, copyButton, count, explain, h, hidden, icon, time } from "./dom.js";
import { held } from "./selection.js";

const PER_PAGE = 25;

export function createList({ api, apiTypes, settings }, place, { onScopes, onDelete }) {
  let keys = [];
  let page = 0;
  let loading = false;
  let failed = null;
  let drawn = [];
  let create = null;
  let actions = null;

  const search = h("input", { type: "search", id: "search", placeholder: "Search by name or client ID", autocomplete: "off", spellcheck: "false" });
  const shown = h("p", { class: "muted shown", role: "status" });
  const rows = h("tbody", { role: "rowgroup" });
  const pager = h("nav", { class: "pager", "aria-label": "Pages" });
  const trouble = h("div", {});
  const heads = ["Name", "API type", "Client ID", "Scopes", "Created", "Last used"];
  if (settings.selfService) heads.push("Actions");
  // Roles are spelled out because narrow screens lay the table out as cards.
  const table = h("table", { class: "keys", role: "table", "aria-label": "API keys" },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads.map((head) =>
      h("th", { role: "columnheader", scope: "col" }, head === "Actions" ? hidden(head) : head)))),
    rows);
  const full = h("div", {},
    h("div", { class: "tools" }, h("label", { class: "search" }, hidden("Search keys"), search), shown),
    table, trouble, pager);
  const none = h("div", { class: "empty" }, h("span", { class: "halo" }, icon("key")),
    h("h2", { tabindex: "-1" }, settings.selfService ? "No API keys yet" : "No API keys"),
    h("p", { class: "muted" }, settings.selfService
      ? `Create one for each program that works with the data of your ${settings.tenant}, and choose what it may read and write.`
      : `Your ${settings.tenant} has no API keys here.`));

  search.addEventListener("input", () => {
    page = 0;
    render();
  });
  search.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !search.value) return;
    search.value = "";
    page = 0;
    render();
  });

  function found() {
    const wanted = search.value.trim().toLowerCase();
    if (!wanted) return keys;
    return keys.filter(({ name, client_id: id }) => name.toLowerCase().includes(wanted) || id.toLowerCase().includes(wanted));
  }

  function render() {
    const empty = keys.length === 0 && !loading && !failed;
    if (place.firstChild !== (empty ? none : full)) place.replaceChildren(empty ? none : full);
    const home = empty ? none : actions;
    if (create && create.parentNode !== home) home.append(create);
    if (empty) {
      rows.replaceChildren();
      drawn = [];
      return;
    }

    const matches = found();
    const pages = Math.max(1, Math.ceil(matches.length / PER_PAGE));
    page = Math.min(page, pages - 1);
    const first = page * PER_PAGE;
    const visible = matches.slice(first, first + PER_PAGE);
    // Rows that stay are left alone, so that focus stays while more is loaded.
    if (!visible.length || visible.length !== drawn.length || visible.some((key, at) => key !== drawn[at])) {
      rows.replaceChildren(...visible.map(row));
      drawn = visible;
    }
    if (!visible.length) {
      rows.append(h("tr", { role: "row", class: "nothing" }, h("td", { role: "cell", colspan: heads.length },
        loading ? "Searching…" : `No key matches “${search.value.trim()}”.`)));
    }
    const range = matches.length > PER_PAGE ? `${first + 1}–${first + visible.length} of ` : "";
    shown.textContent = `${range}${count(matches.length, "key")}${loading ? ", loading more…" : ""}`;
    trouble.replaceChildren(...(failed ? [failed] : []));
    const turn = (words, to) => h("button", { type: "button", "aria-disabled": to < 0 || to >= pages ? "true" : null,
      onclick: () => {
        if (to < 0 || to >= pages) return;
        page = to;
        render();
        [...pager.querySelectorAll("button")].find((button) => button.textContent === words)?.focus();
      } }, words);
    pager.replaceChildren(...(pages > 1
      ? [turn("Previous", page - 1), h("span", { class: "muted" }, `Page ${page + 1} of ${pages}`), turn("Next", page + 1)]
      : []));
  }

  function row(key) {
    const apiType = apiTypes.get(key.api_type);
    const words = apiType ? held(apiType.index, key.scopes) : count(key.scopes.length, "scope");
    const cell = (label, ...content) => h("td", { role: "cell", "data-label": label }, h("div", {}, ...content));
    return h("tr", { role: "row", "data-key": key.id },
      h("th", { role: "rowheader", scope: "row" }, h("span", { class: "name" }, key.name),
        key.status === "expired" && h("span", { class: "badge warn" }, "Expired")),
      cell("API type", apiType?.label ?? key.api_type),
      cell("Client ID", h("code", {}, key.client_id), ...copyButton(`client ID of ${key.name}`, () => key.client_id)),
      cell("Scopes", words ? words : h("span", { class: "attention" }, "No scopes yet")),
      cell("Created", time(key.created_at)),
      cell("Last used", key.last_used_at ? time(key.last_used_at, ago(key.last_used_at)) : h("span", { class: "muted" }, "Never used")),
      settings.selfService && h("td", { role: "cell", class: "do" }, h("div", {},
        apiType && h("button", { type: "button", class: "small", "data-do": "scopes", "aria-label": `Scopes of ${key.name}`, onclick: () => onScopes(key) }, "Scopes"),
        h("button", { type: "button", class: "small danger", "data-do": "delete", "aria-label": `Delete ${key.name}`, onclick: () => onDelete(key) }, "Delete"))));
  }

  /** Loads what the first answer did not hold; what is there can be used meanwhile. */
  async function loadRest(cursor) {
    loading = true;
    try {
      while (cursor) {
        render();
        const next = await api.list(cursor);
        add(next.items);
        cursor = next.next_cursor;
      }
      failed = null;
    } catch (error) {
      const from = cursor;
      failed = explain(error, settings, h("p", {}, "The list is not complete."), h("button", { type: "button", onclick: () => {
        failed = null;
        loadRest(from);
      } }, "Load the rest"));
    }
    loading = false;
    render();
  }

  function add(items) {
    const known = new Set(keys.map(({ id }) => id));
    keys.push(...items.filter(({ id }) => !known.has(id)));
  }

  return {
    setCreate(button, beside) {
      create = button;
      actions = beside;
    },
    start(first) {
      keys = [];
      add(first.items);
      if (first.next_cursor) return loadRest(first.next_cursor);
      return render();
    },
    /** Shows the newer state of a key, on top if it is new. */
    put(key) {
      const at = keys.findIndex(({ id }) => id === key.id);
      if (at < 0) {
        keys.unshift(key);
        search.value = "";
        page = 0;
      } else keys[at] = key;
      render();
    },
    remove(id) {
      keys = keys.filter((key) => key.id !== id);
      render();
    },
    isTaken: (name) => {
      const folded = name.normalize("NFKC").toLowerCase();
      return keys.some((key) => key.name.normalize("NFKC").toLowerCase() === folded);
    },
    /** Focus goes back to what opened a dialog, or to what is nearest. */
    focus(id, action) {
      const button = rows.querySelector(`[data-key="${CSS.escape(id)}"] [data-do="${action}"]`);
      (button ?? (keys.length ? search : none.querySelector("h2"))).focus();
    },
  };
}
