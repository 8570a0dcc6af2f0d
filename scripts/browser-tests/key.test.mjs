// A key's own page: its whole life by hand, and what it says when somebody else was there or no answer came.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { API, assertNoSidewaysScroll, button, dialog, makeKey, person, picture, record } from "./harness.mjs";
import { SECRET, call, createByHand, focused, kept, onServer, open, openKey, scopesOf, server, tokenFor, until } from "./steps.mjs";

const THREE = ["system/patients.read", "system/bills.read", "system/bills.write"];
const api = (admin, path) => `${server.base}/api-access/v1/credentials/${path}`;
const alert = (page) => page.getByRole("alertdialog");
const part = (page, name) => page.getByRole("region", { name, exact: true });

/** The dialog that shows a secret: its text, taken as a person copies it; then it is closed. */
async function keepSecret(page, title) {
  const made = dialog(page, title);
  await made.waitFor();
  const secret = await made.getByRole("group", { name: "Client Secret" }).locator("code").innerText();
  assert.match(secret, SECRET);
  assert.ok(await button(made, "Done").isDisabled());
  return { made, secret };
}

describe("a key's life", () => {
  onServer();

  it("create, use, narrow, rotate, end the old secret, disable, enable, delete", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    await open(admin);
    await createByHand(page, "Lab sync");
    const { made, secret: first } = await keepSecret(page, "API Key Created");
    const clientId = await made.getByRole("group", { name: "Client ID" }).locator("code").innerText();
    await made.getByRole("checkbox").check();
    await button(made, "Close and Edit Scopes").click();
    const editor = dialog(page, "Edit Scopes");
    await button(editor, "Paste scopes").click();
    await editor.getByLabel("Scopes", { exact: true }).fill(THREE.join(" "));
    await button(editor, "Add").click();
    await button(editor, "Save").click();
    await page.getByRole("row", { name: /Lab sync/ }).getByText("2 read, 1 write").waitFor();

    // Used: two scopes of the three, and one call that it may not make.
    const token = await tokenFor(admin, clientId, first);
    for (let calls = 0; calls < 3; calls++) assert.equal(await call(admin, token, "GET", "patients/"), 200);
    assert.equal(await call(admin, token, "GET", "bills/"), 200);
    assert.equal(await call(admin, token, "POST", "appointments/"), 403);
    const { id } = (await (await admin.context.request.get(`${server.base}/api-access/v1/credentials`)).json()).items[0];
    await until(async () => {
      const [usage, { items }] = await Promise.all(["usage?days=30", "refusals"].map(async (path) => (await admin.context.request.get(api(admin, `${id}/${path}`))).json()));
      return usage.days[0]?.allowed === 4 && usage.days[0].denied === 1 && items.length === 1;
    });

    await page.getByRole("link", { name: "Lab sync" }).click();
    await page.getByRole("heading", { name: "Lab sync", level: 1 }).waitFor();
    assert.ok(page.url().endsWith(`/keys/${id}`));
    const use = part(page, "Use");
    await use.getByText("In the last 30 days: 4 allowed, 1 refused. Last used just now.").or(use.getByText(/4 allowed, 1 refused\. Last used/)).first().waitFor();
    assert.deepEqual(await use.getByRole("table", { name: "Calls by day" }).getByRole("row").last().getByRole("cell").allInnerTexts(), ["4", "1"]);
    await button(use, "Why?").click();
    assert.equal(await button(use, "Why?").getAttribute("aria-expanded"), "true");
    await use.getByText("The key lacks “Appointments: write”.").waitFor();
    await use.getByText("POST", { exact: true }).waitFor();
    await record(page, "40-key");

    // Narrowed: what was not used goes first, and what was used says what that would have cost.
    const scopes = part(page, "Scopes");
    await scopes.getByText("1 not used for 30 days: Bills: write.").waitFor();
    await button(scopes, "Scopes").click();
    await editor.getByText("not used for 30 days").waitFor();
    await editor.getByRole("checkbox", { name: "Patients: read", exact: true }).uncheck();
    const preview = editor.getByText(/^Removes Patients: read: 3 calls in 30 days would have been refused, the last (just now|\d+ (second|minute)s? ago)$/);
    await preview.waitFor();
    assert.match(await preview.getAttribute("class"), /alarm/);
    await record(page, "41-preview");
    await button(editor, "Cancel").click();
    await button(editor, "Discard changes").click();
    await editor.waitFor({ state: "detached" });
    assert.equal(await focused(page), "Scopes");
    await button(scopes, "Review and remove").click();
    const calm = editor.getByText("Removes Bills: write: not used for 30 days", { exact: true });
    await calm.waitFor();
    assert.doesNotMatch(await calm.getAttribute("class"), /alarm/);
    assert.ok(!(await editor.getByRole("checkbox", { name: "Bills: write", exact: true }).isChecked()), "unticked to begin with");
    await button(editor, "Save").click();
    await page.getByText("are in effect now").waitFor();
    assert.deepEqual(await scopesOf(admin, id), ["system/bills.read", "system/patients.read"]);
    await scopes.getByText("2 read", { exact: true }).waitFor();
    await button(scopes, "Review and remove").waitFor({ state: "detached" });
    assert.equal(await focused(page), "Scopes", "Review and remove is gone, the focus is not");

    // Rotated: both secrets work, until the old one is ended.
    const proofs = part(page, "How it signs in");
    await proofs.getByText("Only one secret works.").waitFor();
    assert.equal(await proofs.getByText("End now").count(), 0, "the last secret goes with its key only");
    await button(proofs, "Rotate secret").click();
    const rotate = dialog(page, "Rotate secret");
    assert.ok(await rotate.getByRole("radio", { name: "In 1 day", exact: true }).isChecked());
    for (const name of ["Now", "In 7 days"]) await rotate.getByRole("radio", { name, exact: true }).waitFor();
    await record(page, "42-rotate");
    await button(rotate, "Rotate").click();
    const { made: rotated, secret: second } = await keepSecret(page, "New Secret Created");
    assert.notEqual(first, second);
    await rotated.getByRole("group", { name: "Client ID" }).getByText(clientId).waitFor();
    await page.keyboard.press("Escape");
    await rotated.getByText("Save the secret first.").waitFor();
    await record(page, "43-rotated");
    const [download] = await Promise.all([page.waitForEvent("download"), button(rotated, "Download Credentials").click()]);
    assert.equal(download.suggestedFilename(), "lab-sync-credentials.json");
    await rotated.getByRole("checkbox").check();
    await button(rotated, "Done").click();
    await page.getByText("“Lab sync” has a new secret.").waitFor();
    assert.equal(await focused(page), "Rotate secret");
    assert.ok(!SECRET.test(await kept(page)), "the secret is still somewhere in the page");
    for (const secret of [first, second]) await tokenFor(admin, clientId, secret);

    const old = first.slice("cred_sandbox_".length, "cred_sandbox_".length + 16);
    const used = await until(async () => (await (await admin.context.request.get(api(admin, id))).json()).secrets.every((secret) => secret.last_used_at));
    assert.ok(used);
    await page.reload();
    await proofs.getByText("still used").waitFor();
    assert.equal(await proofs.getByRole("listitem").count(), 2);
    await record(page, "44-two-secrets");
    await proofs.getByRole("button", { name: new RegExp(`^End now.*${old}`) }).click();
    const end = alert(page);
    await end.getByRole("heading", { name: "End secret?" }).waitFor();
    assert.match(await end.locator(".about").innerText(), /^It was used .*(just now|ago)/, "this comes first");
    assert.equal(await focused(page), "Cancel");
    await record(page, "45-end-secret");
    await button(end, "End now").click();
    await page.getByText(`Secret …${old.slice(-4)} has ended.`).waitFor();
    assert.equal(await focused(page), "Rotate secret");
    await proofs.getByText("ended", { exact: false }).first().waitFor();
    assert.equal(await tokenFor(admin, clientId, first, 401), null);
    const latest = await tokenFor(admin, clientId, second);

    // Paused, and not lost.
    await button(page, "Disable").click();
    await alert(page).getByText("It can be enabled again at any time.").waitFor();
    await record(page, "46-disable");
    await button(alert(page), "Cancel").click();
    assert.equal(await focused(page), "Disable");
    assert.equal(await call(admin, latest, "GET", "patients/"), 200, "nothing happened yet");
    await button(page, "Disable").click();
    await button(alert(page), "Disable").click();
    await page.getByText("“Lab sync” is disabled. It has stopped working.").waitFor();
    assert.equal(await focused(page), "Enable");
    await page.getByText("Disabled since").waitFor();
    await record(page, "47-disabled");
    assert.equal(await call(admin, latest, "GET", "patients/"), 401);
    await button(page, "Enable").click();
    await page.getByText("“Lab sync” is enabled. It works again.").waitFor();
    assert.equal(await focused(page), "Disable");
    assert.equal(await call(admin, latest, "GET", "patients/"), 200, "the same token");

    // What was done is there to read, newest first.
    const activity = part(page, "Activity").getByRole("listitem");
    await activity.filter({ hasText: "Enabled" }).first().waitFor();
    const lines = await activity.allInnerTexts();
    assert.match(lines[0], /alder-admin.*Enabled/s);
    assert.match(lines[1], /Disabled/);
    assert.match(lines[2], new RegExp(`Ended secret …${old.slice(-4)}`));
    assert.match(lines[3], /New secret …/);
    assert.match(lines[4], /− Bills: write/);
    await button(page, "All activity").click();
    await activity.filter({ hasText: "Created" }).waitFor();
    assert.equal(await button(page, "All activity").count(), 0);
    assert.notEqual(await focused(page), "BODY");
    await picture(page, "48-activity");

    await button(page, "Delete").click();
    await alert(page).getByRole("button", { name: "Disable instead" }).waitFor();
    await record(page, "49-delete");
    await button(alert(page), "Delete").click();
    await page.getByText("“Lab sync” was deleted. It has stopped working.").waitFor();
    await page.getByText(/Deleted .* by alder-admin/).waitFor();
    assert.equal(await focused(page), "Lab sync", "the heading: no button is left");
    assert.equal(await page.locator(".actions button").count(), 0);
    await record(page, "50-deleted");
    assert.equal(await call(admin, latest, "GET", "patients/"), 401);
    await page.getByRole("link", { name: "API Access" }).click();
    await page.getByRole("heading", { name: "No API keys yet" }).waitFor();
    assert.ok(!admin.heard.some((text) => SECRET.test(text)));
    await admin.leave();
  });

  it("revoke all: names the number, asks again when it has changed, and stops every key", async () => {
    const admin = await person(server, "birch-admin", { expectStatus: [422] });
    const { page } = admin;
    const keys = [];
    for (const name of ["One", "Two", "Three"]) keys.push(await makeKey(admin, server, name, { scopes: THREE }));
    const token = await tokenFor(admin, keys[0].credential.client_id, keys[0].client_secret);
    await open(admin);
    await button(page, "Revoke all keys").click();
    await alert(page).getByRole("heading", { name: "Revoke all 3 keys?" }).waitFor();
    assert.equal(await focused(page), "Cancel");
    await record(page, "51-revoke-all");
    await makeKey(admin, server, "Four");
    await button(alert(page), "Revoke 3 keys").click();
    await alert(page).getByText("so nothing was revoked").waitFor();
    await alert(page).getByRole("heading", { name: "Revoke all 4 keys?" }).waitFor();
    assert.equal(await call(admin, token, "GET", "patients/"), 200);
    await button(alert(page), "Cancel").click();
    assert.equal(await focused(page), "Revoke all keys");
    await button(page, "Revoke all keys").click();
    await button(alert(page), "Revoke 4 keys").click();
    await page.getByText("4 keys were revoked. They have stopped working.").waitFor();
    await page.getByRole("heading", { name: "No API keys yet" }).waitFor();
    assert.equal(await focused(page), "No API keys yet");
    assert.equal(await call(admin, token, "GET", "patients/"), 401);
    await admin.leave();
  });
});

