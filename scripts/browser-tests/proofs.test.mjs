// Signing in without a secret: public keys and trusted workloads, set up by hand and used by a program.

import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { describe, it } from "node:test";
import { API, assertNoSidewaysScroll, button, dialog, makeKey, person, record } from "./harness.mjs";
import { fillCreate, focused, kept, onServer, open, openKey, server } from "./steps.mjs";

const GITHUB = "https://token.actions.githubusercontent.com";
const at = ({ id }) => `${server.base}/api-access/v1/credentials/${id}`;
const stored = async (admin, key) => (await admin.context.request.get(at(key))).json();
const group = (page, name) => page.getByRole("group", { name, exact: true });
const alert = (page) => page.getByRole("alertdialog");
const advanced = (page) => page.getByText("Advanced", { exact: true }).click();
const proofs = (page) => page.getByRole("region", { name: "How it signs in" }).locator(".secrets li");

/** A pair of keys of each kind that is accepted. */
const PAIRS = {
  RS256: generateKeyPairSync("rsa", { modulusLength: 2048 }),
  ES256: generateKeyPairSync("ec", { namedCurve: "P-256" }),
  ES384: generateKeyPairSync("ec", { namedCurve: "P-384" }),
  EdDSA: generateKeyPairSync("ed25519"),
};
const pem = ({ publicKey }) => publicKey.export({ type: "spki", format: "pem" });
const jwk = ({ publicKey }, more) => ({ ...publicKey.export({ format: "jwk" }), ...more });
const base64url = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** RFC 7638. */
function thumbprint(pair) {
  const { kty, ...others } = jwk(pair);
  const members = Object.fromEntries(Object.entries({ kty, ...others }).sort(([a], [b]) => (a < b ? -1 : 1)));
  return createHash("sha256").update(JSON.stringify(members)).digest("base64url");
}

