// Nothing is said to have happened without an answer that says so: other practices, lost answers, wrong servers.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { API, button, dialog, makeKey, person, record } from "./harness.mjs";
import { SECRET, fillCreate, focused, onServer, open, openKey, scopesOf, server, tokenFor } from "./steps.mjs";

const signIn = (someone, user) => someone.context.request.post(`${server.base}/sign-in`, { form: { user } });
const keysOf = async (someone) =>
  (await (await someone.context.request.get(`${server.base}/api-access/v1/credentials`)).json()).items.map(({ name }) => name);

/** What the dialog with a secret shows under that name. */
const shown = (made, name) => made.getByRole("group", { name }).locator("code").innerText();

describe("another practice signed in, in another tab", () => {
  onServer();

  it("the page names practice and person", async () => {
    const admin = await person(server, "birch-admin");
    await open(admin);
    await admin.page.getByText("Birch · signed in as birch-admin").waitFor();
    await admin.leave();
  });

  it("delete says so and deletes nothing", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [409] });
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "Still works", { scopes: ["system/patients.read"] });
    await open(admin);
    await signIn(admin, "birch-admin");
    await button(page, "Delete Still works").click();
    const remove = page.getByRole("alertdialog");
    await button(remove, "Delete").click();
    await remove.getByText("signed in to another practice").waitFor();
    assert.equal(await page.getByText("was deleted").count(), 0);
    await record(page, "24-tenant-changed");
    await button(remove, "Cancel").click();
    assert.equal(await page.getByText("Still works").count(), 0, "no key of a practice that is not signed in to");
    await button(page, "Reload the page").click();
    await page.getByText("Birch · signed in as").waitFor();
    await page.getByRole("heading", { name: "No API keys yet" }).waitFor();
    await signIn(admin, "alder-admin");
    assert.deepEqual(await scopesOf(admin, credential.id), ["system/patients.read"]);
    await admin.leave();
  });

  it("create and save do nothing in either practice", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [409] });
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "Edited");
    await open(admin);
    const create = await fillCreate(page, "Wrong place");
    await signIn(admin, "birch-admin");
    await button(create, "Create").click();
    await create.getByText("signed in to another practice").waitFor();
    assert.ok(!(await keysOf(admin)).includes("Wrong place"));
    await signIn(admin, "alder-admin");
    assert.ok(!(await keysOf(admin)).includes("Wrong place"));

    await open(admin);
    await button(page, "Scopes of Edited").click();
    const editor = dialog(page, "Edit Scopes");
    await editor.getByRole("checkbox", { name: "Billing API", exact: true }).check();
    await signIn(admin, "birch-admin");
    await button(editor, "Save").click();
    await editor.getByText("signed in to another practice").waitFor();
    assert.equal(await page.getByText("deleted in the meantime").count(), 0);
    await button(editor, "Reload the page").click();
    await page.getByText("Birch · signed in as").waitFor();
    await signIn(admin, "alder-admin");
    assert.deepEqual(await scopesOf(admin, credential.id), []);
    await admin.leave();
  });

  it("a 404 never means deleted", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [404] });
    const { page } = admin;
    await makeKey(admin, server, "Not found");
    await open(admin);
    await page.route(`${API}/credentials/*`, (route) => route.fulfill({ status: 404, contentType: "application/problem+json", json: { code: "not_found", status: 404 } }));
    await button(page, "Delete Not found").click();
    await button(page.getByRole("alertdialog"), "Delete").click();
    await page.getByText("This key is not in the practice you are signed in to now; it may still work.").waitFor();
    assert.equal(await page.getByText("was deleted").count(), 0);
    await button(page, "Cancel").click();
    await page.getByText("Not found", { exact: true }).waitFor();
    await admin.leave();
  });

  for (const [words, answer] of [
    ["another server's page", { status: 200, contentType: "text/html", body: "<h1>Welcome to the airport's network</h1>" }],
    ["nothing", { status: 200, json: {} }],
    ["nothing at all", { status: 204 }],
    ["a key that is not deleted", { status: 200, json: { credential: { id: "x", status: "active" } } }],
  ]) {
    it(`a delete that is answered with ${words} is not believed`, async () => {
      const admin = await person(server, "alder-admin", { expectConsole: /not from the admin API/ });
      const { page } = admin;
      const { credential } = await makeKey(admin, server, `Answered with ${words}`);
      await open(admin);
      await page.route(`${API}/credentials/${credential.id}`, (route) => (route.request().method() === "DELETE" ? route.fulfill(answer) : route.continue()));
      await button(page, `Delete Answered with ${words}`).click();
      await button(page.getByRole("alertdialog"), "Delete").click();
      await page.getByText("The key may still work. Deleting again does no harm.").waitFor();
      assert.equal(await page.getByText("was deleted").count(), 0);
      await admin.leave();
    });
  }
});