describe("a key's page", () => {
  onServer();

  it("has an address: links, back, reload, a tab of its own; nobody else's, and none that is not there", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [401, 403, 404] });
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "Linked", { scopes: THREE });
    await makeKey(admin, server, "Other");
    await open(admin);
    await button(page, "Never used 2").click();
    await page.getByRole("searchbox", { name: "Search keys" }).fill("link");
    await page.getByRole("link", { name: "Linked" }).click();
    await page.getByRole("heading", { name: "Linked" }).waitFor();
    assert.match(await page.title(), /^Linked · API Access · /);
    await page.reload();
    await page.getByRole("heading", { name: "Linked" }).waitFor();
    await page.goBack();
    await page.getByText("1 key", { exact: true }).waitFor();
    assert.equal(await button(page, "Never used 2").getAttribute("aria-pressed"), "true", "what was looked for is still there");
    await page.goForward();
    await page.getByRole("heading", { name: "Linked" }).waitFor();
    await page.getByRole("link", { name: "API Access" }).click();
    await page.getByRole("heading", { name: "API Access" }).waitFor();

    for (const id of ["0123456789abcdef0123456789abcdef", "nonsense", "%3Cscript%3E"]) {
      await page.goto(`${server.url}/keys/${id}`);
      await page.getByRole("heading", { name: "No such key" }).waitFor();
      assert.equal(await page.getByRole("link", { name: "API Access" }).last().getAttribute("href"), "/settings/api-access");
    }
    await record(page, "52-no-such-key");
    const birch = await person(server, "birch-admin", { expectStatus: [404] });
    await birch.page.goto(`${server.url}/keys/${credential.id}`);
    await birch.page.getByRole("heading", { name: "No such key" }).waitFor();
    assert.ok(!(await kept(birch.page)).includes("Linked"));
    await birch.leave();
    for (const [user, status] of [[null, 401], ["alder-staff", 403]]) {
      const other = await person(server, user, { expectStatus: [status] });
      assert.equal((await other.page.goto(`${server.url}/keys/${credential.id}`)).status(), status);
      assert.ok(!(await kept(other.page)).includes("Linked"));
      await other.leave();
    }
    await admin.leave();
  });

  it("renames a key, and says when somebody else was faster", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [409, 412] });
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "Wrong nmae");
    await makeKey(admin, server, "In the way");
    await openKey(admin, credential);
    await button(page, "Rename").click();
    const rename = dialog(page, "Rename API Key");
    await rename.getByLabel("Name").fill("In the way");
    await button(rename, "Save").click();
    await rename.getByText("Another key has this name.").waitFor();
    assert.equal(await focused(page), "Name");
    await rename.getByLabel("Name").fill("  ");
    await button(rename, "Save").click();
    await rename.getByText("Enter a name.").waitFor();
    await admin.context.request.put(api(admin, `${credential.id}/scopes`), { data: { preset: "read_only" }, headers: { "If-Match": "*" } });
    await rename.getByLabel("Name").fill("Right name");
    await button(rename, "Save").click();
    await rename.getByText("Somebody else changed this key in the meantime.").waitFor();
    await record(page, "28-rename");
    await button(rename, "Save").click();
    await page.getByText("“Wrong nmae” is now called “Right name”.").waitFor();
    await page.getByRole("heading", { name: "Right name" }).waitFor();
    assert.equal(await focused(page), "Rename");
    await part(page, "Scopes").getByText("78 read").waitFor();
    await admin.leave();
  });

  it("sets, moves and removes an end", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [412] });
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "Ending");
    await openKey(admin, credential);
    const change = dialog(page, "When Does It End?");
    await button(page, "Change when it ends").click();
    assert.ok(await change.getByRole("radio", { name: "Never", exact: true }).isChecked());
    await change.getByRole("radio", { name: "On a date", exact: true }).check();
    await button(change, "Save").click();
    await change.getByText("Choose a day.").waitFor();
    assert.equal(await focused(page), "Last day");
    await change.getByLabel("Last day").fill("2020-01-01");
    await button(change, "Save").click();
    await change.getByText("Choose a day that is not over yet.").waitFor();
    await change.getByLabel("Last day").fill("2099-03-01");
    await record(page, "53-expiry");
    await button(change, "Save").click();
    await page.getByText("“Ending” ends Mar 1, 2099").waitFor();
    await page.getByText("Active until Mar 1, 2099").waitFor();
    assert.equal(await focused(page), "Change when it ends");
    const stored = async () => (await (await admin.context.request.get(api(admin, credential.id))).json()).expires_at;
    assert.match(await stored(), /^2099-03-01T23:59:59/, "the whole day, where the person is");

    await button(page, "Change when it ends").click();
    assert.equal(await change.getByLabel("Last day").inputValue(), "2099-03-01");
    await admin.context.request.patch(api(admin, credential.id), { data: { name: "Ending, renamed" }, headers: { "If-Match": "*" } });
    await change.getByRole("radio", { name: "Never", exact: true }).check();
    await button(change, "Save").click();
    await change.getByText("Somebody else changed this key in the meantime.").waitFor();
    assert.match(await stored(), /^2099/);
    await button(change, "Save").click();
    await page.getByText("“Ending, renamed” does not end any more.").waitFor();
    assert.equal(await stored(), null);

    // One that has ended works again with a later end.
    const { credential: over, client_secret: secret } = await makeKey(admin, server, "Over");
    // On a busy machine the end may have passed before the request arrives.
    const endsAt = (end) => admin.context.request.patch(api(admin, over.id), { data: { expires_at: new Date(end).toISOString() }, headers: { "If-Match": "*" } });
    await until(async () => (await endsAt(Date.now() + 1500)).ok());
    await until(async () => (await (await admin.context.request.get(api(admin, over.id))).json()).status === "expired");
    await openKey(admin, over);
    await tokenFor(admin, over.client_id, secret, 401);
    await button(page, "Change when it ends").click();
    await change.getByText("A later end makes it work again, with its secrets.").waitFor();
    await record(page, "64-revive");
    await change.getByRole("radio", { name: "In 90 days", exact: true }).check();
    await button(change, "Save").click();
    await page.getByText("Active until").waitFor();
    await admin.leave();
  });

  it("lists the addresses that it may be used from", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [412, 422] });
    const { page } = admin;
    const { credential, client_secret: secret } = await makeKey(admin, server, "Bound");
    const networks = async () => (await (await admin.context.request.get(api(admin, credential.id))).json()).allowed_networks;
    await openKey(admin, credential);
    await page.getByText("Advanced", { exact: true }).click();
    const list = page.getByRole("group", { name: "Allowed IP addresses" });
    await list.getByText("The key works from everywhere.").waitFor();
    const box = list.getByRole("textbox");
    await box.fill("not an address");
    await box.press("Enter");
    await list.getByText("Enter an IP address or a network.").waitFor();
    assert.equal(await focused(page), "Address or network, such as 203.0.113.7 or 203.0.113.0/24");
    await box.fill("203.0.113.0/24, 2001:db8::/32");
    await button(list, "Add").click();
    await box.fill("10.0.0.1/8");
    await button(list, "Add").click();
    assert.deepEqual(await networks(), [], "nothing is saved before Save");
    await list.getByText("Not saved yet. Once saved, the key works from these addresses only.").waitFor();
    await button(list, "Save addresses").click();
    await list.getByText("Write the first address of the network: 10.0.0.0/8, not 10.0.0.1/8.").waitFor();
    await record(page, "54-networks");
    assert.deepEqual(await networks(), []);
    await button(list, "Remove 10.0.0.1/8").click();
    assert.notEqual(await focused(page), "BODY");
    await button(list, "Save addresses").click();
    await page.getByText("Saved. “Bound” works from the listed addresses only.").waitFor();
    assert.deepEqual(await networks(), ["203.0.113.0/24", "2001:db8::/32"]);
    assert.equal(await button(list, "Save addresses").count(), 0);
    await list.getByText("The key works from these addresses only.", { exact: true }).waitFor();
    for (const network of ["203.0.113.0/24", "2001:db8::/32"]) await button(list, `Remove ${network}`).click();
    await list.getByText("Not saved yet. Once saved, the key works from everywhere.").waitFor();
    await button(list, "Cancel").click();
    await list.getByText("The key works from these addresses only.", { exact: true }).waitFor();
    assert.notEqual(await focused(page), "BODY");

    await button(list, "Remove 2001:db8::/32").click();
    await admin.context.request.patch(api(admin, credential.id), { data: { allowed_networks: ["198.51.100.7"] }, headers: { "If-Match": "*" } });
    await button(list, "Save addresses").click();
    await list.getByText(/It now works from: 198\.51\.100\.7\/32\. Your list is still here/).waitFor();
    assert.deepEqual(await networks(), ["198.51.100.7/32"], "nothing is overwritten unseen");
    await button(list, "Save addresses").click();
    await list.getByText("The key works from these addresses only.", { exact: true }).waitFor();
    assert.deepEqual(await networks(), ["203.0.113.0/24"]);
    await box.fill(secret);
    await list.getByText("This looks like a secret.").waitFor();
    assert.ok(!(await kept(page)).includes(secret.slice(30)));
    await admin.leave();
  });

  it("says nothing that the server did not say", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [404, 409, 500, "net::ERR_FAILED"], expectConsole: /not from the admin API/ });
    const { page } = admin;
    const { credential, client_secret: secret } = await makeKey(admin, server, "Honest", { scopes: THREE });
    await openKey(admin, credential);
    const answer = async (path, fulfil) => {
      await page.unrouteAll();
      await page.route(`${API}/credentials/${credential.id}${path}`, fulfil);
    };
    const working = () => tokenFor(admin, credential.client_id, secret);

    // Disable: an answer that says something else, none at all, and not found.
    const still = { ...credential, disabled_at: null };
    for (const [fulfil, words] of [
      [(route) => route.fulfill({ json: { credential: still, effective_everywhere_at: new Date().toISOString() } }), "The key may still work. Disabling again does no harm."],
      [(route) => route.abort(), "The key may still work. Disabling again does no harm."],
      [(route) => route.fulfill({ status: 500, body: "oh" }), "The key may still work. Disabling again does no harm."],
    ]) {
      await answer("/disable", fulfil);
      await button(page, "Disable").click();
      await button(alert(page), "Disable").click();
      await alert(page).getByText(words).waitFor();
      await page.keyboard.press("Escape");
      assert.equal(await page.getByText("is disabled.").count(), 0);
      await page.getByText("Active", { exact: true }).waitFor();
    }
    await working();

    // Rotate: the answer with the secret is lost. Nobody can have seen it, so it is ended and another one made.
    await answer("/secrets", async (route) => {
      await route.fetch();
      await route.abort();
    });
    await button(page, "Rotate secret").click();
    const rotate = dialog(page, "Rotate secret");
    await button(rotate, "Rotate").click();
    await rotate.getByText("was made, but the answer with it was lost").waitFor();
    assert.equal(await focused(page), "End it and rotate again");
    await record(page, "55-rotate-lost");
    await page.unrouteAll();
    await button(rotate, "End it and rotate again").click();
    const { made, secret: second } = await keepSecret(page, "New Secret Created");
    await made.getByRole("checkbox").check();
    await button(made, "Done").click();
    const { secrets } = await (await admin.context.request.get(api(admin, credential.id))).json();
    assert.equal(secrets.filter(({ expires_at: end }) => !end || Date.parse(end) > Date.now()).length, 2, "the old one and the new one");
    await tokenFor(admin, credential.client_id, second);

    // End: a secret that is said to be live still is.
    const [old] = secrets.filter(({ selector }) => secret.includes(selector));
    await answer(`/secrets/${old.selector}`, (route) => route.fulfill({ json: { credential: { ...credential, secrets }, effective_everywhere_at: new Date().toISOString() } }));
    await page.getByRole("button", { name: new RegExp(`^End now.*${old.selector}`) }).click();
    await button(alert(page), "End now").click();
    await alert(page).getByText("The secret may still work. Ending it again does no harm.").waitFor();
    await page.keyboard.press("Escape");
    assert.equal(await page.getByText("has ended").count(), 0);
    await working();

    // A third secret takes the place of both, and says so.
    await page.unrouteAll();
    await button(page, "Rotate secret").click();
    await rotate.getByText("The new one takes the place of both.").waitFor();
    await rotate.getByText("What uses either of the two secrets is refused at once.").waitFor();
    assert.equal(await rotate.getByRole("radio").count(), 1);
    await page.keyboard.press("Escape");

    // Not found: no word of deleted.
    await answer("", (route) => (route.request().method() === "DELETE" ? route.fulfill({ status: 404, json: { code: "not_found" } }) : route.continue()));
    await button(page, "Delete").click();
    await button(alert(page), "Delete").click();
    await alert(page).getByText("it may still work").waitFor();
    assert.equal(await page.getByText("was deleted").count(), 0);
    await page.keyboard.press("Escape");
    await working();
    await page.unrouteAll();
    await admin.leave();
  });

  it("a secret that nobody may end, and one that somebody else has ended", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [409] });
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "Last proof");
    await admin.context.request.post(api(admin, `${credential.id}/secrets`), { data: { overlap_seconds: 3600 } });
    await openKey(admin, credential);
    await page.getByText("safe to end").waitFor();
    const [newest, old] = (await (await admin.context.request.get(api(admin, credential.id))).json()).secrets.map(({ selector }) => selector)
      .sort((a, b) => (a === credential.secrets[0].selector) - (b === credential.secrets[0].selector));
    await admin.context.request.delete(api(admin, `${credential.id}/secrets/${newest}`));
    await page.getByRole("button", { name: new RegExp(`^End now.*${old}`) }).click();
    await alert(page).getByText("It was never used.").waitFor();
    await button(alert(page), "End now").click();
    await alert(page).getByText("This is the last secret that works.").waitFor();
    await page.keyboard.press("Escape");
    await page.getByText("Only one secret works.").waitFor();
    assert.notEqual(await focused(page), "BODY");
    await admin.leave();
  });

  it("another practice signed in, in another tab: every action says so and changes nothing", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [409] });
    const { page } = admin;
    const { credential, client_secret: secret } = await makeKey(admin, server, "Ours", { scopes: THREE });
    const signIn = (user) => admin.context.request.post(`${server.base}/sign-in`, { form: { user } });
    for (const [press, confirm] of [["Disable", "Disable"], ["Delete", "Delete"]]) {
      await openKey(admin, credential);
      await page.waitForLoadState("networkidle");
      await signIn("birch-admin");
      await button(page, press).click();
      await button(alert(page), confirm).click();
      await alert(page).getByText("signed in to another practice").waitFor();
      await button(alert(page), "Cancel").click();
      assert.equal(await page.getByText("Ours").count(), 0, "nothing of a practice that is not signed in to");
      await signIn("alder-admin");
    }
    await openKey(admin, credential);
    await signIn("birch-admin");
    await button(page, "Scopes").click();
    await page.getByRole("alert").getByText("signed in to another practice").waitFor();
    await signIn("alder-admin");
    await tokenFor(admin, credential.client_id, secret);
    await admin.leave();
  });

  it("what somebody else did is there when the page is seen again", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "Watched");
    await openKey(admin, credential);
    await button(page, "Rename").focus();
    const seen = () => page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
    await admin.context.request.post(api(admin, `${credential.id}/disable`));
    await seen();
    await page.getByText("Disabled since").waitFor();
    await button(page, "Enable").waitFor();
    await admin.context.request.delete(api(admin, credential.id));
    await seen();
    await page.getByText(/Deleted .* by alder-admin/).waitFor();
    assert.equal(await focused(page), "Watched", "the button that had the focus is gone");
    await admin.leave();
  });

  it("in forced colours refused calls differ from allowed ones, and a state from a button", async () => {
    const admin = await person(server, "alder-admin", { forced: true });
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "Forced", { scopes: THREE });
    const days = [{ date: new Date().toISOString().slice(0, 10), allowed: 3, denied: 2 }];
    await page.route(`${API}/credentials/${credential.id}/usage*`, (route) => route.fulfill({ json: { last_used_at: null, days, scopes: [] } }));
    await openKey(admin, credential);
    await page.locator(".chart").waitFor();
    const fill = (name) => page.locator(`.chart .${name}`).evaluate((it) => getComputedStyle(it).fill);
    assert.notEqual(await fill("allowed"), await fill("refused"));
    assert.equal(await page.locator(".chart .area").first().evaluate((it) => getComputedStyle(it).fill), "rgba(0, 0, 0, 0)");
    await picture(page, "56-key-forced");
    await admin.leave();
  });

  it("a part that cannot be loaded says so, and the others are there", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [503] });
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "Partly there", { scopes: THREE });
    await page.route(`${API}/credentials/${credential.id}/usage*`, (route) => route.fulfill({ status: 503, json: { code: "unavailable" } }));
    await openKey(admin, credential);
    const use = part(page, "Use");
    await use.getByText("This cannot be done right now.").waitFor();
    await part(page, "Activity").getByText("Created", { exact: true }).waitFor();
    await page.unrouteAll();
    await button(use, "Try again").click();
    await use.getByText("No calls in the last 30 days. This key was never used.").waitFor();
    assert.notEqual(await focused(page), "BODY");
    await admin.leave();
  });
});

