// What an edit of scopes says before it is saved, and where the focus and the eyes are led.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { API, assertAccessible, button, dialog, makeKey, person, picture, record } from "./harness.mjs";
import { createByHand, focused, onServer, open, sampleKey, scopesOf, server, summary } from "./steps.mjs";

const THREE = ["system/patients.read", "system/bills.read", "system/bills.write"];
const HOUR = 3_600_000;

/** Opens the editor of a key of the server's; `changes` are what the list says of it. */
async function edit(admin, credential, changes = {}) {
  const { page } = admin;
  await page.route(`${API}/credentials?*`, (route) => route.fulfill({ json: { items: [summary({ ...credential, ...changes })], next_cursor: null } }));
  await page.route(`${API}/credentials/${credential.id}`, async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ json: { ...(await answer.json()), ...changes } });
  });
  await page.route(`${API}/credentials/${credential.id}/scopes`, async (route) => {
    const { last_used_at: used = null } = changes;
    const { credential: newer, ...rest } = await (await route.fetch()).json();
    await route.fulfill({ json: { credential: { ...newer, last_used_at: used }, ...rest } });
  });
  await open(admin);
  await button(page, `Scopes of ${credential.name}`).click();
  const editor = dialog(page, "Edit Scopes");
  await editor.waitFor();
  return editor;
}

const colour = (locator) => locator.evaluate((it) => getComputedStyle(it).color);

