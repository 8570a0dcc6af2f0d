// How little it takes: clicks of what people do most, and bytes of the first view.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { button, dialog, makeKey, person } from "./harness.mjs";
import { SECRET, onServer, open, scopesOf, server } from "./steps.mjs";

/** Clicks that are counted. */
function counter() {
  const count = { clicks: 0 };
  return { count, click: async (locator) => {
    count.clicks += 1;
    await locator.click();
  } };
}

describe("clicks", () => {
  onServer();

  it("a key with three scopes takes eight", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    await open(admin);
    const { count, click } = counter();
    await click(button(page, "Create API Key"));
    const create = dialog(page, "Create API Key");
    await create.getByRole("textbox", { name: "Name" }).waitFor();
    await page.keyboard.type("Three scopes");
    await click(create.getByRole("radio", { name: "Elation APIv2", exact: true }));
    await click(button(create, "Create"));
    const made = dialog(page, "API Key Created");
    await click(made.getByRole("checkbox"));
    await click(button(made, "Close and Edit Scopes"));
    const editor = dialog(page, "Edit Scopes");
    await click(button(editor, "Paste scopes"));
    await page.keyboard.insertText("system/patients.read system/bills.read system/bills.write");
    await click(button(editor, "Add"));
    await click(button(editor, "Save"));
    await page.getByText("are in effect now").waitFor();
    const { items: [{ id }] } = await (await admin.context.request.get(`${server.base}/api-access/v1/credentials`)).json();
    assert.equal((await scopesOf(admin, id)).length, 3);
    assert.ok(count.clicks <= 8, `${count.clicks} clicks`);
    await admin.leave();
  });

  it("a key that was never used is found with one, a leaked one stopped with three", async () => {
    const admin = await person(server, "birch-admin");
    const { page } = admin;
    await makeKey(admin, server, "Innocent");
    const { client_secret: secret } = await makeKey(admin, server, "Leaked");
    await open(admin);
    const finding = counter();
    await finding.click(button(page, "Never used 2"));
    assert.deepEqual((await page.locator(".keys .name").allInnerTexts()).sort(), ["Innocent", "Leaked"]);
    assert.equal(finding.count.clicks, 1);

    assert.match(secret, SECRET);
    await page.evaluate((text) => navigator.clipboard.writeText(text), secret);
    const { count, click } = counter();
    await click(page.getByRole("searchbox", { name: "Search keys" }));
    await page.keyboard.press("Control+V");
    await click(button(page, "Delete “Leaked”"));
    await click(button(page.getByRole("alertdialog"), "Delete"));
    await page.getByText("“Leaked” was deleted. It has stopped working.").waitFor();
    assert.ok(count.clicks <= 3, `${count.clicks} clicks`);
    await admin.leave();
  });
});

describe("the first view", () => {
  onServer();

  it("of 100 keys takes at most 100 KiB on the wire, and no file that it does not need", async (t) => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    const scopes = ["system/patients.read", "system/bills.read", "system/bills.write"];
    for (let number = 0; number < 100; number++) await makeKey(admin, server, `Integration number ${number}`, { scopes });
    const session = await admin.context.newCDPSession(page);
    await session.send("Network.enable");
    const urls = new Map();
    const sizes = new Map();
    session.on("Network.responseReceived", ({ requestId, response }) => urls.set(requestId, new URL(response.url).pathname));
    session.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => sizes.set(urls.get(requestId), encodedDataLength));
    await open(admin);
    await page.waitForLoadState("networkidle");
    assert.equal(await page.locator(".keys tbody tr").count(), 100);
    const total = [...sizes.values()].reduce((sum, size) => sum + size, 0);
    for (const [path, size] of sizes) t.diagnostic(`${path.replace(/\/assets\/\w+/, "")}: ${size} bytes`);
    t.diagnostic(`the first view of 100 keys: ${total} bytes on the wire`);
    assert.ok(total > 20_000 && total <= 100 * 1024, `${total} bytes`);
    for (const later of ["editor.js", "key.js", "create.js", "key-use.js", "dialog.js"]) assert.ok(![...urls.values()].some((path) => path.endsWith(`/${later}`)), later);
    await admin.leave();
  });
});
