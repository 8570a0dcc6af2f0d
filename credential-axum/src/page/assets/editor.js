// The dialog that edits a key's scopes.

import { explain, guardLeaving, h, hidden, icon, newId, note, openDialog, whileBusy } from "./dom.js";
import { changeInWords, combine, holdsWrite, inWords, isLonely, lower, minus, readOnly, scopesOf, withoutWrite } from "./selection.js";

const same = (a, b) => a.size === b.size && minus(a, b).size === 0;

export function openEditor(context, key, { changed, gone, closed }) {
  const { api, apiTypes, settings, say } = context;
  const { index, rules, label } = apiTypes.get(key.api_type);
  const known = (scopes) => new Set(scopes.filter((scope) => index.scopes.has(scope)));
  let base = known(key.scopes);
  let version = key.version;
  let chosen = new Set(base);
  let outcome = null; // what to do once the dialog is gone

  const { dialog, heading, body, alert, actions, close } = openDialog({
    title: "Edit Scopes",
    className: "editor",
    lead: [h("strong", {}, key.name), ` · ${label}`],
    mayClose: () => {
      if (same(base, wanted())) return true;
      const discard = h("button", { type: "button", class: "small", onclick: close }, "Discard changes");
      alert.replaceChildren(note("warn", h("p", {}, "You have changes that are not saved."), h("div", { class: "inline" }, discard,
        h("button", { type: "button", class: "small", onclick: () => {
          alert.replaceChildren();
          save.focus();
        } }, "Keep editing"))));
      discard.focus();
      return false;
    },
    closed: () => {
      stopGuard();
      outcome?.();
      closed();
    },
  });
  const stopGuard = guardLeaving(() => !same(base, wanted()));

  const boxes = new Map();
  const box = (scope, name, described) => {
    const input = h("input", { type: "checkbox", "data-scope": scope, "aria-label": name, "aria-describedby": described });
    boxes.set(scope, input);
    return input;
  };

  // Tools
  const search = h("input", { type: "search", placeholder: "Search scopes", autocomplete: "off", spellcheck: "false" });
  const found = h("span", { class: "unseen", role: "status" });
  const narrow = h("button", { type: "button", onclick: () => choose(withoutWrite(index, wanted(), rules)) }, "Remove write access");
  const onlyRead = h("button", { type: "button", onclick: () => choose(readOnly(index)) }, "Set All to Read-Only");
  const tools = h("div", { class: "tools" }, h("label", { class: "search" }, hidden("Search scopes"), search), narrow, onlyRead, found);
  dialog.querySelector("header").after(tools);
  if (rules.documentation) {
    dialog.querySelector("header p").append(" · ", h("a", { href: rules.documentation, target: "_blank", rel: "noopener" }, "About these scopes", hidden(" (new tab)")));
  }

  // Categories
  const categories = index.categories.map((category, at) => categoryOf(category, at, box));
  const listed = h("fieldset", { class: "listed" }, h("legend", { class: "unseen" }, "Scopes by category"), categories.map(({ element }) => element));
  const covered = h("p", { class: "muted covered", hidden: true }, "Full access covers all of these.");
  const nothing = h("p", { class: "muted nothing", hidden: true });
  body.append(covered, listed, nothing);
  // Last, because least is best; first where something of it is held, so that nobody misses it.
  if (index.broad.length) body[index.broad.some(({ scope }) => base.has(scope)) ? "prepend" : "append"](broadOf(index.broad, box));

  // Footer
  const summary = h("p", { class: "summary", role: "status" });
  const save = h("button", { type: "button", class: "primary" }, "Save");
  actions.before(summary);
  actions.append(h("button", { type: "button", onclick: close }, "Cancel"), save);

  const full = index.broad.find(({ right }) => right === "full_access")?.scope;
  const excluding = () => Boolean(rules.fullAccessExcludes && full && chosen.has(full));

  /** What Save sends. Under full access the other ticks are kept on the screen, not in the key. */
  function wanted() {
    if (!excluding()) return chosen;
    return new Set([...chosen].filter((scope) => !["read", "write"].includes(index.scopes.get(scope).right)));
  }

  function choose(scopes) {
    chosen = new Set(scopes);
    refresh();
  }

  function refresh() {
    for (const [scope, input] of boxes) {
      input.checked = chosen.has(scope);
      const { right } = index.scopes.get(scope);
      input.disabled = excluding() && (right === "read" || right === "write");
    }
    listed.classList.toggle("off", excluding());
    covered.hidden = !excluding();
    const filtering = search.value.trim() !== "";
    for (const category of categories) category.refresh(chosen, filtering || excluding());
    narrow.hidden = !holdsWrite(index, wanted());
    const words = changeInWords(index, base, wanted());
    const empty = wanted().size === 0 && "This key cannot call anything yet.";
    const lonely = isLonely(index, wanted(), rules) && "“Act as a user” needs at least one other scope beside it.";
    const text = [words || "No changes", empty || lonely].filter(Boolean).join(". ");
    if (summary.textContent !== text) summary.textContent = text;
    summary.classList.toggle("attention", Boolean(empty || lonely));
  }

  body.addEventListener("change", ({ target }) => {
    const { scope, category } = target.dataset;
    if (scope) {
      if (target.checked) chosen.add(scope);
      else chosen.delete(scope);
    } else if (category) {
      for (const each of categories[category].scopes) {
        if (target.checked) chosen.add(each);
        else chosen.delete(each);
      }
    }
    refresh();
  });

  search.addEventListener("input", () => filter());
  search.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !search.value) return;
    event.preventDefault();
    event.stopPropagation();
    search.value = "";
    filter();
  });
  function filter() {
    const text = search.value.trim();
    const hits = categories.reduce((sum, category) => sum + category.filter(text.toLowerCase()), 0);
    nothing.hidden = hits > 0;
    nothing.textContent = hits ? "" : `No scope matches “${text}”.`;
    found.textContent = text ? `${hits} ${hits === 1 ? "resource" : "resources"} found` : "";
    const broad = body.querySelector(".broad");
    if (broad) broad.hidden = text !== "";
    refresh();
  }

  save.addEventListener("click", () => {
    const scopes = wanted();
    if (isLonely(index, scopes, rules)) {
      alert.replaceChildren(note("danger", h("p", {}, "“Act as a user” opens nothing alone. Choose at least one other scope.")));
      return;
    }
    if (same(base, scopes)) {
      outcome = () => say("", `The scopes of “${key.name}” did not change.`);
      close();
      return;
    }
    let isSaved = false;
    whileBusy(save, "Saving…", alert, async () => {
      try {
        saved((await api.setScopes(key.id, version, [...scopes].sort())).credential);
        isSaved = true;
      } catch (error) {
        isSaved = await failed(error, scopes);
      }
    }).then(() => isSaved && close());
  });

  function saved(newer) {
    changed(newer);
    outcome = () => say("ok", `Saved. The scopes of “${newer.name}” are in effect now.`);
  }

  /** Says what went wrong. True if the key holds what was wanted all the same. */
  async function failed(error, scopes) {
    if (error.code === "stale_version") {
      try {
        return conflict(await api.get(key.id), scopes);
      } catch (second) {
        return failed(second, scopes);
      }
    }
    if (error.code === "revoked" || error.code === "not_found") return removed();
    alert.replaceChildren(explain(error, settings, h("p", {}, "Your selection is still here.")));
    return false;
  }

  function removed() {
    alert.replaceChildren(note("danger", h("p", {}, "This key was deleted in the meantime, so its scopes can no longer be changed.")));
    save.hidden = true;
    base = wanted();
    outcome = gone;
    return false;
  }

  /** Somebody else saved first: nothing is overwritten until the admin has seen it. */
  function conflict(newer, mine) {
    if (newer.status === "revoked") return removed();
    const theirs = known(newer.scopes);
    changed(newer);
    if (same(theirs, mine)) {
      saved(newer); // an earlier attempt of ours, or the same idea
      return true;
    }
    const before = base;
    base = theirs;
    version = newer.version;
    refresh();
    if (same(before, theirs)) {
      alert.replaceChildren(note("warn", h("p", {}, "Somebody else changed this key while you were editing, but not its scopes. Save again to apply your selection.")));
      return false;
    }
    const button = (words, scopes) => h("button", { type: "button", class: "small", onclick: () => {
      alert.replaceChildren();
      choose(scopes);
      save.focus();
    } }, words);
    alert.replaceChildren(note("warn",
      h("p", {}, h("strong", {}, "Somebody else changed these scopes while you were editing. "),
        `Their change: ${lower(changeInWords(index, before, theirs))}. The key now holds ${inWords(index, theirs) || "no scopes"}.`),
      h("p", {}, "Your selection is still here and is not saved yet. Saving it as it is replaces theirs."),
      h("div", { class: "inline" }, button("Combine both", combine(before, mine, theirs)), button("Use theirs", theirs))));
    return false;
  }

  refresh();
  // Where it would bring up an on-screen keyboard, the title gets the focus instead.
  (matchMedia("(pointer: coarse)").matches ? heading : search).focus();
}