describe("taking away and giving", () => {
  onServer();

  it("full access has no half that reads: it is replaced, not removed", async () => {
    const admin = await person(server, "alder-admin");
    const { credential } = await makeKey(admin, server, "All of it", { scopes: ["apiv2"] });
    const editor = await edit(admin, credential, { last_used_at: new Date().toISOString() });
    assert.equal(await button(editor, "Remove write access").count(), 0);
    await button(editor, "Set All to Read-Only").click();
    await editor.getByText("Gives read access to everything: 78 more. Removes full access").waitFor();
    await button(editor, "Save").click();
    await editor.waitFor({ state: "detached" });
    assert.equal((await scopesOf(admin, credential.id)).length, 78);
    await admin.leave();
  });

  it("a used key that would end with nothing is asked about once, in red", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "Write only", { scopes: ["system/bills.write"] });
    const editor = await edit(admin, credential, { last_used_at: new Date(Date.now() - 2 * HOUR).toISOString() });
    await button(editor, "Remove write access").click();
    assert.equal(await focused(page), "Set All to Read-Only");
    const summary = editor.locator(".summary");
    assert.equal(await summary.innerText(), "Removes 1 write. This key can no longer call anything.");
    const red = await colour(summary);
    await button(editor, "Save").click();
    await editor.getByText("Without scopes, “Write only” can no longer call anything. Last used 2 hours ago").waitFor();
    assert.equal(await focused(page), "Keep editing");
    assert.deepEqual(await scopesOf(admin, credential.id), ["system/bills.write"]);
    await record(page, "30-editor-empty");
    await button(editor, "Keep editing").click();
    assert.equal(await focused(page), "Save");
    await editor.getByRole("checkbox", { name: "Bills: write", exact: true }).check();
    assert.notEqual(await colour(summary), red);
    await button(editor, "Remove write access").click();
    await button(editor, "Save").click();
    await button(editor, "Save without scopes").click();
    await editor.waitFor({ state: "detached" });
    assert.deepEqual(await scopesOf(admin, credential.id), []);
    await page.getByText("No scopes", { exact: true }).waitFor();
    assert.equal(await page.getByText("No scopes yet").count(), 0);
    await admin.leave();
  });

  it("is asked by what the server knows now, not by an old list", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "Used since", { scopes: ["system/bills.write"] });
    await open(admin);
    await page.getByRole("row", { name: /Used since/ }).getByText("Never used").waitFor();
    const used = { ...credential, last_used_at: new Date(Date.now() - HOUR).toISOString() };
    await page.route(`${API}/credentials/${credential.id}`, (route) => route.fulfill({ json: used }));
    await button(page, "Scopes of Used since").click();
    const editor = dialog(page, "Edit Scopes");
    await editor.getByRole("checkbox", { name: "Bills: write", exact: true }).uncheck();
    await button(editor, "Save").click();
    await button(editor, "Save without scopes").waitFor();
    await page.keyboard.press("Escape");
    await button(editor, "Discard changes").click();
    await admin.leave();
  });

  it("a key that was never used is saved without a question", async () => {
    const admin = await person(server, "alder-admin");
    const { credential } = await makeKey(admin, server, "New", { scopes: ["system/bills.read"] });
    const editor = await edit(admin, credential);
    await editor.getByRole("checkbox", { name: "Bills: read", exact: true }).uncheck();
    await editor.getByText("Removes 1 read. This key cannot call anything yet.").waitFor();
    await button(editor, "Save").click();
    await editor.waitFor({ state: "detached" });
    assert.deepEqual(await scopesOf(admin, credential.id), []);
    await admin.leave();
  });

  it("a bulk action that adds says so in the colour of attention", async () => {
    const admin = await person(server, "alder-admin");
    const { credential } = await makeKey(admin, server, "Three", { scopes: THREE });
    const editor = await edit(admin, credential);
    const summary = editor.locator(".summary");
    const calm = await colour(summary);
    await button(editor, "Set All to Read-Only").click();
    assert.equal(await summary.innerText(), "Gives read access to everything: 76 more. Removes 1 write");
    assert.notEqual(await colour(summary), calm);
    await record(admin.page, "31-editor-adds");
    await button(editor, "Cancel").click();
    await editor.getByText("You have changes that are not saved.").waitFor();
    assert.equal(await focused(admin.page), "Keep editing", "Cancel asks as Escape does, and losing all is not the first choice");
    await button(editor, "Discard changes").click();
    await editor.waitFor({ state: "detached" });
    assert.deepEqual(await scopesOf(admin, credential.id), THREE.toSorted?.() ?? [...THREE].sort());
    await admin.leave();
  });

  it("scopes that this version does not know are taken away by name only, and before Set All to Read-Only", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "From a newer node", { scopes: ["system/bills.read"] });
    const held = ["system/bills.read", "system/telepathy.read", "system/telepathy.write"];
    const sent = [];
    const known = { scopes: held };
    // The node that is asked knows as little.
    await page.route(`${API}/credentials/${credential.id}/scopes/preview`, (route) => route.fulfill({ json: { added: [], removed: [], unused_30d: [] } }));
    const editor = await edit(admin, credential, known);
    await page.route(`${API}/credentials/${credential.id}/scopes`, (route) => {
      const { scopes } = route.request().postDataJSON();
      sent.push(scopes);
      known.scopes = scopes;
      return route.fulfill({ json: { credential: { ...credential, scopes, version: credential.version + sent.length }, effective_everywhere_at: new Date().toISOString() } });
    });
    await editor.getByRole("group", { name: "Not known to this version" }).waitFor();
    await record(page, "32-editor-unknown");
    const unsure = editor.getByText("Untick these first: whether they only read is not known.");
    await button(editor, "Set All to Read-Only").click();
    await unsure.waitFor();
    await editor.getByText("No changes", { exact: false }).waitFor();
    await editor.getByRole("checkbox", { name: "Bills: write", exact: true }).check();
    await unsure.waitFor({ state: "detached" });
    await editor.getByRole("checkbox", { name: "system/telepathy.write" }).uncheck();
    await button(editor, "Save").click();
    await editor.waitFor({ state: "detached" });
    assert.ok(sent[0].includes("system/telepathy.read") && !sent[0].includes("system/telepathy.write"));
    await button(page, "Scopes of From a newer node").click();
    await editor.getByRole("checkbox", { name: "system/telepathy.read" }).uncheck();
    await button(editor, "Set All to Read-Only").click();
    await editor.getByText("Gives read access to everything: 77 more. Removes 1 write, 1 unknown", { exact: true }).waitFor();
    await button(editor, "Save").click();
    await editor.waitFor({ state: "detached" });
    assert.equal(sent[1].length, 78);
    assert.ok(sent[1].every((scope) => scope.endsWith(".read") && !scope.includes("telepathy")));
    await admin.leave();
  });
});

