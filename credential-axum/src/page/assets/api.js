// Talks to the admin API. Every failure becomes a `Refused`; what is said about it is up to the words.

import { clock } from "./ui.js";

const PATIENCE_MS = 30_000;
/** Between the attempts of a request with a key of its own. */
const PAUSES_MS = [250, 750, 2000];
/** `Date` knows whole seconds only, and an answer takes its time. */
const CLOCK_PRECISION_MS = 5000;

/** A request that did not succeed. `code` is the API's, or `unreachable`, or `not_ours`. */
export class Refused extends Error {
  constructor(code, { fields = [], unsure = false, asked, answer } = {}) {
    super(code);
    this.code = code;
    this.fields = fields;
    /** Whether the change may have happened all the same. */
    this.unsure = unsure;
    this.asked = asked;
    /** Status and media type of an answer that is none of the API's. */
    this.answer = answer;
  }
}

/** How long until a change holds everywhere, in whole seconds, by the server's own clock; 0 if it does. */
const secondsLeft = (response, { effective_everywhere_at: at }) => {
  const left = (Date.parse(at) - Date.parse(response.headers.get("Date"))) / 1000;
  // The header knows whole seconds only, so less than two may be none.
  return left >= 2 ? Math.ceil(left) : 0;
};

/** Sends a request with a key of its own again while no answer comes: it is carried out once, and each attempt gets the first answer. */
const insist = async (send) => {
  const end = Date.now() + PATIENCE_MS;
  let unsure = false;
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await send();
    } catch (error) {
      unsure ||= error.unsure;
      if (attempt === PAUSES_MS.length || Date.now() > end || !(error.unsure || error.code === "idempotency_in_progress")) {
        // A refusal says nothing of an attempt before it.
        error.unsure = unsure;
        throw error;
      }
    }
    await new Promise((over) => setTimeout(over, PAUSES_MS[attempt]));
  }
};

const is = (id) => ({ credential }) => credential?.id === id;
const isCatalog = ({ api_types: apiTypes }) => Array.isArray(apiTypes);
const isList = ({ items }) => Array.isArray(items);
/** The secret is gone from the list, or ends no later than the change holds everywhere. */
const hasEnded = (id, selector) => (answer) => is(id)(answer) && (answer.credential.secrets ?? [])
  .every((secret) => secret.selector !== selector || (secret.expires_at && Date.parse(secret.expires_at) <= Date.parse(answer.effective_everywhere_at)));
const hasKeys = ({ keys, jwks_uri: uri }, { jwks, jwks_uri: wanted = null }) => keys?.length === (jwks?.keys.length ?? 0) && uri === wanted;
const sameScopes = (a, b) => Array.isArray(a) && a.length === b.length && a.every((scope) => b.includes(scope));