function signed(alg, claims, header = {}) {
  const text = `${base64url({ alg, typ: "JWT", ...header })}.${base64url(claims)}`;
  const hash = { RS256: "sha256", ES256: "sha256", ES384: "sha384" }[alg];
  return `${text}.${sign(hash ?? null, Buffer.from(text), { key: PAIRS[alg].privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
}

/** The status of a token request with an assertion of that key, and the answer. */
async function signIn(admin, clientId, assertion) {
  const answer = await admin.context.request.post(`${server.base}/oauth2/token`, { form: {
    grant_type: "client_credentials", client_id: clientId, client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", client_assertion: assertion } });
  return answer.status();
}
const now = () => Math.floor(Date.now() / 1000);
const byKey = (admin, alg, clientId) => signIn(admin, clientId, signed(alg, { iss: clientId, sub: clientId, aud: `${server.base}/oauth2/token`, exp: now() + 120, jti: randomUUID() }));

describe("public keys", () => {
  onServer();

  it("are added as PEM of every kind, used, and removed one by one", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [409] });
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "Signs", { scopes: ["system/bills.read"] });
    await openKey(admin, credential);
    await advanced(page);
    const keys = group(page, "Public keys");
    const add = dialog(page, "Add Public Key");
    for (const [alg, pair] of Object.entries(PAIRS)) {
      await button(keys, "Add public key").click();
      await add.waitFor();
      assert.equal(await focused(page), "Public key");
      await add.getByRole("textbox", { name: "Public key" }).fill(pem(pair));
      await button(add, "Add").click();
      await page.getByText("Saved. How “Signs” signs in is in effect").waitFor();
      assert.equal(await focused(page), "Add public key");
      assert.equal(await byKey(admin, alg, credential.client_id), 200, alg);
      await proofs(page).getByText(`thumbprint ${thumbprint(pair)}`).waitFor();
    }
    assert.equal((await stored(admin, credential)).keys.length, 4);
    await record(page, "70-keys");

    const last = thumbprint(PAIRS.EdDSA).slice(-8);
    await button(keys, `Remove …${last}`).click();
    await alert(page).getByRole("heading", { name: "Remove this public key?" }).waitFor();
    assert.equal(await focused(page), "Cancel");
    await record(page, "71-remove-key");
    await button(alert(page), "Cancel").click();
    assert.equal(await focused(page), `Remove …${last}`);
    await button(keys, `Remove …${last}`).click();
    await button(alert(page), "Remove").click();
    await page.getByText("Saved. How “Signs” signs in is in effect").waitFor();
    assert.equal(await byKey(admin, "EdDSA", credential.client_id), 401);
    assert.equal(await byKey(admin, "ES384", credential.client_id), 200, "the others stay");
    assert.equal((await stored(admin, credential)).keys.length, 3);

    // The last way in is not taken away.
    for (const { selector } of (await stored(admin, credential)).secrets) await admin.context.request.delete(`${at(credential)}/secrets/${selector}`);
    await page.reload();
    await proofs(page).first().waitFor();
    await advanced(page);
    for (const [name, words] of [["RS256", "Saved."], ["ES256", "Saved."], ["ES384", "Without this, nothing could sign in with the key."]]) {
      await button(keys, `Remove …${thumbprint(PAIRS[name]).slice(-8)}`).click();
      await button(alert(page), "Remove").click();
      await page.getByText(words).first().waitFor();
    }
    await page.keyboard.press("Escape");
    assert.equal(await byKey(admin, "ES384", credential.client_id), 200);

    // A key without a secret gets one.
    await button(page, "Rotate secret").click();
    await dialog(page, "Rotate secret").getByText("It gets one, beside what it signs in with now.").waitFor();
    assert.equal(await dialog(page, "Rotate secret").getByRole("radio").count(), 0);
    await button(dialog(page, "Rotate secret"), "Rotate").click();
    await dialog(page, "New Secret Created").getByRole("checkbox").check();
    await button(dialog(page, "New Secret Created"), "Done").click();
    assert.equal(await byKey(admin, "ES384", credential.client_id), 200);
    await admin.leave();
  });

  it("as JWK, as a set, or wrong; private ones are refused before anything is sent", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [412, 422] });
    const { page } = admin;
    const { credential, client_secret: secret } = await makeKey(admin, server, "Careful");
    await openKey(admin, credential);
    const sent = [];
    page.on("request", (request) => request.method() !== "GET" && sent.push(request.postData() ?? ""));
    await advanced(page);
    await button(page, "Add public key").click();
    const add = dialog(page, "Add Public Key");
    const box = add.getByRole("textbox", { name: "Public key" });
    const { privateKey } = PAIRS.ES256;
    const hostile = [privateKey.export({ type: "pkcs8", format: "pem" }), privateKey.export({ type: "sec1", format: "pem" }), PAIRS.RS256.privateKey.export({ type: "pkcs1", format: "pem" }),
      JSON.stringify(privateKey.export({ format: "jwk" })), JSON.stringify({ keys: [privateKey.export({ format: "jwk" })] }), JSON.stringify({ kty: "oct", k: "AAAA" }), secret];
    for (const text of hostile) {
      await page.evaluate((it) => navigator.clipboard.writeText(it), text);
      await box.focus();
      await page.keyboard.press("Control+V");
      await add.getByText("This is a private key or a secret. It was not kept and not sent.").waitFor();
      assert.equal(await box.inputValue(), "");
      await page.keyboard.press("Control+Z");
      assert.equal(await box.inputValue(), "", "nothing brings it back");
      await box.fill("");
      await box.fill(text);
      assert.equal(await box.inputValue(), "", "typed or dropped");
      await button(add, "Add").click();
      await box.fill("x");
    }
    await page.evaluate(() => navigator.clipboard.writeText(""));
    assert.deepEqual(sent.filter((text) => text.includes("jwks")), []);
    for (const text of hostile) assert.ok(!(await kept(page)).includes(text.trim().split("\n").at(-2) ?? text));
    await record(page, "72-private-key");

    const certificate = pem(PAIRS.RS256).replaceAll("PUBLIC KEY", "CERTIFICATE");
    for (const [text, words] of [
      ["", "Paste a public key, or enter the https address of a key set."],
      ["ssh-ed25519 AAAA me@here", "There is no public key in this text."],
      ['{"keys":[]}', "There is no public key in this text."],
      [certificate, "This form of a key is not read here."],
      [PAIRS.RS256.publicKey.export({ type: "pkcs1", format: "pem" }), "This form of a key is not read here."],
      [pem(generateKeyPairSync("ec", { namedCurve: "P-521" })), "Only RSA keys, EC keys on P-256 or P-384, and Ed25519 keys can be used."],
      [pem(generateKeyPairSync("x25519")), "Only RSA keys, EC keys on P-256 or P-384, and Ed25519 keys can be used."],
      [pem(generateKeyPairSync("rsa", { modulusLength: 1024 })), "An RSA key must have 2,048 to 8,192 bits."],
      [JSON.stringify(jwk(PAIRS.ES256, { use: "enc" })), "This key is not meant for signatures."],
      [JSON.stringify(jwk(PAIRS.ES256, { alg: "HS256" })), "The key’s algorithm (alg) must be"],
      [JSON.stringify({ keys: [jwk(PAIRS.ES256, { kid: "a" }), jwk(PAIRS.ES384, { kid: "a" })] }), "Two keys have the same ID (kid)."],
      [JSON.stringify({ keys: Array(11).fill(jwk(PAIRS.ES256)) }), "At most 10 public keys can be listed."],
      ["https://keys.example.com/jwks.json", "This server does not fetch keys from addresses."],
    ]) {
      await box.fill(text);
      await button(add, "Add").click();
      await add.getByText(words).waitFor();
      assert.equal(await focused(page), "Public key", words);
    }
    assert.deepEqual((await stored(admin, credential)).keys, []);

    // Somebody else adds one meanwhile: both stay.
    await box.fill(JSON.stringify({ keys: [jwk(PAIRS.ES256, { kid: "mine" })] }));
    await admin.context.request.put(`${at(credential)}/keys`, { data: { jwks: { keys: [jwk(PAIRS.ES384, { kid: "theirs", alg: "ES384" })] } }, headers: { "If-Match": "*" } });
    await button(add, "Add").click();
    await add.getByText("Somebody else changed this key in the meantime. Add again: what they changed stays.").waitFor();
    await button(add, "Add").click();
    await page.getByText("Saved.").waitFor();
    assert.deepEqual((await stored(admin, credential)).keys.map(({ kid, alg }) => [kid, alg]).sort(), [["mine", null], ["theirs", "ES384"]]);
    await proofs(page).filter({ hasText: "Public key theirs" }).getByText("EC, ES384").waitFor();
    await button(page, "Add public key").click();
    await box.fill(pem(PAIRS.ES256));
    await button(add, "Add").click();
    await add.getByText("This key is listed already.").waitFor();
    await admin.leave();
  });

  it("at an address take the place of listed ones, and the page says so first", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "By address");
    await admin.context.request.put(`${at(credential)}/keys`, { data: { jwks: { keys: [jwk(PAIRS.ES256)] } }, headers: { "If-Match": "*" } });
    const uri = "https://keys.example.com/jwks.json";
    // As a server answers that may fetch.
    await page.route(`${API}/credentials/${credential.id}/keys`, async (route) => {
      assert.deepEqual(route.request().postDataJSON(), { jwks_uri: uri });
      await route.fulfill({ json: { credential: { ...await stored(admin, credential), keys: [], jwks_uri: uri }, effective_everywhere_at: new Date().toISOString() } });
    });
    await openKey(admin, credential);
    await advanced(page);
    await button(page, "Add public key").click();
    const add = dialog(page, "Add Public Key");
    await add.getByRole("textbox", { name: "Public key" }).fill(uri);
    await add.getByText("Keys at an address take the place of those that are listed now").waitFor();
    await button(add, "Add").click();
    await proofs(page).filter({ hasText: `Public keys at ${uri}` }).waitFor();
    await button(group(page, "Public keys"), `Remove ${uri}`).waitFor();
    await admin.leave();
  });
});

describe("trusted workloads", () => {
  onServer();

  it("of GitHub, GitLab, Kubernetes and others; a job signs in with the token of its platform", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [412, 422] });
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "Jobs", { scopes: ["system/bills.read"] });
    await openKey(admin, credential);
    await advanced(page);
    const workloads = group(page, "Trusted workloads");
    await button(workloads, "Add trusted workload").click();
    const add = dialog(page, "Add Trusted Workload");
    await add.waitFor();
    assert.equal(await focused(page), "GitHub Actions");
    await button(add, "Add").click();
    await add.getByText("This is needed.").waitFor();
    const box = (name) => add.getByRole("textbox", { name, exact: false });
    await box("Repository").fill("https://github.com/acme/sync");
    await button(add, "Add").click();
    await add.getByText("Enter owner/name, without * or https.").waitFor();
    await box("Repository").fill("acme/sync");
    await add.getByText("repo:acme/sync:*").waitFor();
    await box("Branch").fill("main");
    await add.getByText("repo:acme/sync:ref:refs/heads/main").waitFor();
    await box("Audience").fill("https://alder.example");
    await button(add, "Add").click();
    await add.getByText("This server does not fetch keys from other servers. Paste the keys of the issuer here.").waitFor();
    assert.equal(await focused(page), "Keys of the issuer");
    await box("Keys of the issuer").fill(pem(PAIRS.RS256));
    await record(page, "73-workload");
    await button(add, "Add").click();
    await page.getByText("Saved. How “Jobs” signs in is in effect").waitFor();
    assert.equal(await focused(page), "Add trusted workload");
    const job = (sub, more) => signIn(admin, credential.client_id, signed("RS256", { iss: GITHUB, aud: "https://alder.example", sub, exp: now() + 120, ...more }));
    assert.equal(await job("repo:acme/sync:ref:refs/heads/main"), 200);
    assert.equal(await job("repo:acme/sync:ref:refs/heads/other"), 401);

    // An environment and a branch: the branch is a claim of its own there.
    const issuerKeys = JSON.stringify({ keys: [jwk(PAIRS.RS256)] });
    const fill = async (platform, texts) => {
      await button(workloads, "Add trusted workload").click();
      await add.getByRole("radio", { name: platform, exact: true }).check();
      for (const [name, text] of Object.entries(texts)) await box(name).fill(text);
      await box("Audience").fill("https://alder.example");
      await add.getByText("More conditions").click();
      await box("Keys of the issuer").fill(issuerKeys);
    };
    await fill("GitHub Actions", { Repository: "acme/sync", Branch: "main", Environment: "production" });
    await box("Further claims").fill("no equals sign");
    await button(add, "Add").click();
    await add.getByText("Write name=value, one on each line.").waitFor();
    await box("Further claims").fill("repository_id = 4711\nrepository_owner=acme");
    await button(add, "Add").click();
    await page.getByText("Saved.").waitFor();
    assert.equal(await job("repo:acme/sync:environment:production", { ref: "refs/heads/main", repository_id: "4711", repository_owner: "acme" }), 200);
    assert.equal(await job("repo:acme/sync:environment:production", { ref: "refs/heads/other", repository_id: "4711", repository_owner: "acme" }), 401);
    await fill("GitLab", { Project: "acme/group/sync", Branch: "main" });
    await button(add, "Add").click();
    await add.waitFor({ state: "detached" });
    await fill("Kubernetes", { "Issuer of its tokens": "https://cluster.example.com", Namespace: "batch", "Service account": "nightly" });
    await button(add, "Add").click();
    await add.waitFor({ state: "detached" });
    await fill("Elsewhere", { "Issuer of its tokens": "https://idp.example.com", "Subject": "service:*nightly" });
    await button(add, "Add").click();
    await add.getByText("This cannot be used. Check it.").waitFor();
    await box("Subject").fill("service:*");
    await button(add, "Add").click();
    await add.waitFor({ state: "detached" });
    const rules = (await stored(admin, credential)).workloads;
    assert.deepEqual(rules.map(({ issuer, subject }) => [issuer, subject]), [
      [GITHUB, "repo:acme/sync:ref:refs/heads/main"],
      [GITHUB, "repo:acme/sync:environment:production"],
      ["https://gitlab.com", "project_path:acme/group/sync:ref_type:branch:ref:main"],
      ["https://cluster.example.com", "system:serviceaccount:batch:nightly"],
      ["https://idp.example.com", "service:*"],
    ]);
    assert.deepEqual(rules[1].claims, { ref: "refs/heads/main", repository_id: "4711", repository_owner: "acme" });
    await record(page, "74-workloads");

    await fill("Elsewhere", { "Issuer of its tokens": "https://idp.example.com", "Subject": "a sixth" });
    await button(add, "Add").click();
    await add.getByText("A key can trust 5 workloads").waitFor();
    await page.keyboard.press("Escape");

    await button(workloads, "Remove repo:acme/sync:environment:production").click();
    await alert(page).getByRole("heading", { name: "Remove this trusted workload?" }).waitFor();
    await admin.context.request.patch(at(credential), { data: { name: "Jobs too" }, headers: { "If-Match": "*" } });
    await button(alert(page), "Remove").click();
    await alert(page).getByText("Somebody else changed this key in the meantime. Try again.").waitFor();
    await alert(page).getByText("Jobs too").waitFor();
    await button(alert(page), "Remove").click();
    await page.getByText("Saved.").waitFor();
    assert.equal((await stored(admin, credential)).workloads.length, 4);
    assert.equal(await job("repo:acme/sync:environment:production", { ref: "refs/heads/main", repository_id: "4711", repository_owner: "acme" }), 401);
    assert.equal(await job("repo:acme/sync:ref:refs/heads/main"), 200, "the others are as they were");
    await admin.leave();
  });

  it("in little room, by keyboard", async () => {
    const admin = await person(server, "alder-admin", { viewport: { width: 320, height: 256 } });
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "Narrow jobs");
    await openKey(admin, credential);
    await page.locator("summary", { hasText: "Advanced" }).focus();
    await page.keyboard.press("Enter");
    await button(page, "Add trusted workload").focus();
    await page.keyboard.press("Enter");
    const add = dialog(page, "Add Trusted Workload");
    await add.waitFor();
    const reached = [];
    for (let presses = 0; presses < 12 && reached.at(-1) !== "Add"; presses++) {
      await page.keyboard.press("Tab");
      reached.push(await focused(page));
      const box = await page.evaluate(() => document.activeElement.getBoundingClientRect().toJSON());
      assert.ok(box.bottom > 0 && box.top < 256, `${reached.at(-1)} has the focus and is not seen`);
    }
    assert.equal(reached.at(-1), "Add");
    await assertNoSidewaysScroll(page, "workload");
    await admin.leave();
  });
});

describe("a new key without a secret", () => {
  onServer();

  it("signs in with its public key from the start, and nobody has to keep anything", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [422] });
    const { page } = admin;
    await open(admin);
    const create = await fillCreate(page, "Keyed");
    await create.getByText("Advanced", { exact: true }).click();
    await create.getByRole("radio", { name: "A public key", exact: true }).check();
    await button(create, "Create").click();
    await create.getByText("Paste a public key, or enter the https address of a key set.").waitFor();
    assert.equal(await focused(page), "Public key");
    await create.getByRole("textbox", { name: "Public key" }).fill(pem(generateKeyPairSync("rsa", { modulusLength: 1024 })));
    await button(create, "Create").click();
    await create.getByText("An RSA key must have 2,048 to 8,192 bits.").waitFor();
    await create.getByRole("textbox", { name: "Public key" }).fill(pem(PAIRS.ES384));
    await record(page, "75-create-key");
    await button(create, "Create").click();
    const made = dialog(page, "API Key Created");
    await made.getByText("The key has no secret.").waitFor();
    assert.equal(await made.getByRole("group", { name: "Client Secret" }).count(), 0);
    await record(page, "76-created-without-secret");
    const clientId = await made.getByRole("group", { name: "Client ID" }).locator("code").innerText();
    await button(made, "Done").click();
    await page.getByText("“Keyed” was created.").waitFor();
    const { items } = await (await admin.context.request.get(`${server.base}/api-access/v1/credentials`)).json();
    const key = items.find(({ name }) => name === "Keyed");
    await admin.context.request.put(`${at(key)}/scopes`, { data: { scopes: ["system/bills.read"] }, headers: { "If-Match": "*" } });
    assert.equal(await byKey(admin, "ES384", clientId), 200);
    await admin.leave();
  });

  it("trusts a workload from the start; a lost answer loses nothing", async () => {
    const admin = await person(server, "birch-admin", { expectStatus: [422, "net::ERR_FAILED"] });
    const { page } = admin;
    await open(admin);
    const create = await fillCreate(page, "Job");
    await create.getByText("Advanced", { exact: true }).click();
    await create.getByRole("radio", { name: "A trusted workload", exact: true }).check();
    await create.getByRole("textbox", { name: "Repository" }).fill("acme/sync");
    await button(create, "Create").click();
    await create.getByText("Paste the keys of the issuer here.").waitFor();
    await create.getByRole("textbox", { name: "Keys of the issuer" }).fill(JSON.stringify(jwk(PAIRS.RS256)));
    await page.route(`${API}/credentials`, async (route) => {
      await route.fetch();
      await route.abort();
    });
    await button(create, "Create").click();
    await dialog(page, "API Key Created").getByText("The key has no secret.").waitFor();
    await button(dialog(page, "API Key Created"), "Done").click();
    await page.unrouteAll();
    const { items } = await (await admin.context.request.get(`${server.base}/api-access/v1/credentials`)).json();
    assert.equal(items.length, 1);
    assert.deepEqual(items[0].workloads.map(({ issuer, audience, subject }) => [issuer, audience, subject]), [[GITHUB, server.base, "repo:acme/sync:*"]]);
    assert.deepEqual(items[0].secrets, []);
    await admin.leave();
  });
});
