// Talks to the admin API. Every failure becomes a `Refused` that says what to tell the admin.

const PATIENCE_MS = 30_000;

/** A request that did not succeed. `code` is the API's, or `unreachable`. */
export class Refused extends Error {
  constructor(code, message, { fields = [], unsure = false } = {}) {
    super(message);
    this.code = code;
    /** What is wrong with which field: `{ field, code, message }`. */
    this.fields = fields;
    /** Whether the change may have happened all the same. */
    this.unsure = unsure;
  }
}

export function connect(base) {
  const call = async (method, path, { body, version, idempotencyKey } = {}) => {
    const headers = { Accept: "application/json" };
    if (body) headers["Content-Type"] = "application/json";
    if (version !== undefined) headers["If-Match"] = `"${version}"`;
    if (idempotencyKey) headers["Idempotency-Key"] = idempotencyKey;
    let response;
    let json;
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
      json = await response.json();
    } catch (error) {
      if (error instanceof Refused) throw error;
      throw new Refused(
        "unreachable",
        "The server did not answer. Check your connection and try again.",
        { unsure: method !== "GET" },
      );
    }
    if (response.ok) return json;
    throw new Refused(json.code, json.detail ?? "Something went wrong. Try again.", {
      fields: json.errors,
      unsure: response.status >= 500 && json.code !== "unavailable" && method !== "GET",
    });
  };
  const at = (id) => `/credentials/${encodeURIComponent(id)}`;
  return {
    catalog: () => call("GET", "/catalog"),
    list: (cursor) =>
      call("GET", `/credentials?limit=100${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`),
    get: (id) => call("GET", at(id)),
    create: (body, idempotencyKey) => call("POST", "/credentials", { body, idempotencyKey }),
    setScopes: (id, version, scopes) =>
      call("PUT", `${at(id)}/scopes`, { body: { scopes }, version }),
    revoke: (id) => call("DELETE", at(id)),
  };
}
