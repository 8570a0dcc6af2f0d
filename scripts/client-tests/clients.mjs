// JavaScript clients from the field. Each line that is printed is one of them, with one way to authenticate.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import * as oauth from "oauth4webapi";
import * as openid from "openid-client";
import { ClientCredentialsProvider, PrivateKeyJwtProvider } from "@modelcontextprotocol/sdk/client/auth-extensions.js";
import { withOAuth } from "@modelcontextprotocol/sdk/client/middleware.js";

const { SERVER, SERVER_WITH_AUTHORIZATION_ENDPOINT } = process.env;
const API = "/api/2.0";
const CALL = `${API}/patients/`;
const SCOPE = "system/patients.read";

/** A key that an admin has created, with one scope: with a secret, or with the public half of a pair that is made here. */
async function newKey(server, algorithm) {
  const pair = algorithm && (await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]));
  const kid = randomUUID();
  const authentication = pair && { kind: "public_key", jwks: { keys: [{ ...(await publicJwk(pair.publicKey)), kid }] } };
  const signedIn = await fetch(`${server}/sign-in`, { method: "POST", body: new URLSearchParams({ user: "alder-admin" }), redirect: "manual" });
  const cookie = signedIn.headers.getSetCookie()[0].split(";")[0];
  const send = async (method, path, body) => {
    const headers = { cookie, "content-type": "application/json" };
    const answer = await fetch(`${server}/api-access/v1${path}`, { method, headers, body: body && JSON.stringify(body) });
    assert(answer.ok, `${method} ${path}: ${answer.status}`);
    return answer.json();
  };
  const { credential, client_secret } = await send("POST", "/credentials", { name: `client ${randomUUID()}`, api_type: "apiv2", scopes: [SCOPE], authentication });
  return { server, kid, privateKey: pair?.privateKey, client_id: credential.client_id, client_secret, revoke: () => send("DELETE", `/credentials/${credential.id}`) };
}

async function publicJwk(key) {
  const { kty, crv, x, y, n, e } = await crypto.subtle.exportKey("jwk", key);
  return { kty, crv, x, y, n, e, use: "sig" };
}

async function pem(key) {
  const der = Buffer.from(await crypto.subtle.exportKey("pkcs8", key)).toString("base64");
  return `-----BEGIN PRIVATE KEY-----\n${der.replace(/.{64}/g, "$&\n")}\n-----END PRIVATE KEY-----\n`;
}

/** How a client proves itself, in the words that both of the libraries below share. */
function proofOf({ ClientSecretBasic, ClientSecretPost, PrivateKeyJwt }, key, method) {
  switch (method) {
    case "client_secret_basic": return ClientSecretBasic(key.client_secret);
    case "client_secret_post": return ClientSecretPost(key.client_secret);
    default: return PrivateKeyJwt({ key: key.privateKey, kid: key.kid });
  }
}

async function openidClient(key, method) {
  // These servers are on loopback, without TLS: the client's documented switch.
  const execute = [openid.allowInsecureRequests];
  const config = await openid.discovery(new URL(key.server), key.client_id, undefined, proofOf(openid, key, method), { algorithm: "oauth2", execute });
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
  const asked = new URLSearchParams({ scope: SCOPE, resource: resource.resource });
  const answer = await oauth.clientCredentialsGrantRequest(server, client, proofOf(oauth, key, method), asked, insecure);
  const { access_token } = await oauth.processClientCredentialsResponse(server, client, answer);
  return async () => (await oauth.protectedResourceRequest(access_token, "GET", new URL(key.server + CALL), undefined, undefined, insecure)).status;
}

/** Told nothing but the API's address and the issuer, it finds the rest from the first refusal. */
async function mcp(key, method) {
  const known = { clientId: key.client_id, expectedIssuer: key.server };
  const provider = method === "private_key_jwt"
    ? new PrivateKeyJwtProvider({ ...known, privateKey: await pem(key.privateKey), algorithm: "ES256" })
    : new ClientCredentialsProvider({ ...known, clientSecret: key.client_secret });
  const fetchIt = withOAuth(provider, key.server + API)(fetch);
  return async () => (await fetchIt(key.server + CALL)).status;
}

/** Everything that each client has to show. */
async function check(server, client, [method, algorithm]) {
  const key = await newKey(server, algorithm);
  const call = await client(key, method);
  assert.equal(await call(), 200, "a call");
  await key.revoke();
  // A client may ask for another token by itself.
  const refused = /\b401\b|client authentication failed|the assertion is not accepted/;
  assert.match(await outcome(call), refused);
  assert.match(await outcome(async () => (await client(key, method))()), refused);
}

/** The status of a call, or what its error says. */
const outcome = (call) => call().then(String, everythingIn);

const everythingIn = (error) => `${error} ${error?.status ?? ""} ${error?.cause ?? ""}`;

const versionOf = (name) => JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url))).version;

const BASIC = ["client_secret_basic"];
const POST = ["client_secret_post"];
const ES256 = ["private_key_jwt", { name: "ECDSA", namedCurve: "P-256" }];
const RSA = { modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) };
const RS256 = ["private_key_jwt", { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", ...RSA }];
const PS256 = ["private_key_jwt", { name: "RSA-PSS", hash: "SHA-256", ...RSA }];
const ED25519 = ["private_key_jwt", { name: "Ed25519" }];
const CLIENTS = [
  ["openid-client", "openid-client", openidClient, SERVER, [BASIC, POST, ES256, RS256, PS256, ED25519]],
  ["oauth4webapi", "oauth4webapi", oauth4webapi, SERVER, [BASIC, POST, ES256, ED25519]],
  // Its assertions have no `kid`.
  ["MCP SDK for TypeScript", "@modelcontextprotocol/sdk", mcp, SERVER_WITH_AUTHORIZATION_ENDPOINT, [BASIC, ES256]],
];

for (const [name, pkg, client, server, methods] of CLIENTS) {
  for (const method of methods) {
    const line = `${name} ${versionOf(pkg)}, ${method[0]}${method[1] ? ` (${method[1].name})` : ""}`;
    try {
      await check(server, client, method);
      console.log(`ok ${line}`);
    } catch (error) {
      process.exitCode = 1;
      console.log(`FAILED ${line}: ${everythingIn(error)}`);
    }
  }
}
