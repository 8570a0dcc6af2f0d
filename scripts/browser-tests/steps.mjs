// What people do again and again, and what is asked of every page.

import assert from "node:assert/strict";
import { after, before } from "node:test";
import { button, dialog, startBrowser, startServer, stopBrowser } from "./harness.mjs";

export const SECRET = /cred_sandbox_[A-Za-z0-9]{65}/;

before(startBrowser);
after(stopBrowser);

export let server;

/** A fresh server for each group, so that none sees another's keys. */
export function onServer(...options) {
  before(async () => {
    server = await startServer(...options);
  });
  after(() => server.stop());
}

/** Opens the page and waits until the list stands. */
export async function open(someone) {
  await someone.page.goto(server.url);
  await someone.page.locator("#list .loading").waitFor({ state: "detached" });
}

export async function fillCreate(page, name, type = "Elation APIv2") {
  await button(page, "Create API Key").click();
  const create = dialog(page, "Create API Key");
  await create.getByLabel("Name").fill(name);
  await create.getByRole("radio", { name: type, exact: true }).check();
  return create;
}

/** Creates a key by hand and returns the dialog that shows its secret. */
export async function createByHand(page, name, type) {
  await button(await fillCreate(page, name, type), "Create").click();
  const made = dialog(page, "API Key Created");
  await made.waitFor();
  return made;
}

export const scopesOf = async (someone, id) =>
  (await (await someone.context.request.get(`${server.base}/api-access/v1/credentials/${id}`)).json()).scopes;

/** What has the focus: its accessible name as we give it, or its element. */
export const focused = (page) => page.evaluate(() => {
  const it = document.activeElement;
  return it.getAttribute("aria-label") ?? it.labels?.[0]?.textContent ?? (it.matches("button, h1, h2, a") ? it.textContent : it.tagName);
});

/** Everything a page could keep: the document, both storages, history, cookies a script sees. */
export const kept = (page) =>
  page.evaluate(() =>
    [document.documentElement.outerHTML, JSON.stringify({ ...localStorage }), JSON.stringify({ ...sessionStorage }),
      JSON.stringify(history.state), location.href, document.cookie, document.title,
      ...[...document.querySelectorAll("input,textarea")].map(({ value }) => value),
      ...performance.getEntries().map(({ name }) => name)].join("\n"));

/** A key as the API lists it; none that exists. */
export function sampleKey(number) {
  const id = number.toString(16).padStart(32, "0");
  return {
    id, name: `Key ${number}`, api_type: number % 3 ? "apiv2" : "fhir", client_id: `cred_sandbox_${id.slice(-22)}`, environment: "sandbox",
    scopes: number % 3 ? ["system/patients.read", "system/bills.read", "system/bills.write"] : ["system/Patient.read"], status: "active",
    created_at: new Date(Date.UTC(2026, 0, 1) + number * 3_600_000).toISOString(), created_by: "alder-admin", expires_at: null,
    description: "", disabled_at: null, revoked_at: null, revoked_by: null, allowed_networks: [], jwks_uri: null, keys: [], workloads: [], last_used_at: number % 2 ? new Date(Date.now() - number * 600_000).toISOString() : null, version: 1, secrets: [],
  };
}

/** A key as `view=summary` has it: counts in place of scopes. */
export function summary({ scopes, ...key }) {
  const isBroad = (scope) => !scope.includes("/") || scope.includes("*");
  const count = (right) => scopes.filter((scope) => !isBroad(scope) && scope.endsWith(right)).length;
  return { ...key, scope_counts: { read: count(".read"), write: count(".write"), broad: scopes.filter(isBroad).length, unused_30d: 0 }, full_access: scopes.includes("apiv2") };
}

/** Opens a key's own page, as a link does, and waits until it stands. */
export async function openKey(someone, { id }) {
  await someone.page.goto(`${server.url}/keys/${id}`);
  await someone.page.locator("#key .loading").waitFor({ state: "detached" });
}

/** What a key gets at the token endpoint: an access token, or null where `status` is a refusal. */
export async function tokenFor(someone, clientId, secret, status = 200) {
  const answer = await someone.context.request.post(`${server.base}/oauth2/token`, { form: { grant_type: "client_credentials", client_id: clientId, client_secret: secret } });
  assert.equal(answer.status(), status, await answer.text());
  return status === 200 ? (await answer.json()).access_token : null;
}

/** Calls the demo API behind the guard; the status of its answer. */
export const call = async (someone, token, method, path) =>
  (await someone.context.request.fetch(`${server.base}/api/2.0/${path}`, { method, headers: { Authorization: `Bearer ${token}` } })).status();

/** Asks again until it is so: what was counted is visible within 10 seconds. */
export async function until(isSo, patience = 60_000) {
  const end = Date.now() + patience;
  while (!(await isSo())) {
    assert.ok(Date.now() < end, `not so within ${patience} ms: ${isSo}`);
    await new Promise((done) => setTimeout(done, 100));
  }
  return true;
}
