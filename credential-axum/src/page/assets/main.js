// Starts the page: reads what the server says about it, loads the data, connects list and dialogs.

import { connect } from "./api.js";
import { explain, h, icon } from "./dom.js";
import { openEditor } from "./editor.js";
import { openCreate, openDelete } from "./keys.js";
import { createList } from "./list.js";
import { indexScopes } from "./selection.js";

const settings = JSON.parse(document.getElementById("app").dataset.settings);
const api = connect(settings.api);
const status = document.getElementById("status");
const place = document.getElementById("list");

const say = (kind, text) =>
  status.replaceChildren(h("div", { class: `note ${kind}` }, icon(kind === "ok" ? "check" : "alert"), h("p", {}, text)));

async function start() {
  place.replaceChildren(h("p", { class: "muted loading" }, "Loading API keys…"));
  const slow = setTimeout(() => place.append(h("p", { class: "muted" }, "This takes longer than usual.")), 4000);
  try {
    const [catalog, first] = await Promise.all([api.catalog(), api.list()]);
    show(catalog, first);
  } catch (error) {
    const again = h("button", { type: "button", onclick: start }, "Try again");
    place.replaceChildren(explain(error, settings, again));
    if (error.code === "unauthenticated") place.append(again);
  } finally {
    clearTimeout(slow);
  }
}

function show(catalog, first) {
  const apiTypes = new Map(
    catalog.api_types.map((apiType) => [
      apiType.id,
      { ...apiType, index: indexScopes(apiType), rules: settings.apiTypes[apiType.id] ?? {} },
    ]),
  );
  const context = { api, apiTypes, settings, say };
  const list = createList(context, place, {
    onScopes: (key) => editScopes(key),
    onDelete: (key) =>
      openDelete(context, key, {
        deleted: () => {
          list.remove(key.id);
          say("ok", `“${key.name}” was deleted. It has stopped working.`);
        },
        closed: () => list.focus(key.id, "delete"),
      }),
  });
  const editScopes = (key) =>
    openEditor(context, key, {
      changed: (newer) => list.put(newer),
      gone: () => list.remove(key.id),
      closed: () => list.focus(key.id, "scopes"),
    });
  if (settings.selfService) {
    const create = h("button", { type: "button", class: "primary", id: "create" }, icon("plus"), "Create API Key");
    create.addEventListener("click", () =>
      openCreate(context, {
        isTaken: (name) => list.isTaken(name),
        created: (key) => list.put(key),
        unsure: () => start(),
        done: (key, thenEdit) => {
          if (thenEdit) {
            editScopes(key);
            return;
          }
          say("ok", `“${key.name}” was created. It cannot call anything until you give it scopes.`);
          list.focus(key.id, "scopes");
        },
        closed: () => document.getElementById("create")?.focus(),
      }),
    );
    list.setCreate(create, document.getElementById("actions"));
  }
  list.start(first);
}

// Escape hides a hint that is in the way; the next pointer or key brings hints back.
addEventListener("keydown", (event) => document.documentElement.classList.toggle("no-tips", event.key === "Escape"));
addEventListener("pointermove", () => document.documentElement.classList.remove("no-tips"));

start();
