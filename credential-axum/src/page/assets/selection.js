// Which scopes are chosen, what a change adds and removes, and the words for it. No elements here.

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
        const name = `${resource.label}: ${right}`;
        const known = { ...scope, right, name, wildcard: resource.wildcard };
        scopes.set(scope.scope, known);
        if (resource.wildcard) wildcards.push(known);
      }
      if (!resource.wildcard) rows.push(resource);
    }
    if (rows.length) categories.push({ ...category, resources: rows });
  }
  const special = { full_access: "Full access", on_behalf_of: "Act as a user" };
  const extra = apiType.additional_scopes.map((scope) => ({ ...scope, right: scope.kind, name: special[scope.kind] ?? scope.scope }));
  // Full access first: it is the widest.
  extra.sort((a, b) => (b.kind === "full_access") - (a.kind === "full_access"));
  for (const scope of extra) scopes.set(scope.scope, scope);
  return { scopes, categories, broad: [...extra, ...wildcards] };
}

export const scopesOf = (resource) =>
  [resource.read, resource.write].filter(Boolean).map(({ scope }) => scope);

const writes = ({ right }) => right === "write" || right === "full_access";

export const holdsWrite = (index, held) =>
  [...held].some((scope) => index.scopes.has(scope) && writes(index.scopes.get(scope)));

/** Every listed read scope and nothing else. */
export const readOnly = (index) =>
  new Set([...index.scopes.values()].filter(({ right, wildcard }) => right === "read" && !wildcard).map(({ scope }) => scope));

/** What is left without any right to write: only ever narrower. */
export function withoutWrite(index, held, rules) {
  const rest = new Set([...held].filter((scope) => !writes(index.scopes.get(scope))));
  return isLonely(index, rest, rules) ? new Set() : rest;
}

/** Whether what is held is acting as a user and nothing that it could do. */
export const isLonely = (index, held, rules) =>
  Boolean(rules.onBehalfNeedsCompany) &&
  held.size === 1 &&
  [...held].every((scope) => index.scopes.get(scope).right === "on_behalf_of");

export const minus = (left, right) => new Set([...left].filter((scope) => !right.has(scope)));

/** My change, made to what somebody else left behind. */
export const combine = (base, mine, theirs) =>
  new Set([...minus(theirs, minus(base, mine)), ...minus(mine, base)]);

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
export const lower = (text) => text.charAt(0).toLowerCase() + text.slice(1);

/** "66 read, 3 write, full access". */
export function inWords(index, held) {
  const known = [...held].map((scope) => index.scopes.get(scope)).filter(Boolean);
  const listed = (right) => known.filter((scope) => scope.right === right && !scope.wildcard).length;
  const words = ["read", "write"].filter((right) => listed(right)).map((right) => `${listed(right)} ${right}`);
  for (const scope of index.broad) {
    if (held.has(scope.scope)) words.push(lower(scope.name));
  }
  return words.join(", ");
}

/** "Adds 66 read, removes 3 write"; empty if nothing changes. */
export function changeInWords(index, from, to) {
  const added = inWords(index, minus(to, from));
  const removed = inWords(index, minus(from, to));
  const parts = [added && `adds ${added}`, removed && `removes ${removed}`].filter(Boolean).join(", ");
  return capital(parts);
}

/** What a key holds, as the list says it; empty if nothing. */
export const held = (index, scopes) => capital(inWords(index, new Set(scopes)));
