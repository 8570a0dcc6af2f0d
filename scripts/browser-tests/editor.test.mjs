// The scope editor: what its buttons tick, and edits that meet.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { button, dialog, makeKey, person, record } from "./harness.mjs";
import { onServer, open, scopesOf, server } from "./steps.mjs";

describe("the scope editor", () => {
  onServer();

  async function edit(admin, name) {
    await open(admin);
    await button(admin.page, `Scopes of ${name}`).click();
    const editor = dialog(admin.page, "Edit Scopes");
    await editor.waitFor();
    return editor;
  }

  it("counts, and its categories go mixed, all, none", async () => {
    const admin = await person(server, "alder-admin");
    const { credential } = await makeKey(admin, server, "Tri", { scopes: ["system/bills.read"] });
    const editor = await edit(admin, "Tri");
    const billing = editor.getByRole("checkbox", { name: "Billing API", exact: true });
    const state = () => billing.evaluate((box) => (box.indeterminate ? "mixed" : box.checked));
    assert.equal(await state(), "mixed");
    await billing.click();
    assert.equal(await state(), true);
    await billing.click();
    assert.equal(await state(), false);
    await editor.getByText("Removes 1 read. This key cannot call anything yet.").waitFor();
    await editor.getByRole("checkbox", { name: "Reference Data API", exact: true }).check();
    await editor.getByText("5 of 5").waitFor();
    await button(editor, "Reference Data API").click();
    assert.ok((await editor.getByText("Read only", { exact: true }).count()) >= 5);
    await button(editor, "Save").click();
    await editor.waitFor({ state: "detached" });
    assert.equal((await scopesOf(admin, credential.id)).length, 5);
    await admin.leave();
  });

  it("no button ticks what is broad, and less is really less", async () => {
    const admin = await person(server, "alder-admin");
    const { credential } = await makeKey(admin, server, "Broad", { scopes: ["apiv2", "act_as_user"] });
    const editor = await edit(admin, "Broad");
    const { page } = admin;
    const full = editor.getByRole("checkbox", { name: "Full access", exact: true });
    const user = editor.getByRole("checkbox", { name: "Act as a user", exact: true });
    assert.ok(await full.isChecked());
    assert.ok(await editor.getByRole("checkbox", { name: "Billing API", exact: true }).isDisabled());
    await record(page, "11-editor-full-access");
    assert.equal(await button(editor, "Remove write access").count(), 0, "full access has no half that reads");
    await full.uncheck();
    await user.uncheck();
    for (const category of await editor.locator("[data-category]").all()) await category.check();
    await editor.getByText("Gives read access to everything: 78 more. Adds 73 write, removes full access, act as a user").waitFor();
    assert.ok(!(await full.isChecked()) && !(await user.isChecked()));
    await button(editor, "Remove write access").click();
    await editor.getByText("Gives read access to everything: 78 more. Removes full access").waitFor();
    assert.ok(!(await button(editor, "Remove write access").isVisible()), "nothing left to remove");
    await button(editor, "Save").click();
    await editor.waitFor({ state: "detached" });
    const scopes = await scopesOf(admin, credential.id);
    assert.equal(scopes.length, 78);
    assert.ok(scopes.every((scope) => scope.endsWith(".read")));
    await admin.leave();
  });

  it("does not save acting as a user alone", async () => {
    const admin = await person(server, "alder-admin");
    await makeKey(admin, server, "Lonely");
    const editor = await edit(admin, "Lonely");
    await editor.getByRole("checkbox", { name: "Act as a user", exact: true }).check();
    await button(editor, "Save").click();
    await editor.getByText("gives no access by itself").waitFor();
    await button(editor, "Cancel").click();
    await admin.leave();
  });

  it("two tabs edit one key: both are told, nothing is lost", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [412] });
    const { credential } = await makeKey(admin, server, "Shared", { scopes: ["system/bills.read"] });
    const first = await edit(admin, "Shared");
    const other = { ...admin, page: await admin.context.newPage() };
    const second = await edit(other, "Shared");
    await second.getByRole("checkbox", { name: "Messaging API", exact: true }).check();
    await button(second, "Save").click();
    await second.waitFor({ state: "detached" });

    await first.getByRole("checkbox", { name: "Insurance API", exact: true }).check();
    await button(first, "Save").click();
    await first.getByText("Somebody else changed these scopes while you were editing.").waitFor();
    assert.ok(await first.getByRole("checkbox", { name: "Insurance API", exact: true }).isChecked(), "the selection is kept");
    await first.getByText("Adds 2 read, 2 write, removes 3 read, 3 write").waitFor();
    await record(admin.page, "12-editor-conflict");
    await button(first, "Combine both").click();
    await first.getByText("Adds 2 read, 2 write", { exact: true }).waitFor();
    await button(first, "Save").click();
    await first.waitFor({ state: "detached" });
    assert.equal((await scopesOf(admin, credential.id)).length, 11);
    await admin.leave();
  });

  it("a key deleted meanwhile is said so", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [409] });
    const { credential } = await makeKey(admin, server, "Doomed");
    const editor = await edit(admin, "Doomed");
    await editor.getByRole("checkbox", { name: "Billing API", exact: true }).check();
    await admin.context.request.delete(`${server.base}/api-access/v1/credentials/${credential.id}`);
    await button(editor, "Save").click();
    await editor.getByText("This key was deleted in the meantime").waitFor();
    await button(editor, "Cancel").click();
    await editor.waitFor({ state: "detached" });
    assert.equal(await button(admin.page, "Scopes of Doomed").count(), 0);
    await admin.leave();
  });

  it("Escape asks before changes are lost; a search is cleared first", async () => {
    const admin = await person(server, "alder-admin");
    await makeKey(admin, server, "Escapee");
    const editor = await edit(admin, "Escapee");
    await editor.getByRole("checkbox", { name: "Billing API", exact: true }).check();
    const search = editor.getByRole("searchbox", { name: "Search scopes" });
    await search.fill("zzz");
    await editor.getByText("No scope matches “zzz”.").waitFor();
    await record(admin.page, "13-editor-nothing-found");
    await search.press("Escape");
    assert.equal(await search.inputValue(), "");
    await search.press("Escape");
    await editor.getByText("You have changes that are not saved.").waitFor();
    await button(editor, "Keep editing").click();
    assert.ok(await editor.getByRole("checkbox", { name: "Billing API", exact: true }).isChecked());
    await admin.page.keyboard.press("Escape");
    await button(editor, "Discard changes").click();
    await editor.waitFor({ state: "detached" });
    await admin.leave();
  });
});
