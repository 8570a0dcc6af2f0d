// Where little room is left, zoomed in or on a phone's side, everything can still be reached and used.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { assertNoSidewaysScroll, button, dialog, makeKey, person, picture } from "./harness.mjs";
import { createByHand, fillCreate, onServer, open, openKey, scopesOf, server } from "./steps.mjs";

const SIZES = [
  ["320×256, 400 % zoom", { viewport: { width: 320, height: 256 } }],
  ["640×360, 200 % zoom", { viewport: { width: 640, height: 360 } }],
  ["667×375, a phone on its side", { viewport: { width: 667, height: 375 }, touch: true }],
  ["a default font of 32 px", { viewport: { width: 1280, height: 860 }, font: 32 }],
];

/** Turns the wheel over the middle of the window until the element is wholly seen, as a person would. */
async function wheelTo(page, locator) {
  const { width, height } = page.viewportSize();
  await page.mouse.move(width / 2, height / 2);
  const isAbove = await locator.evaluate((it) => it.getBoundingClientRect().top < 0);
  for (const step of isAbove ? [-120, 90] : [120, -90]) {
    for (let turns = 0; turns < 250; turns++) {
      const isSeen = await locator.evaluate((it) => {
        const box = it.getBoundingClientRect();
        if (box.top < 0 || box.bottom > innerHeight || box.left < 0 || box.right > innerWidth) return false;
        const at = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
        return it.contains(at) || at?.contains(it) === true;
      });
      if (isSeen) return;
      await page.mouse.wheel(0, step);
      await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    }
  }
  assert.fail(`the wheel does not reach ${locator}`);
}

/** Scrolls there by wheel and clicks where it is seen: no help from the driver, which can click anything. */
async function wheelAndClick(page, locator) {
  await wheelTo(page, locator);
  const box = await locator.boundingBox();
  await page.mouse.click(box.x + box.width / 2, box.y + box.height / 2);
}

/** Tab goes through every control of a dialog, and each is seen when it has the focus. */
async function assertTabReaches(page, where, names) {
  const reached = new Set();
  await where.locator("h1, h2").first().focus();
  for (let presses = 0; presses < 120; presses++) {
    await page.keyboard.press("Tab");
    const { name, isSeen } = await page.evaluate(() => {
      const it = document.activeElement;
      const box = it.getBoundingClientRect();
      const inside = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
      const at = document.elementFromPoint(Math.min(innerWidth - 1, Math.max(0, box.left + box.width / 2)), Math.min(innerHeight - 1, Math.max(0, box.top + Math.min(box.height / 2, innerHeight / 2))));
      return { name: it.getAttribute("aria-label") ?? it.labels?.[0]?.textContent ?? it.textContent, isSeen: it === document.body || (inside && (it.contains(at) || at?.contains(it) === true)) };
    });
    assert.ok(isSeen, `“${name}” has the focus and is not seen`);
    reached.add(name.trim());
    if (names.every((wanted) => reached.has(wanted))) return;
  }
  assert.fail(`Tab reaches ${[...reached].join(", ")}; not all of ${names.join(", ")}`);
}