/** One category: an expander and a tri-state checkbox side by side, and the table they are about. */
function categoryOf(category, at, box) {
  const [panelId, countId] = [newId(), newId()];
  const scopes = category.resources.flatMap(scopesOf);
  const all = h("input", { type: "checkbox", "data-category": at, "aria-label": category.label, "aria-describedby": countId });
  const expander = h("button", { type: "button", class: "expander", "aria-expanded": "false", "aria-controls": panelId }, icon("chevron"), category.label);
  const held = h("span", { id: countId, class: "held" });
  const rows = category.resources.map((resource) => rowOf(resource, box));
  const panel = h("div", { id: panelId, class: "panel", hidden: true },
    h("table", {}, h("caption", { class: "unseen" }, category.label),
      h("thead", {}, h("tr", {}, ["Resource", "Read", "Write"].map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, rows.map(({ element }) => element))));
  const element = h("section", { class: "category" }, h("div", { class: "head" }, all, h("h3", {}, expander), held), panel);
  let open = false;
  let forced = false;
  const show = () => {
    expander.setAttribute("aria-expanded", String(open || forced));
    panel.hidden = !(open || forced);
  };
  expander.addEventListener("click", () => {
    open = !(open || forced);
    forced = false;
    show();
  });
  return {
    element,
    scopes,
    refresh(chosen, disabled) {
      const number = scopes.filter((scope) => chosen.has(scope)).length;
      all.checked = number === scopes.length;
      all.indeterminate = number > 0 && number < scopes.length;
      all.disabled = disabled;
      held.textContent = `${number} of ${scopes.length}`;
      held.classList.toggle("some", number > 0);
    },
    filter(text) {
      let hits = 0;
      for (const row of rows) {
        const hit = !text || row.text.includes(text) || category.label.toLowerCase().includes(text);
        row.element.hidden = !hit;
        hits += hit;
      }
      element.hidden = hits === 0;
      forced = Boolean(text) && hits > 0;
      show();
      return hits;
    },
  };
}

function rowOf({ label, read, write }, box) {
  const cell = (scope, right, only) => h("td", {}, scope
    ? h("label", { class: "tick", title: `${scope.description} (${scope.scope})` }, box(scope.scope, `${label}: ${right}`))
    : h("span", { class: "muted" }, only));
  const described = (read ?? write).description;
  const element = h("tr", {}, h("th", { scope: "row" }, label, h("span", { class: "muted" }, described)),
    cell(read, "read", "Write only"), cell(write, "write", "Read only"));
  const text = [label, read?.description, read?.scope, write?.description, write?.scope].join(" ").toLowerCase();
  return { element, text };
}

/** What opens more than one resource: marked, and ticked by nothing but its own checkbox. */
function broadOf(scopes, box) {
  return h("fieldset", { class: "broad" }, h("legend", {}, "Broad access"),
    h("p", { class: "muted" }, "Leave these off unless the integration cannot work without them. No button ticks them."),
    scopes.map(({ scope, name, description }) => {
      const describe = newId();
      const input = box(scope, name, describe);
      input.id = newId();
      return h("div", { class: "choice" }, input, h("label", { for: input.id }, name), h("p", { id: describe, class: "muted" }, `${description}. `, h("code", {}, scope)));
    }));
}
