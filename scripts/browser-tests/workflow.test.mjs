// Create, scope, look, delete: as people do it, and no secret left behind.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, it } from "node:test";
import { PHONE, assertAccessible, assertNoSidewaysScroll, button, dialog, makeKey, person, record } from "./harness.mjs";
import { SECRET, createByHand, kept, onServer, open, server } from "./steps.mjs";

describe("the whole workflow", () => {
  onServer();

  it("by accessible names: create, scope, look, delete", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    await open(admin);
    await page.getByRole("heading", { name: "API Access", exact: true }).waitFor();
    await page.getByRole("heading", { name: "No API keys yet" }).waitFor();
    assert.ok(await page.getByText("Sandbox", { exact: true }).isVisible());
    await record(page, "01-empty");

    await button(page, "Create API Key").click();
    const create = dialog(page, "Create API Key");
    await record(page, "02-create");
    await button(create, "Create").click();
    await create.getByText("Enter a name.").waitFor();
    await create.getByText("Choose what the key is for.").waitFor();
    assert.ok(await create.getByLabel("Name").evaluate((input) => input === document.activeElement), "focus is on the first fault");
    await record(page, "03-create-faults");
    await create.getByLabel("Name").fill("x".repeat(101));
    await create.getByRole("radio", { name: "FHIR", exact: true }).check();
    await button(create, "Create").click();
    await create.getByText("Use at most 100 characters; this name has 101.").waitFor();
    await create.getByLabel("Name").fill("Lab results sync");
    await create.getByRole("radio", { name: "Elation APIv2", exact: true }).check();
    await button(create, "Create").click();

    const made = dialog(page, "API Key Created");
    await made.waitFor();
    const clientId = await made.getByRole("group", { name: "Client ID" }).locator("code").innerText();
    const secret = await made.getByRole("group", { name: "Client Secret" }).locator("code").innerText();
    assert.match(secret, SECRET);
    assert.match(await kept(page), SECRET, "the search for the secret finds it where it is");
    const gate = made.getByRole("checkbox", { name: "I have saved my credentials securely" });
    const done = button(made, "Done");
    const edit = button(made, "Close and Edit Scopes");
    assert.ok(await done.isDisabled());
    assert.ok(await edit.isDisabled());
    await record(page, "04-created");

    await button(made, "Copy Client Secret").click();
    await made.getByText("Client Secret copied").waitFor({ state: "attached" });
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), secret);

    const [download] = await Promise.all([page.waitForEvent("download"), button(made, "Download Credentials").click()]);
    assert.equal(download.suggestedFilename(), "lab-results-sync-credentials.json");
    const file = JSON.parse(await readFile(await download.path(), "utf8"));
    assert.deepEqual(
      { ...file, created_at: typeof file.created_at },
      { name: "Lab results sync", api_type: "apiv2", environment: "sandbox", client_id: clientId, client_secret: secret, created_at: "string" },
    );

    await gate.check();
    await gate.uncheck();
    assert.ok(await edit.isDisabled(), "unticking closes the gate again");
    await gate.check();
    await edit.click();

    const editor = dialog(page, "Edit Scopes");
    await editor.getByText("No changes. This key cannot call anything yet.").waitFor();
    assert.ok(!SECRET.test(await kept(page)), "the secret is still somewhere in the page");
    await record(page, "06-editor");
    await button(editor, "Set All to Read-Only").click();
    await editor.getByText("Gives read access to everything: 78 more", { exact: true }).waitFor();
    await button(editor, "Patient Profile API").click();
    await editor.getByRole("checkbox", { name: "Patients: write", exact: true }).check();
    await editor.getByText("Gives read access to everything: 78 more. Adds 1 write", { exact: true }).waitFor();
    await editor.getByText("11 of 20").waitFor();
    await record(page, "07-editor-open");
    await button(editor, "Save").click();
    await page.getByText("are in effect now").waitFor();
    await editor.waitFor({ state: "detached" });
    const row = page.getByRole("row", { name: /Lab results sync/ });
    await row.getByText("78 read, 1 write").waitFor();
    await row.getByText("Never used").waitFor();

    // The secret works, and using it shows.
    const token = await admin.context.request.post(`${server.base}/oauth2/token`, {
      form: { grant_type: "client_credentials", client_id: clientId, client_secret: secret },
    });
    assert.equal(token.status(), 200);
    await makeKey(admin, server, "Old migration script", { scopes: ["apiv2"] });
    await makeKey(admin, server, "Patient portal", { apiType: "fhir", scopes: ["system/*.read", "system/Patient.read"] });
    await open(admin);
    await record(page, "08-list");

    await button(page, "Delete Lab results sync").click();
    const remove = page.getByRole("alertdialog", { name: /Lab results sync/ });
    await remove.getByText("This cannot be undone.").waitFor();
    await record(page, "09-delete");
    await button(remove, "Cancel").click();
    await remove.waitFor({ state: "detached" });
    assert.ok(await button(page, "Delete Lab results sync").evaluate((it) => it === document.activeElement), "focus goes back");
    await button(page, "Delete Lab results sync").click();
    await button(remove, "Delete").click();
    await page.getByText("“Lab results sync” was deleted. It has stopped working.").waitFor();
    assert.equal(await row.count(), 0);
    await record(page, "10-deleted");

    const refused = await admin.context.request.post(`${server.base}/oauth2/token`, {
      form: { grant_type: "client_credentials", client_id: clientId, client_secret: secret },
    });
    assert.equal(refused.status(), 401);
    assert.ok(!SECRET.test(await kept(page)));
    assert.ok(!admin.heard.some((text) => SECRET.test(text)));
    await admin.leave();
  });

  it("by keyboard alone", async () => {
    const admin = await person(server, "birch-admin");
    const { page } = admin;
    await open(admin);
    const focusIsOn = (name) => page.waitForFunction((wanted) => {
      const it = document.activeElement;
      const names = [it.getAttribute("aria-label"), it.labels?.[0]?.textContent, it.textContent, it.placeholder];
      return names.some((each) => each?.trim() === wanted);
    }, name);
    const tabTo = async (name) => {
      for (let presses = 0; presses < 60; presses++) {
        await page.keyboard.press("Tab");
        const at = await page.evaluate(() => {
          const it = document.activeElement;
          return [it.getAttribute("aria-label"), it.labels?.[0]?.textContent, it.textContent, it.placeholder];
        });
        if (at.some((each) => each?.trim() === name)) return;
      }
      assert.fail(`Tab does not reach ${name}`);
    };
    await tabTo("Create API Key");
    await page.keyboard.press("Enter");
    await focusIsOn("Name");
    await page.keyboard.type("Keyboard key");
    await tabTo("Elation APIv2");
    await page.keyboard.press("ArrowDown");
    await focusIsOn("FHIR");
    await tabTo("Create");
    await page.keyboard.press("Enter");
    await focusIsOn("API Key Created");
    await tabTo("I have saved my credentials securely");
    await page.keyboard.press("Space");
    await tabTo("Close and Edit Scopes");
    await page.keyboard.press("Enter");
    await focusIsOn("Search scopes");
    await page.keyboard.type("Patient");
    await dialog(page, "Edit Scopes").getByText(/\d+ resources? found/).waitFor({ state: "attached" });
    assert.ok(await dialog(page, "Edit Scopes").getByRole("checkbox", { name: "FHIR Resources", exact: true }).isDisabled(), "no bulk ticks while filtering");
    await tabTo("Patient: read");
    await page.keyboard.press("Space");
    await tabTo("Save");
    await page.keyboard.press("Enter");
    await focusIsOn("Scopes of Keyboard key");
    await page.getByText("1 read", { exact: true }).waitFor();
    await tabTo("Delete Keyboard key");
    await page.keyboard.press("Enter");
    await focusIsOn("Cancel");
    await page.keyboard.press("Escape");
    await focusIsOn("Delete Keyboard key");
    await page.keyboard.press("Enter");
    await tabTo("Delete");
    await page.keyboard.press("Enter");
    await focusIsOn("No API keys yet");
    await admin.leave();
  });

  it("a key's page by keyboard alone: rename, rotate, end, disable, enable, delete", async () => {
    const admin = await person(server, "birch-admin");
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "By keys", { scopes: ["system/patients.read"] });
    await open(admin);
    const focusIsOn = (name) => page.waitForFunction((expected) => {
      const it = document.activeElement;
      return (it.getAttribute("aria-label") ?? it.labels?.[0]?.textContent ?? it.textContent).trim() === expected;
    }, name);
    const tabTo = async (name) => {
      for (let presses = 0; presses < 40; presses++) {
        await page.keyboard.press("Tab");
        const at = await page.evaluate(() => (document.activeElement.getAttribute("aria-label") ?? document.activeElement.labels?.[0]?.textContent ?? document.activeElement.textContent).trim());
        if (at === name) return;
      }
      assert.fail(`Tab does not reach ${name}`);
    };
    const press = (key) => page.keyboard.press(key);
    await tabTo("By keys");
    await press("Enter");
    await page.getByRole("heading", { name: "By keys" }).waitFor();
    await tabTo("Rename");
    await press("Enter");
    await focusIsOn("Name");
    await page.keyboard.type("By keys alone");
    await press("Enter");
    await focusIsOn("Rename");
    await page.getByRole("heading", { name: "By keys alone" }).waitFor();

    await tabTo("Rotate secret");
    await press("Enter");
    await focusIsOn("In 1 day");
    await press("ArrowRight");
    await focusIsOn("In 7 days");
    await press("Enter");
    await focusIsOn("New Secret Created");
    await tabTo("I have saved my credentials securely");
    await press("Space");
    await tabTo("Done");
    await press("Enter");
    await focusIsOn("Rotate secret");
    const end = `End now: secret ${credential.secrets[0].selector}`;
    await page.getByRole("button", { name: end }).waitFor();
    await tabTo(end);
    await press("Enter");
    await focusIsOn("Cancel");
    await press("Escape");
    await focusIsOn(end);
    await press("Enter");
    await focusIsOn("Cancel");
    await tabTo("End now");
    await press("Enter");
    await focusIsOn("Rotate secret");
    await page.getByText("has ended.").waitFor();

    await page.reload();
    await page.getByRole("heading", { name: "By keys alone" }).waitFor();
    await tabTo("Disable");
    await press("Enter");
    await focusIsOn("Cancel");
    await tabTo("Disable");
    await press("Enter");
    await focusIsOn("Enable");
    await press("Enter");
    await focusIsOn("Disable");
    await tabTo("Delete");
    await press("Enter");
    await focusIsOn("Cancel");
    await tabTo("Delete");
    await press("Enter");
    await focusIsOn("By keys alone");
    await page.getByText("“By keys alone” was deleted.").waitFor();
    await admin.leave();
  });

  for (const [words, options] of [["on a phone, 375 px", { viewport: PHONE, touch: true }], ["at 320 px in the dark", { viewport: { width: 320, height: 640 }, dark: true }]]) {
    it(words, async () => {
      const admin = await person(server, "alder-admin", options);
      const { page } = admin;
      await open(admin);
      const name = `Pocket ${"W".repeat(90)}`;
      const made = await createByHand(page, name);
      await assertNoSidewaysScroll(page, "created");
      await made.getByRole("checkbox").check();
      await button(made, "Done").click();
      await button(page, `Scopes of ${name}`).click();
      const editor = dialog(page, "Edit Scopes");
      await editor.getByRole("checkbox", { name: "Scheduling API", exact: true }).check();
      await editor.getByText("Adds 3 read, 3 write", { exact: true }).waitFor();
      await assertNoSidewaysScroll(page, "editor");
      await button(editor, "Save").click();
      await page.getByText("3 read, 3 write", { exact: true }).waitFor();
      await assertAccessible(page, words);
      await button(page, `Delete ${name}`).click();
      await button(page.getByRole("alertdialog"), "Delete").click();
      await page.getByText(`“${name}” was deleted`).waitFor();
      await assertNoSidewaysScroll(page, "list");
      await admin.leave();
    });
  }
});