describe("an answer that is lost", () => {
  onServer();

  /** The server does what it is asked, and its answer never arrives. */
  const lose = (page, method) => page.route(`${API}/credentials`, async (route) => {
    if (route.request().method() !== method) return route.fallback();
    await route.fetch();
    return route.abort();
  });

  /** From now on the server sees other keys of requests than it saw before. */
  const forget = (page) => page.route(`${API}/credentials`, (route) => {
    if (route.request().method() !== "POST") return route.fallback();
    return route.continue({ headers: { ...route.request().headers(), "idempotency-key": `later-${Math.random()}` } });
  });

  /** As if cut: the server does the first `times` of these, and none of their answers arrives. */
  const cut = async (page, path, times) => {
    let left = times;
    const keys = [];
    await page.route(`${API}${path}`, async (route) => {
      if (route.request().method() !== "POST") return route.fallback();
      keys.push(route.request().headers()["idempotency-key"]);
      if (left === 0) return route.fallback();
      left -= 1;
      await route.fetch();
      return route.abort();
    });
    return keys;
  };

  it("of a create or a rotation comes when it is asked for again: the same secret, made once", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: ["net::ERR_FAILED"] });
    const { page } = admin;
    await open(admin);
    for (const times of [1, 3]) {
      const name = `Cut ${times}`;
      const keys = await cut(page, "/credentials", times);
      await button(await fillCreate(page, name), "Create").click();
      const made = dialog(page, "API Key Created");
      // The secret is right: a key without scopes gets no token, and a wrong secret gets 401.
      await tokenFor(admin, await shown(made, "Client ID"), await shown(made, "Client Secret"), 400);
      assert.equal(keys.length, times + 1);
      assert.equal(new Set(keys).size, 1);
      await made.getByRole("checkbox").check();
      await button(made, "Done").click();
      await page.unrouteAll();
    }
    assert.deepEqual((await keysOf(admin)).filter((name) => name.startsWith("Cut")).sort(), ["Cut 1", "Cut 3"]);

    const { credential, client_secret: old } = await makeKey(admin, server, "Cut and rotated", { scopes: ["system/patients.read"] });
    await open(admin);
    await openKey(admin, credential);
    const keys = await cut(page, `/credentials/${credential.id}/secrets`, 2);
    await button(page, "Rotate secret").click();
    await button(dialog(page, "Rotate secret"), "Rotate").click();
    const made = dialog(page, "New Secret Created");
    const secret = await shown(made, "Client Secret");
    assert.notEqual(secret, old);
    await tokenFor(admin, credential.client_id, secret);
    assert.equal(new Set(keys).size, 1);
    const { secrets } = await (await admin.context.request.get(`${server.base}/api-access/v1/credentials/${credential.id}`)).json();
    assert.equal(secrets.length, 2, "the old one and one new one");
    await made.getByRole("checkbox").check();
    await button(made, "Done").click();
    await admin.leave();
  });

  it("of a create, time and again: pressed once more, Create shows the secret", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: ["net::ERR_FAILED"] });
    const { page } = admin;
    await open(admin);
    const create = await fillCreate(page, "Cut for good");
    await lose(page, "POST");
    await button(create, "Create").click();
    await create.getByText("“Cut for good” was created, but the answer with its secret was lost. Create once more to have it shown.").waitFor();
    await page.unroute(`${API}/credentials`);
    await button(create, "Create").click();
    const made = dialog(page, "API Key Created");
    assert.match(await shown(made, "Client Secret"), SECRET);
    await made.getByRole("checkbox").check();
    await button(made, "Done").click();
    await admin.leave();
  });

  it("of a create that cannot be had again: the orphan is found, deleted and made again", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: ["net::ERR_FAILED", 409, 503] });
    const { page } = admin;
    await open(admin);
    const create = await fillCreate(page, "Lost and found");
    await lose(page, "POST");
    await button(create, "Create").click();
    await create.getByText("“Lost and found” was created, but the answer with its secret was lost.").waitFor();
    await record(page, "25-create-orphan");
    await page.unroute(`${API}/credentials`);
    // As after ten minutes: the key of the request is forgotten.
    await forget(page);
    await button(create, "Create").click();
    await create.getByText("“Lost and found” was created, but").waitFor();
    assert.equal(await create.getByText("Another key has this name").count(), 0, "the explanation stays");
    await page.route(`${API}/credentials/*`, (route) => route.fulfill({ status: 503, json: { code: "unavailable" } }));
    await button(create, "Delete it and create it again").click();
    await create.getByText("This cannot be done right now.").waitFor();
    assert.equal(await focused(page), "Create", "the pressed button is gone, the focus is not");
    await page.unroute(`${API}/credentials/*`);
    await button(create, "Create").click();
    await button(create, "Delete it and create it again").click();
    const made = dialog(page, "API Key Created");
    await made.getByRole("checkbox").check();
    await button(made, "Done").click();
    assert.deepEqual((await keysOf(admin)).filter((name) => !name.startsWith("Cut")), ["Lost and found"]);
    assert.equal(await button(page, "Scopes of Lost and found").count(), 1);
    await admin.leave();
  });

  it("of a create that is left: one Create button, and the orphan can be deleted", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: ["net::ERR_FAILED"] });
    const { page } = admin;
    await open(admin);
    await lose(page, "POST");
    for (const name of ["First orphan", "Second orphan"]) {
      const create = await fillCreate(page, name);
      await button(create, "Create").click();
      await create.getByText(`“${name}” was created, but`).waitFor();
      await page.keyboard.press("Escape");
      await create.waitFor({ state: "detached" });
      await page.getByRole("status").getByText(`“${name}” was created, but`).waitFor();
      assert.equal(await page.locator("#create").count(), 1);
      assert.equal(await button(page, "Create API Key").count(), 1);
    }
    await button(page, "Delete “Second orphan”").click();
    await button(page.getByRole("alertdialog"), "Delete").click();
    await page.getByText("“Second orphan” was deleted.").waitFor();
    assert.ok(!(await keysOf(admin)).includes("Second orphan"));
    await admin.leave();
  });

  it("a name that somebody else took first is no orphan", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [409] });
    const { page } = admin;
    await makeKey(admin, server, "Taken");
    await open(admin);
    const create = await fillCreate(page, "Taken");
    await button(create, "Create").click();
    await create.getByText("Another key has this name. Choose a different one.").waitFor();
    assert.equal(await button(create, "Delete it and create it again").count(), 0);
    await admin.leave();
  });

  it("the server decides whether a name is free", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "Freed");
    await open(admin);
    await admin.context.request.delete(`${server.base}/api-access/v1/credentials/${credential.id}`);
    const create = await fillCreate(page, "Freed");
    await button(create, "Create").click();
    await dialog(page, "API Key Created").getByRole("checkbox").check();
    await page.keyboard.press("Escape");
    await admin.leave();
  });
});