describe("where self-service is off", () => {
  onServer("--environment", "production");

  it("a key's page offers what takes away, and nothing else", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    const key = { id: "0".repeat(32), name: "In production", description: "", api_type: "apiv2", client_id: "cred_production_x", environment: "production", scopes: THREE, status: "active",
      created_at: "2026-01-01T00:00:00Z", created_by: "1", expires_at: null, disabled_at: null, revoked_at: null, revoked_by: null, last_used_at: null, version: 1, allowed_networks: ["203.0.113.0/24"],
      secrets: ["a", "b"].map((each) => ({ selector: each.repeat(16), created_at: "2026-01-01T00:00:00Z", expires_at: null, last_used_at: null })), jwks_uri: null, keys: [], workloads: [] };
    await page.route(`${API}/credentials/${key.id}{,/**}`, (route) => route.fulfill({ json: { ...key, days: [], scopes: key.scopes, items: [] } }));
    await page.route(`${API}/audit-events*`, (route) => route.fulfill({ json: { items: [], next_cursor: null } }));
    await page.goto(`${server.url}/keys/${key.id}`);
    await page.getByRole("heading", { name: "In production" }).waitFor();
    await page.getByText("Advanced", { exact: true }).click();
    await page.getByText("203.0.113.0/24").waitFor();
    const offered = (await page.locator("#key button:visible").evaluateAll((all) => all.map((it) => it.getAttribute("aria-label") ?? it.textContent))).sort();
    assert.deepEqual(offered, ["Copy Client ID", "Delete", "Disable", `End now: secret ${"a".repeat(16)}`, `End now: secret ${"b".repeat(16)}`]);
    await assertNoSidewaysScroll(page, "self-service off");
    await admin.leave();
  });
});