describe("the secret", () => {
  onServer();

  it("is not lost by Escape, a click outside, back or reload", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    await open(admin);
    const made = await createByHand(page, "Careful");
    const warning = made.getByText("Save the secret first.");
    for (let twice = 0; twice < 3; twice++) await page.keyboard.press("Escape");
    await warning.waitFor();
    await record(page, "05-created-warned");
    await page.mouse.click(5, 5);
    // What a phone's back gesture does, whatever the page said.
    await page.evaluate(() => document.querySelector("dialog").close());
    assert.ok(await made.evaluate((it) => it.matches(":modal")), "it comes back");
    assert.ok(await made.isVisible());
    assert.ok(await warning.isVisible());

    for (const way of ["reload", "back"]) {
      const asked = page.waitForEvent("dialog");
      const left = page.evaluate((how) => (how === "back" ? history.back() : location.reload()), way);
      const prompt = await asked;
      assert.equal(prompt.type(), "beforeunload", way);
      await prompt.dismiss();
      await left;
    }
    assert.match(await made.innerText(), SECRET);

    await made.getByRole("checkbox").check();
    await page.keyboard.press("Escape");
    await made.waitFor({ state: "detached" });
    assert.ok(!SECRET.test(await kept(page)), "the secret is still somewhere in the page");
    const late = [];
    page.on("dialog", (prompt) => {
      late.push(prompt.type());
      return prompt.accept();
    });
    await page.reload();
    assert.deepEqual(late, [], "nothing asks any more");
    await admin.leave();
  });

  it("leaves with the page", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    await open(admin);
    await createByHand(page, "Hurried");
    page.on("dialog", (prompt) => prompt.accept());
    await page.goto("about:blank");
    await page.goBack();
    await page.getByText("Hurried", { exact: true }).waitFor();
    assert.ok(!SECRET.test(await kept(page)));
    await admin.leave();
  });
});