describe("little room", () => {
  onServer();

  for (const [words, options] of SIZES) {
    it(words, async () => {
      const admin = await person(server, "alder-admin", options);
      const { page } = admin;
      const name = `Zoomed ${words}`;
      await open(admin);
      await assertNoSidewaysScroll(page, "list");

      // Create, with every message that it can show.
      const create = await fillCreate(page, "");
      await create.getByText("Advanced", { exact: true }).waitFor(); // it moves what is below it
      await wheelAndClick(page, button(create, "Create"));
      await create.getByText("Enter a name.").waitFor();
      await create.getByLabel("Name").fill(name);
      await assertTabReaches(page, create, ["Name", "Elation APIv2", "Never", "Cancel", "Create"]);
      await wheelAndClick(page, button(create, "Create"));
      const made = dialog(page, "API Key Created");
      await made.waitFor();
      await page.keyboard.press("Escape"); // so that its warning takes room too
      await picture(page, `zoom-created-${words.slice(0, 7)}`);
      for (const label of ["Client ID", "Client Secret"]) await wheelTo(page, made.getByRole("group", { name: label }).locator("code"));
      await wheelAndClick(page, button(made, "Download Credentials"));
      await wheelAndClick(page, made.getByRole("checkbox"));
      await assertTabReaches(page, made, ["Copy Client Secret", "Download Credentials", "Done", "Close and Edit Scopes"]);
      await wheelAndClick(page, button(made, "Close and Edit Scopes"));

      // The editor: the last category, a note on top of everything, and Save.
      const editor = dialog(page, "Edit Scopes");
      await editor.waitFor();
      await assertNoSidewaysScroll(page, "editor");
      const last = editor.locator(".category").last();
      await wheelAndClick(page, last.getByRole("button"));
      await wheelAndClick(page, last.locator("[data-scope]").last());
      await page.keyboard.press("Escape");
      await editor.getByText("You have changes that are not saved.").waitFor();
      await picture(page, `zoom-editor-${words.slice(0, 7)}`);
      await wheelTo(page, editor.getByText("You have changes that are not saved."));
      await wheelAndClick(page, editor.locator(".category").first().getByRole("button"));
      await wheelTo(page, editor.getByRole("checkbox", { name: "Full access", exact: true }));
      await wheelAndClick(page, button(editor, "Paste scopes"));
      await editor.getByLabel("Scopes", { exact: true }).fill("system/patients.read");
      await wheelAndClick(page, button(editor, "Add"));
      await assertTabReaches(page, editor, ["Search scopes", "Set All to Read-Only", "Scopes", "Add", "Patient Profile API", "Full access", "Cancel", "Save"]);
      await wheelAndClick(page, button(editor, "Save"));
      await page.getByText("are in effect now").waitFor();
      await editor.waitFor({ state: "detached" });
      const { items } = await (await admin.context.request.get(`${server.base}/api-access/v1/credentials`)).json();
      const { id } = items.find((key) => key.name === name);
      assert.equal((await scopesOf(admin, id)).length, 2);

      await wheelAndClick(page, button(page, `Delete ${name}`));
      const remove = page.getByRole("alertdialog");
      await assertTabReaches(page, remove, ["Cancel", "Delete"]);
      await wheelAndClick(page, button(remove, "Delete"));
      await page.getByText(`“${name}” was deleted.`).waitFor();
      await assertNoSidewaysScroll(page, "list after");
      await admin.leave();
    });
  }

  for (const [words, options] of [...SIZES, ["1280×800", { viewport: { width: 1280, height: 800 } }]]) {
    it(`a key's page: ${words}`, async () => {
      const admin = await person(server, "birch-admin", options);
      const { page } = admin;
      const name = `Its own page, ${words}`;
      const { credential } = await makeKey(admin, server, name, { scopes: ["system/patients.read", "system/bills.write"] });
      await openKey(admin, credential);
      await page.locator(".events li").waitFor();
      await assertNoSidewaysScroll(page, "key");
      await picture(page, `zoom-key-${words.slice(0, 7)}`);

      await wheelAndClick(page, button(page, "Rotate secret"));
      const rotate = dialog(page, "Rotate secret");
      await rotate.waitFor();
      await assertTabReaches(page, rotate, ["In 1 day", "Cancel", "Rotate"]);
      await wheelAndClick(page, rotate.getByRole("radio", { name: "In 7 days", exact: true }));
      await picture(page, `zoom-rotate-${words.slice(0, 7)}`);
      await wheelAndClick(page, button(rotate, "Rotate"));
      const made = dialog(page, "New Secret Created");
      await made.waitFor();
      await page.keyboard.press("Escape");
      for (const label of ["Client ID", "Client Secret"]) await wheelTo(page, made.getByRole("group", { name: label }).locator("code"));
      await wheelAndClick(page, made.getByRole("checkbox"));
      await assertTabReaches(page, made, ["Copy Client Secret", "Download Credentials", "Done"]);
      await wheelAndClick(page, button(made, "Done"));
      await made.waitFor({ state: "detached" });

      const [old] = credential.secrets;
      await page.getByRole("listitem").filter({ hasText: "ends" }).first().waitFor();
      await wheelAndClick(page, page.getByRole("button", { name: new RegExp(`^End now.*${old.selector}`) }));
      const ask = page.getByRole("alertdialog");
      await ask.waitFor();
      await assertTabReaches(page, ask, ["Cancel", "End now"]);
      await wheelAndClick(page, button(ask, "End now"));
      await page.getByText("has ended.").waitFor();

      await wheelAndClick(page, button(page, "Change when it ends"));
      const change = dialog(page, "When Does It End?");
      await change.waitFor();
      await wheelAndClick(page, change.getByRole("radio", { name: "On a date", exact: true }));
      await change.getByLabel("Last day").fill("2099-01-01");
      await assertTabReaches(page, change, ["On a date", "Last day", "Cancel", "Save"]);
      await wheelAndClick(page, button(change, "Save"));
      await page.getByText("Active until").waitFor();

      await wheelAndClick(page, page.getByText("Advanced", { exact: true }));
      await page.getByRole("textbox", { name: /Address or network/ }).fill("203.0.113.0/24");
      await wheelAndClick(page, button(page, "Add"));
      await assertNoSidewaysScroll(page, "networks");
      await wheelAndClick(page, button(page, "Save addresses"));
      await page.getByText("works from the listed addresses only").waitFor();

      await wheelAndClick(page, button(page, "Disable"));
      await ask.waitFor();
      await wheelAndClick(page, button(ask, "Disable"));
      await page.getByText("Disabled since").waitFor();
      await wheelAndClick(page, button(page, "All activity"));
      await wheelTo(page, page.getByRole("listitem").filter({ hasText: "Created" }));
      await assertTabReaches(page, page.locator("#key"), ["Rename", "Enable", "Delete", "Scopes", "Rotate secret", "Remove 203.0.113.0/24"]);
      await wheelAndClick(page, button(page, "Delete"));
      await ask.waitFor();
      await assertTabReaches(page, ask, ["Cancel", "Delete"]);
      await wheelAndClick(page, button(ask, "Delete"));
      await page.getByText("was deleted.").waitFor();
      await assertNoSidewaysScroll(page, "deleted");
      await admin.leave();
    });
  }

  it("a note with a lost answer leaves Create within reach at 640×360", async () => {
    const admin = await person(server, "alder-admin", { viewport: { width: 640, height: 360 }, expectStatus: ["net::ERR_FAILED"] });
    const { page } = admin;
    await open(admin);
    const create = await fillCreate(page, "Small and lost");
    await create.getByText("Advanced", { exact: true }).waitFor(); // it moves what is below it
    await page.route("**/api-access/v1/credentials", (route) => route.abort());
    await wheelAndClick(page, button(create, "Create"));
    await create.getByText("It is not known whether the key was created.").waitFor();
    await wheelTo(page, create.getByText("It is not known whether the key was created."));
    await wheelTo(page, create.getByLabel("Name"));
    await wheelTo(page, button(create, "Create"));
    await admin.leave();
  });
});
