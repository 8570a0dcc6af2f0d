// JavaScript clients from the field. Each line that is printed is one of them, with one way to authenticate.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import * as oauth from "oauth4webapi";
import * as openid from "openid-client";
import { ClientCredentialsProvider } from "@modelcontextprotocol/sdk/client/auth-extensions.js";
import { withOAuth } from "@modelcontextprotocol/sdk/client/middleware.js";

const { SERVER, SERVER_WITH_AUTHORIZATION_ENDPOINT } = process.env;
const API = "/api/2.0";
const CALL = `${API}/patients/`;
const SCOPE = "system/patients.read";

/** A key that an admin has created, with one scope. */
async function newKey(server) {
  const signedIn = await fetch(`${server}/sign-in`, { method: "POST", body: new URLSearchParams({ user: "alder-admin" }), redirect: "manual" });
  const cookie = signedIn.headers.getSetCookie()[0].split(";")[0];
  const send = async (method, path, body) => {
    const headers = { cookie, "content-type": "application/json" };
    const answer = await fetch(`${server}/api-access/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
    assert(answer.ok, `${method} ${path}: ${answer.status}`);
    return answer.json();
  };
  const { credential, client_secret } = await send("POST", "/credentials", { name: `client ${randomUUID()}`, api_type: "apiv2", scopes: [SCOPE] });
  return { server, client_id: credential.client_id, client_secret, revoke: () => send("DELETE", `/credentials/${credential.id}`) };
}

async function openidClient(key, method) {
  const proof = { client_secret_basic: openid.ClientSecretBasic, client_secret_post: openid.ClientSecretPost }[method];
  // These servers are on loopback, without TLS: the client's documented switch.
  const execute = [openid.allowInsecureRequests];
  const config = await openid.discovery(new URL(key.server), key.client_id, undefined, proof(key.client_secret), { algorithm: "oauth2", execute });
  const tokens = await openid.clientCredentialsGrant(config, { scope: SCOPE, resource: key.server + API });
  const found = await openid.tokenIntrospection(config, tokens.access_token);
  assert.equal(found.aud, key.server + API);
  return async () => (await openid.fetchProtectedResource(config, tokens.access_token, new URL(key.server + CALL), "GET")).status;
}

async function oauth4webapi(key, method) {
  const insecure = { [oauth.allowInsecureRequests]: true };
  // From the API to its authorization server.
  const api = new URL(key.server + API);
  const described = await oauth.resourceDiscoveryRequest(api, insecure);
  const resource = await oauth.processResourceDiscoveryResponse(api, described);
  const issuer = new URL(resource.authorization_servers[0]);
  const discovered = await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...insecure });
  const server = await oauth.processDiscoveryResponse(issuer, discovered);
  const client = { client_id: key.client_id };
  const proof = { client_secret_basic: oauth.ClientSecretBasic, client_secret_post: oauth.ClientSecretPost }[method];
  const asked = new URLSearchParams({ scope: SCOPE, resource: resource.resource });
  const answer = await oauth.clientCredentialsGrantRequest(server, client, proof(key.client_secret), asked, insecure);
  const { access_token } = await oauth.processClientCredentialsResponse(server, client, answer);
  return async () => (await oauth.protectedResourceRequest(access_token, "GET", new URL(key.server + CALL), undefined, undefined, insecure)).status;
}

/** Told nothing but the API's address and the issuer, it finds the rest from the first refusal. */
async function mcp(key) {
  const provider = new ClientCredentialsProvider({ clientId: key.client_id, clientSecret: key.client_secret, expectedIssuer: key.server });
  const fetchIt = withOAuth(provider, key.server + API)(fetch);
  return async () => (await fetchIt(key.server + CALL)).status;
}

/** Everything that each client has to show. */
async function check(server, client, method) {
  const key = await newKey(server);
  const call = await client(key, method);
  assert.equal(await call(), 200, "a call");
  await key.revoke();
  // A client may ask for another token by itself.
  const refused = /\b401\b|client authentication failed/;
  assert.match(await outcome(call), refused);
  assert.match(await outcome(async () => (await client(key, method))()), refused);
}

/** The status of a call, or what its error says. */
const outcome = (call) => call().then(String, everythingIn);

const everythingIn = (error) => `${error} ${error?.status ?? ""} ${error?.cause ?? ""}`;

const versionOf = (name) => JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url))).version;

const SECRETS = ["client_secret_basic", "client_secret_post"];
const CLIENTS = [
  ["openid-client", "openid-client", openidClient, SERVER, SECRETS],
  ["oauth4webapi", "oauth4webapi", oauth4webapi, SERVER, SECRETS],
  ["MCP SDK for TypeScript", "@modelcontextprotocol/sdk", mcp, SERVER_WITH_AUTHORIZATION_ENDPOINT, ["client_secret_basic"]],
];

for (const [name, pkg, client, server, methods] of CLIENTS) {
  for (const method of methods) {
    const line = `${name} ${versionOf(pkg)}, ${method}`;
    try {
      await check(server, client, method);
      console.log(`ok ${line}`);
    } catch (error) {
      process.exitCode = 1;
      console.log(`FAILED ${line}: ${everythingIn(error)}`);
    }
  }
}