export function connect(base, expectedTenant) {
  /** `isRight` looks at a success: nothing is believed that does not say so itself. */
  const call = async (method, path, isRight, { body, version, idempotencyKey, changes = method !== "GET" } = {}) => {
    const headers = { Accept: "application/json", "X-Expected-Tenant": expectedTenant };
    if (body) headers["Content-Type"] = "application/json";
    if (version !== undefined) headers["If-Match"] = `"${version}"`;
    if (idempotencyKey) headers["Idempotency-Key"] = idempotencyKey;
    const asked = `${method} ${base}${path.split("?")[0]}`;
    const began = Date.now();
    let response;
    let text;
    try {
      response = await fetch(base + path, {
        method,
        headers,
        body: body && JSON.stringify(body),
        cache: "no-store",
        credentials: "same-origin",
        redirect: "manual",
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      if (response.type === "opaqueredirect") throw new Refused("unauthenticated");
      text = await response.text();
    } catch (error) {
      if (error instanceof Refused) throw error;
      throw new Refused("unreachable", { asked, unsure: changes });
    }
    const offset = Date.parse(response.headers.get("Date")) - Date.now();
    // The answer may be as old as the request, which says nothing of this clock.
    const doubt = CLOCK_PRECISION_MS + Date.now() - began;
    clock.offset = Math.abs(offset) > doubt ? offset : 0;
    let json;
    try {
      json = JSON.parse(text);
    } catch {
      // No JSON: not the API's, which is said below.
    }
    if (response.ok && json && isRight(json, response)) return { ...json, seconds: secondsLeft(response, json) };
    // A list and the catalogue are always there: without them it is another server's address.
    const isOurs = !response.ok && typeof json?.code === "string" && !(json.code === "not_found" && !path.includes("/credentials/"));
    if (isOurs) {
      throw new Refused(json.code, {
        fields: Array.isArray(json.errors) ? json.errors : [],
        unsure: response.status >= 500 && json.code !== "unavailable" && changes,
      });
    }
    const answer = [response.status, response.statusText, response.headers.get("Content-Type")?.split(";")[0]].filter(Boolean).join(" ");
    // A gateway that gets no answer says so in its own way; what it handed on may have been done.
    if (response.status >= 500) throw new Refused("unavailable", { asked, answer, unsure: changes });
    console.error(`API Access: asked ${asked}, and what came back is not from the admin API: ${answer}. Is PageConfig::admin_api right?`);
    // A refusal by somebody in between is one; anything else may have reached the API.
    throw new Refused("not_ours", { asked, answer, unsure: changes && response.status < 400 });
  };
  const at = (id) => `/credentials/${encodeURIComponent(id)}`;
  const query = (values) => {
    const text = new URLSearchParams(Object.entries(values).filter(([, value]) => value)).toString();
    return text && `?${text}`;
  };
  const hasStatus = (id, status) => (answer) => is(id)(answer) && answer.credential.status === status;
  return {
    catalog: () => call("GET", "/catalog", isCatalog),
    policy: () => call("GET", "/policy", ({ max_overlap_seconds: most }) => typeof most === "number"),
    list: (cursor) => call("GET", `/credentials${query({ view: "summary", limit: 100, cursor })}`, isList),
    get: (id) => call("GET", at(id), (key) => key.id === id),
    usage: (id) => call("GET", `${at(id)}/usage?days=30`, ({ days }) => Array.isArray(days)),
    refusals: (id) => call("GET", `${at(id)}/refusals`, isList),
    events: (id, limit, cursor) => call("GET", `/audit-events${query({ credential_id: id, limit, cursor })}`, isList),
    preview: (id, scopes) => call("POST", `${at(id)}/scopes/preview`, ({ removed, unused_30d: unused }) => Array.isArray(removed) && Array.isArray(unused), { body: { scopes }, changes: false }),
    create: (body, idempotencyKey) => insist(() => call("POST", "/credentials",
      (made) => typeof made.credential?.id === "string" && (body.authentication ? made.client_secret === null : typeof made.client_secret === "string"), { body, idempotencyKey })),
    edit: (id, version, changes) => call("PATCH", at(id), (key) => key.id === id && Object.keys(changes).every((name) => name in key), { body: changes, version }),
    setScopes: (id, version, scopes) => call("PUT", `${at(id)}/scopes`,
      (made) => is(id)(made) && sameScopes(made.credential.scopes, scopes), { body: { scopes }, version }),
    setKeys: (id, version, body) => call("PUT", `${at(id)}/keys`, (made) => is(id)(made) && hasKeys(made.credential, body), { body, version }),
    setWorkloads: (id, version, workloads) => call("PUT", `${at(id)}/workloads`,
      (made) => is(id)(made) && made.credential.workloads?.length === workloads.length, { body: { workloads }, version }),
    addSecret: (id, overlap, idempotencyKey) => insist(() => call("POST", `${at(id)}/secrets`,
      (made) => typeof made.secret?.selector === "string" && typeof made.client_secret === "string", { body: { overlap_seconds: overlap }, idempotencyKey })),
    endSecret: (id, selector) => call("DELETE", `${at(id)}/secrets/${encodeURIComponent(selector)}`, hasEnded(id, selector)),
    disable: (id) => call("POST", `${at(id)}/disable`, (answer) => is(id)(answer) && Boolean(answer.credential.disabled_at)),
    enable: (id) => call("POST", `${at(id)}/enable`, (answer) => is(id)(answer) && answer.credential.disabled_at === null),
    revoke: (id) => call("DELETE", at(id), (answer, { status }) => status === 200 && hasStatus(id, "revoked")(answer)),
    revokeAll: (count) => call("POST", "/credentials/revoke-all", ({ revoked }) => typeof revoked === "number", { body: { confirm: String(count) } }),
  };
}
