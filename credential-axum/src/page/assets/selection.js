// Which scopes are chosen, what a change adds and removes, and the words for it. No elements here.

import { t } from "./ui.js";

/** What each scope of an API type is, from the catalogue's JSON. */
export function indexScopes(apiType) {
  const scopes = new Map();
  const categories = [];
  const wildcards = [];
  for (const category of apiType.categories) {
    const rows = [];
    for (const resource of category.resources) {
      for (const right of ["read", "write"]) {
        const scope = resource[right];
        if (!scope) continue;
        const name = t("editor.scope", { resource: resource.label, right: t(`editor.${right}`).toLowerCase() });
        const known = { ...scope, right, name, wildcard: resource.wildcard };
        scopes.set(scope.scope, known);
        if (resource.wildcard) wildcards.push(known);
      }
      if (!resource.wildcard) rows.push(resource);
    }
    if (rows.length) categories.push({ ...category, resources: rows });
  }
  const extra = apiType.additional_scopes.map((scope) => ({ ...scope, right: scope.kind, name: t(`editor.${scope.kind}`) }));
  // Full access first: it is the widest.
  extra.sort((a, b) => (b.kind === "full_access") - (a.kind === "full_access"));
  for (const scope of extra) scopes.set(scope.scope, scope);
  return { scopes, categories, broad: [...extra, ...wildcards], full: extra.find(({ kind }) => kind === "full_access")?.scope };
}

export const scopesOf = (resource) =>
  [resource.read, resource.write].filter(Boolean).map(({ scope }) => scope);

/** Scopes that this catalogue does not know are held by other nodes' keys while nodes are updated. */
export const unknown = (index, held) => [...held].filter((scope) => !index.scopes.has(scope));

const rightOf = (index, scope) => index.scopes.get(scope)?.right;

/** One of a single resource, such as a category's row has. */
const isListed = (index, scope) => ["read", "write"].includes(rightOf(index, scope)) && !index.scopes.get(scope).wildcard;

export const holdsWrite = (index, held) => [...held].some((scope) => rightOf(index, scope) === "write");

/** Every listed read scope and nothing else. */
export const readOnly = (index) => new Set([...index.scopes.keys()].filter((scope) => isListed(index, scope) && rightOf(index, scope) === "read"));

/** What is left without any right to write: only ever narrower. */
export function withoutWrite(index, held, rules) {
  const rest = new Set([...held].filter((scope) => rightOf(index, scope) !== "write"));
  return lonely(index, rest, rules) ? new Set() : rest;
}

/** Acting as a user, if that is all that is held and opens nothing alone. */
export function lonely(index, held, rules) {
  if (!rules.onBehalfNeedsCompany || held.size !== 1) return undefined;
  const [scope] = held;
  return rightOf(index, scope) === "on_behalf_of" ? index.scopes.get(scope) : undefined;
}

/** What Save sends. Under full access the other ticks are kept on the screen, not in the key. */
export function effective(index, chosen, rules) {
  if (!excludes(index, chosen, rules)) return chosen;
  return new Set([...chosen].filter((scope) => !["read", "write"].includes(rightOf(index, scope))));
}

export const excludes = (index, chosen, rules) => Boolean(rules.fullAccessExcludes && index.full && chosen.has(index.full));

export const minus = (left, right) => new Set([...left].filter((scope) => !right.has(scope)));
export const same = (a, b) => a.size === b.size && minus(a, b).size === 0;

/** My change, made to what somebody else left behind. */
export const combine = (base, mine, theirs) =>
  new Set([...minus(theirs, minus(base, mine)), ...minus(mine, base)]);

/** The names in a text that somebody was given, and what the catalogue knows of them. */
export function readNames(index, text) {
  const found = { listed: new Set(), broad: new Set(), unknown: [] };
  const folded = new Map([...index.scopes.keys()].map((scope) => [scope.toLowerCase(), scope]));
  for (const word of text.split(/[\s,;"'\u0060[\]{}]+/)) {
    const name = word.replace(/^scopes?[=:]/i, "").replace(/[.:]+$/, "");
    if (!name || /^scopes?$/i.test(name)) continue;
    const [, stem, suffix] = /^(.*)\.(.*)$/.exec(name) ?? [];
    // The spellings of SMART's second version for what the first calls read and write.
    const rights = { rs: ["read"], cud: ["write"], cruds: ["read", "write"], "*": ["read", "write"] }[suffix] ?? [];
    const candidates = index.scopes.has(name) ? [name] : [name.toLowerCase(), ...rights.map((right) => `${stem}.${right}`.toLowerCase())];
    const known = candidates.map((each) => (index.scopes.has(each) ? each : folded.get(each))).filter(Boolean);
    if (!known.length) found.unknown.push(name);
    for (const scope of known) (isListed(index, scope) ? found.listed : found.broad).add(scope);
  }
  return found;
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const lower = (text) => text.charAt(0).toLowerCase() + text.slice(1);

/** "66 read, 3 write, full access". */
export function inWords(index, held) {
  const counted = (right) => [...held].filter((scope) => isListed(index, scope) && rightOf(index, scope) === right).length;
  const words = ["read", "write"].map((right) => [right, counted(right)]).filter(([, count]) => count)
    .map(([right, count]) => t(`change.${right}`, { count }));
  for (const scope of index.broad) {
    if (held.has(scope.scope)) words.push(lower(scope.name));
  }
  const { length } = unknown(index, held);
  if (length) words.push(t("change.unknown", { count: length }));
  return words.join(", ");
}

/**
 * "Adds 66 read, removes 3 write"; empty if nothing changes. `everything`: it opens all that can be read,
 * and more than it did.
 */
export function changeInWords(index, from, to) {
  const added = minus(to, from);
  const reads = [...readOnly(index)];
  const opened = reads.filter((scope) => added.has(scope));
  const everything = opened.length > 0 && reads.every((scope) => to.has(scope));
  const adds = inWords(index, everything ? minus(added, new Set(opened)) : added);
  const removes = inWords(index, minus(from, to));
  const parts = [adds && ["adds", adds], removes && ["removes", removes]].filter(Boolean)
    .map(([verb, what], at) => t(at === 0 ? `change.${verb}` : `change.${verb}.next`, { what }));
  const rest = parts.join(", ");
  return { everything, text: everything ? [t("change.everything", { count: opened.length }), rest].filter(Boolean).join(". ") : rest };
}

/** What a list says of a key's scopes, as `view=summary` counts it. */
export function countsOf(index, scopes, unused = new Set()) {
  const counted = (right) => scopes.filter((scope) => isListed(index, scope) && rightOf(index, scope) === right).length;
  const broad = scopes.filter((scope) => index.scopes.has(scope) && !isListed(index, scope)).length;
  return {
    scope_counts: { read: counted("read"), write: counted("write"), broad, unused_30d: scopes.filter((scope) => unused.has(scope)).length },
    full_access: Boolean(index.full && scopes.includes(index.full)),
  };
}

export const held = (index, scopes) => capital(inWords(index, new Set(scopes)));