describe("finding scopes", () => {
  onServer();

  it("categories that are partly ticked are open; All and Selected", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "Partly", { scopes: THREE });
    const editor = await edit(admin, credential);
    const open = () => editor.locator('.expander[aria-expanded="true"]').allInnerTexts();
    assert.deepEqual(await open(), ["Patient Profile API", "Billing API"]);
    await button(editor, "Selected").click();
    assert.equal(await button(editor, "Selected").getAttribute("aria-pressed"), "true");
    assert.deepEqual(await editor.locator(".panel tbody th").evaluateAll((all) => all.map((th) => th.firstChild.textContent)), ["Patients", "Bills"]);
    await editor.getByRole("checkbox", { name: "Patients: read", exact: true }).uncheck();
    assert.equal(await focused(page), "Patients: read", "what was unticked stays where it is");
    await record(page, "33-editor-selected");
    await button(editor, "All").click();
    assert.equal(await editor.locator(".category").count(), await editor.locator("[data-category]").count());
    assert.ok((await editor.locator(".category").count()) > 5);
    await admin.context.close();
  });

  it("by words in any order, by names of scopes, and broad ones too", async () => {
    const admin = await person(server, "alder-admin");
    const { credential } = await makeKey(admin, server, "Searcher");
    const editor = await edit(admin, credential);
    const search = editor.getByRole("searchbox", { name: "Search scopes" });
    const rows = () => editor.locator(".panel tbody th").evaluateAll((all) => all.map((th) => th.firstChild.textContent));
    for (const [query, expected] of [
      ["system/patients.read system/bills.write", ["Patients", "Bills"]],
      ["system/patients.read, system/bills.write", ["Patients", "Bills"]],
      ["SYSTEM/PATIENTS.READ", ["Patients"]],
      ["bills billing", ["Bills"]],
      ["write bills", ["Bills"]],
    ]) {
      await search.fill(query);
      assert.deepEqual(await rows(), expected, query);
    }
    await search.fill("Appointments write");
    assert.ok((await rows()).includes("Appointments"));
    for (const [query, name] of [["full access", "Full access"], ["access FULL", "Full access"], ["apiv2", "Full access"], ["act as user", "Act as a user"], ["act_as_user", "Act as a user"]]) {
      await search.fill(query);
      await editor.getByRole("checkbox", { name, exact: true }).waitFor();
    }
    await search.fill("patients");
    await editor.getByText("system/patients.write", { exact: true }).waitFor();
    assert.ok(await editor.getByText("Write", { exact: true }).first().isVisible(), "rights have words, not only places");
    await admin.leave();
  });

  it("a pasted list is ticked, and what is not known is named", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "Paster");
    const editor = await edit(admin, credential);
    await button(editor, "Paste scopes").click();
    assert.equal(await focused(page), "Scopes");
    const box = editor.getByLabel("Scopes", { exact: true });
    await box.fill('scope: ["system/patients.read", "SYSTEM/bills.write"],\n\tsystem/appointments.rs; system/nonsense.read\nsystem/bogus.write apiv2');
    await button(editor, "Add").click();
    await editor.getByText("3 scopes are ticked.").waitFor();
    await editor.getByText("Not known: system/nonsense.read, system/bogus.write.").waitFor();
    await editor.getByText("tick it yourself: Full access.").waitFor();
    assert.ok(!(await editor.getByRole("checkbox", { name: "Full access", exact: true }).isChecked()), "nothing but its checkbox ticks it");
    await editor.getByText("Adds 2 read, 1 write", { exact: true }).waitFor();
    await record(page, "34-editor-paste");
    await box.fill("  ,\n ");
    await button(editor, "Add").click();
    await editor.getByText("There is no scope in this text.").waitFor();
    await button(editor, "Save").click();
    await editor.waitFor({ state: "detached" });
    assert.deepEqual(await scopesOf(admin, credential.id), ["system/appointments.read", "system/bills.write", "system/patients.read"]);
    await admin.leave();
  });
});