describe("what is on the screen is what is there", () => {
  onServer();

  it("the list is fetched anew when the page is seen again", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    await makeKey(admin, server, "Old");
    await open(admin);
    const { credential } = await makeKey(admin, server, "From elsewhere");
    await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
    await page.getByText("From elsewhere", { exact: true }).waitFor();
    await button(page, "Scopes of From elsewhere").focus();
    await admin.context.request.delete(`${server.base}/api-access/v1/credentials/${credential.id}`);
    await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
    await page.getByText("From elsewhere", { exact: true }).waitFor({ state: "detached" });
    assert.notEqual(await focused(page), "BODY");
    await admin.leave();
  });

  it("a wrong address of the API is said, with what was asked and what came back", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [404], expectConsole: /asked GET \/api-access\/v1\/(catalog|credentials), and .* 404 Not Found text\/html/ });
    const { page } = admin;
    await page.route("**/api-access/v1/**", (route) => route.fulfill({ status: 404, contentType: "text/html; charset=utf-8", body: "<h1>Nothing here</h1>" }));
    await page.goto(server.url);
    await page.getByText(/Asked: GET \/api-access\/v1\/(catalog|credentials)\. Answer: 404 Not Found text\/html\./).waitFor();
    assert.ok(admin.heard.some((text) => text.includes("PageConfig::admin_api")), "the console says it too");
    await page.unroute("**/api-access/v1/**");
    await button(page, "Try again").click();
    await page.getByRole("heading", { name: "No API keys yet" }).or(page.getByText("Old", { exact: true })).first().waitFor();
    assert.notEqual(await focused(page), "BODY");
    await admin.leave();
  });

  it("a problem of another API is no answer of ours", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [404], expectConsole: /404 Not Found application\/problem\+json/ });
    await admin.page.route("**/api-access/v1/**", (route) => route.fulfill({ status: 404, contentType: "application/problem+json", json: { code: "not_found" } }));
    await admin.page.goto(server.url);
    await admin.page.getByText("Answer: 404 Not Found application/problem+json.").waitFor();
    await admin.leave();
  });

  it("a gateway's own error is no wrong address, and nobody knows what was done", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [502] });
    const { page } = admin;
    await makeKey(admin, server, "Behind a gateway");
    await open(admin);
    await page.route(`${API}/credentials/*`, (route) => route.fulfill({ status: 502, contentType: "text/html", body: "<h1>Bad gateway</h1>" }));
    await button(page, "Delete Behind a gateway").click();
    await button(page.getByRole("alertdialog"), "Delete").click();
    await page.getByText("This cannot be done right now. Try again in a moment.").waitFor();
    await page.getByText("The key may still work. Deleting again does no harm.").waitFor();
    await page.getByText(/Answer: 502 .*text\/html/).waitFor();
    await button(page, "Cancel").click();
    await admin.leave();
  });

  for (const file of ["main.js", "preact.js", "words.js", "list.js"]) {
    it(`without ${file} the page says that it is not whole`, async () => {
      const admin = await person(server, "alder-admin", { expectStatus: ["net::ERR_FAILED"] });
      await admin.page.route(`**/assets/*/${file}`, (route) => route.abort());
      await admin.page.goto(server.url);
      await admin.page.getByRole("alert").getByText("Part of this page could not be loaded.").waitFor();
      assert.equal(await admin.page.getByText("Loading").count(), 0);
      await admin.leave();
    });
  }

  for (const file of ["create.js", "dialog.js"]) {
    it(`without ${file}, which only a dialog needs, it says so when the dialog is asked for`, async () => {
      const admin = await person(server, "alder-admin", { expectStatus: ["net::ERR_FAILED"], expectConsole: /dynamically imported module/ });
      const { page } = admin;
      await page.route(`**/assets/*/${file}`, (route) => route.abort());
      await open(admin);
      await button(page, "Create API Key").click();
      await page.getByRole("alert").getByText("Part of this page could not be loaded.").waitFor();
      assert.equal(await page.getByRole("dialog").count(), 0);
      assert.notEqual(await focused(page), "BODY");
      await page.unroute(`**/assets/*/${file}`);
      await button(page, "Reload the page").click();
      await button(page, "Create API Key").click();
      await dialog(page, "Create API Key").waitFor();
      await admin.leave();
    });
  }

  it("each refusal is said in the page's words, by its code", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [403, 409, 418, 429, 503] });
    const { page } = admin;
    await open(admin);
    const create = await fillCreate(page, "Refused");
    for (const [status, code, words] of [
      [403, "self_service_unavailable", "API keys cannot be created or changed here. Contact Elation support."],
      [403, "tenant_suspended", "The API access of your practice is suspended."],
      [409, "limit_reached", "Your practice has reached its limit of API keys."],
      [429, "rate_limited", "Wait a moment and try again."],
      [503, "unavailable", "This cannot be done right now."],
      [418, "something_new", "name this code: something_new"],
    ]) {
      await page.route(`${API}/credentials`, (route) => route.fulfill({ status, json: { code, detail: "You have 100 credentials; contact the platform's support." } }));
      await button(create, "Create").click();
      await create.getByText(words).waitFor();
      assert.ok(!/credential|platform/.test(await create.innerText()), "no word of the API");
      await page.unroute(`${API}/credentials`);
    }
    await admin.leave();
  });
});