describe("focus and what is read out", () => {
  onServer();

  const described = (locator) => locator.evaluate((it) => it.getAttribute("aria-describedby").split(" ").map((id) => document.getElementById(id).textContent).join(" "));

  it("a dialog's description says what matters", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    await open(admin);
    const made = await createByHand(page, "Described");
    assert.match(await described(made), /The client secret is shown only once\./);
    await made.getByRole("checkbox").check();
    await button(made, "Done").click();
    await button(page, "Delete Described").click();
    const text = await described(page.getByRole("alertdialog"));
    for (const words of ["This cannot be undone.", "This key was never used.", "Every program that uses this key is refused at once."]) assert.ok(text.includes(words), text);
    await button(page, "Cancel").click();
    await admin.leave();
  });

  it("nothing is invalid before it was tried", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    await open(admin);
    await button(page, "Create API Key").click();
    const session = await admin.context.newCDPSession(page);
    const invalid = async () => {
      const { nodes } = await session.send("Accessibility.getFullAXTree");
      return nodes.filter(({ properties = [] }) => properties.some(({ name, value }) => name === "invalid" && value.value !== "false")).map(({ name }) => name?.value);
    };
    assert.deepEqual(await invalid(), []);
    await button(dialog(page, "Create API Key"), "Create").click();
    assert.ok((await invalid()).length > 0);
    await page.keyboard.press("Escape");
    await admin.leave();
  });

  it("the focus has a place after everything that removes what had it", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: ["net::ERR_FAILED", 409, 500] });
    const { page } = admin;
    await page.route(`${API}/credentials?*`, (route) => route.abort());
    await page.goto(server.url);
    await page.getByRole("alert").getByText("The server did not answer.").waitFor();
    await page.unroute(`${API}/credentials?*`);
    await button(page, "Try again").click();
    await page.getByRole("heading", { name: "No API keys yet" }).or(page.getByRole("table")).first().waitFor();
    assert.equal(await focused(page), "API Access", "Try again");

    // The rest of the list.
    let fails = true;
    const items = [summary(sampleKey(1))];
    await page.route(`${API}/credentials?*`, (route) => {
      if (!route.request().url().includes("cursor")) return route.fulfill({ json: { items, next_cursor: "next" } });
      return fails ? route.abort() : route.fulfill({ json: { items: [summary(sampleKey(2))], next_cursor: null } });
    });
    await open(admin);
    await page.getByRole("alert").getByText("The list is not complete.").waitFor();
    fails = false;
    await button(page, "Load the rest").click();
    await page.getByText("2 keys", { exact: true }).waitFor();
    assert.notEqual(await focused(page), "BODY", "Load the rest");
    await page.unroute(`${API}/credentials?*`);

    // A key that vanished while it was edited.
    const { credential } = await makeKey(admin, server, "Vanishing");
    await open(admin);
    await button(page, "Scopes of Vanishing").click();
    const editor = dialog(page, "Edit Scopes");
    await editor.getByRole("checkbox", { name: "Billing API", exact: true }).check();
    await admin.context.request.delete(`${server.base}/api-access/v1/credentials/${credential.id}`);
    await button(editor, "Save").click();
    await editor.getByText("This key was deleted in the meantime").waitFor();
    assert.equal(await focused(page), "Cancel", "Save on a vanished key");
    await page.keyboard.press("Enter");
    await editor.waitFor({ state: "detached" });
    assert.notEqual(await focused(page), "BODY", "closing it");
    await admin.leave();
  });

  it("deleting moves the focus to the next key, never into a text field, and says so where it is seen", async () => {
    const admin = await person(server, "alder-admin", { viewport: { width: 375, height: 667 }, touch: true });
    const { page } = admin;
    for (let number = 0; number < 12; number++) await makeKey(admin, server, `Row ${number}`);
    await open(admin);
    await button(page, "Delete Row 3").click();
    await button(page.getByRole("alertdialog"), "Delete").click();
    const said = page.getByText("“Row 3” was deleted. It has stopped working.");
    await said.waitFor();
    assert.equal(await focused(page), "Scopes of Row 2");
    const box = await said.boundingBox();
    assert.ok(box.y >= 0 && box.y + box.height <= 667, "on the screen, wherever the list is scrolled to");
    const covers = await page.evaluate(() => {
      const it = document.activeElement.getBoundingClientRect();
      return document.activeElement.contains(document.elementFromPoint(it.left + it.width / 2, it.top + it.height / 2));
    });
    assert.ok(covers, "the focus is not covered");
    await button(page, "Scopes of Row 2").click();
    await dialog(page, "Edit Scopes").waitFor();
    await page.keyboard.press("Escape");
    await dialog(page, "Edit Scopes").waitFor({ state: "detached" });
    assert.equal(await said.count(), 0, "and not for ever");
    await assertAccessible(page, "after deleting");
    await admin.leave();
  });

  it("in forced colours a pressed chip differs from the others", async () => {
    const admin = await person(server, "alder-admin", { forced: true });
    const { page } = admin;
    await makeKey(admin, server, "Forced", { scopes: THREE });
    await open(admin);
    const background = (name) => page.getByRole("button", { name }).evaluate((it) => getComputedStyle(it).backgroundColor);
    await button(page, "Full access 0").waitFor();
    assert.notEqual(await background(/^All/), await background("Full access 0"));
    await picture(page, "35-forced");
    await admin.leave();
  });
});
