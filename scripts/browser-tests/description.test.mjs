// What admins write about a key: by keyboard, in little room, beside somebody else's edit.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { API, assertNoSidewaysScroll, button, dialog, makeKey, person, record } from "./harness.mjs";
import { fillCreate, focused, kept, onServer, open, openKey, server } from "./steps.mjs";

const at = ({ id }) => `${server.base}/api-access/v1/credentials/${id}`;
const stored = async (admin, key) => (await (await admin.context.request.get(at(key))).json()).description;
const box = (where) => where.getByRole("textbox", { name: "Description", exact: true });

describe("a description", () => {
  onServer();

  it("is added, changed and removed by keyboard; its lines are kept and its markup is text", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "Described");
    await openKey(admin, credential);
    await button(page, "Rename").focus();
    await page.keyboard.press("Tab");
    assert.equal(await focused(page), "Add a description");
    await page.keyboard.press("Enter");
    const edit = dialog(page, "Description");
    await edit.waitFor();
    assert.equal(await focused(page), "Description");
    await page.keyboard.type("Nightly sync\nAsk <b>Dr. Lee</b> & the lab");
    await record(page, "57-description");
    await page.keyboard.press("Tab");
    assert.equal(await focused(page), "Cancel");
    await page.keyboard.press("Tab");
    assert.equal(await focused(page), "Save");
    await page.keyboard.press("Enter");
    await page.getByText("The description of “Described” is saved.").waitFor();
    assert.equal(await focused(page), "Edit description");
    const shown = page.locator("#key p.description");
    assert.equal(await shown.innerText(), "Nightly sync\nAsk <b>Dr. Lee</b> & the lab");
    assert.equal(await shown.locator("*").count(), 0);
    assert.equal(await stored(admin, credential), "Nightly sync\nAsk <b>Dr. Lee</b> & the lab");
    await page.getByRole("region", { name: "Activity" }).getByText("Description changed").waitFor();
    await record(page, "58-described");

    await button(page, "Edit description").press("Enter");
    assert.equal(await box(edit).inputValue(), "Nightly sync\nAsk <b>Dr. Lee</b> & the lab");
    await box(edit).fill("another");
    await page.keyboard.press("Escape");
    await edit.waitFor({ state: "detached" });
    assert.equal(await focused(page), "Edit description");
    await button(page, "Edit description").press("Enter");
    await box(edit).fill(" ");
    await button(edit, "Save").press("Enter");
    await page.getByText("“Described” has no description any more.").waitFor();
    assert.equal(await focused(page), "Add a description");
    assert.equal(await shown.count(), 0);
    await admin.leave();
  });

  it("is refused where it is wrong, and keeps what was written", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [422, "net::ERR_FAILED"] });
    const { page } = admin;
    const { credential, client_secret: secret } = await makeKey(admin, server, "Refused");
    await openKey(admin, credential);
    await button(page, "Add a description").click();
    const edit = dialog(page, "Description");
    await box(edit).fill("é".repeat(501));
    await button(edit, "Save").click();
    await edit.getByText("Use at most 500 characters; this text has 501.").waitFor();
    assert.equal(await focused(page), "Description");
    assert.equal(await box(edit).getAttribute("aria-invalid"), "true");
    await box(edit).fill("turned \u202e around");
    await button(edit, "Save").click();
    await edit.getByText("The text has characters that cannot be seen or typed.").waitFor();

    await box(edit).fill("Ask Dr. Lee. ");
    await page.evaluate((text) => navigator.clipboard.writeText(text), secret);
    await box(edit).press("Control+V");
    await edit.getByText("This looks like a secret. Do not enter it here.").waitFor();
    assert.equal(await box(edit).inputValue(), "Ask Dr. Lee. ", "what was written before stays");
    assert.ok(!(await kept(page)).includes(secret.slice(30)));

    await box(edit).press("End");
    await page.keyboard.type("Twice.");
    await page.route(`${API}/credentials/${credential.id}`, (route) => (route.request().method() === "PATCH" ? route.abort() : route.continue()));
    await button(edit, "Save").click();
    await edit.getByText("It is not known whether the description was saved.").waitFor();
    await record(page, "59-description-lost");
    await page.unrouteAll();
    await button(edit, "Save").click();
    await page.getByText("The description of “Refused” is saved.").waitFor();
    assert.equal(await stored(admin, credential), "Ask Dr. Lee. Twice.");
    await admin.leave();
  });

  it("does not replace somebody else's unseen", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [412] });
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "Shared");
    const elsewhere = (data) => admin.context.request.patch(at(credential), { data, headers: { "If-Match": "*" } });
    await openKey(admin, credential);
    await button(page, "Add a description").click();
    const edit = dialog(page, "Description");
    await box(edit).fill("Mine");
    await elsewhere({ name: "Shared by two" });
    await button(edit, "Save").click();
    await edit.getByText("Somebody else changed this key in the meantime, but not its description.").waitFor();
    await elsewhere({ description: "Theirs <i>first</i>\nand second" });
    await button(edit, "Save").click();
    await edit.getByText("Somebody else changed the description in the meantime. It now reads:").waitFor();
    assert.equal(await edit.locator(".theirs").innerText(), "Theirs <i>first</i>\nand second");
    assert.equal(await box(edit).inputValue(), "Mine");
    assert.equal(await stored(admin, credential), "Theirs <i>first</i>\nand second", "nothing is overwritten unseen");
    await record(page, "60-description-stale");
    await elsewhere({ description: "" });
    await button(edit, "Save").click();
    await edit.getByText("Somebody else removed the description in the meantime.").waitFor();
    await button(edit, "Save").click();
    await page.getByText("The description of “Shared by two” is saved.").waitFor();
    assert.equal(await stored(admin, credential), "Mine");
    await admin.leave();
  });

  it("can be given at creation, and is not in the way of it", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    await open(admin);
    const create = await fillCreate(page, "Born described");
    assert.equal(await create.getByRole("textbox").count(), 1, "the name is all that is asked for at first");
    await create.getByText("Add a description", { exact: true }).focus();
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    assert.equal(await focused(page), "Description");
    await box(create).fill("x".repeat(501));
    await create.getByText("Add a description", { exact: true }).click();
    await box(create).waitFor({ state: "hidden" });
    await button(create, "Create").click();
    await create.getByText("Use at most 500 characters; this text has 501.").waitFor();
    assert.equal(await focused(page), "Description", "a fault opens what hides it");
    await box(create).fill("Two\nlines");
    await record(page, "61-create-described");
    await button(create, "Create").click();
    await dialog(page, "API Key Created").getByRole("checkbox").check();
    await page.keyboard.press("Escape");
    const { items } = await (await admin.context.request.get(`${server.base}/api-access/v1/credentials`)).json();
    assert.equal(items.find(({ name }) => name === "Born described").description, "Two\nlines");
    await admin.leave();
  });

  for (const [words, options] of [["320×256, 400 % zoom", { viewport: { width: 320, height: 256 } }], ["a default font of 32 px", { font: 32 }]]) {
    it(`in little room: ${words}`, async () => {
      const admin = await person(server, "alder-admin", options);
      const { page } = admin;
      const { credential } = await makeKey(admin, server, `Little room, ${words}`);
      await openKey(admin, credential);
      await button(page, "Add a description").click();
      const edit = dialog(page, "Description");
      await box(edit).fill(`${"Averylongwordwithoutanybreak".repeat(6)}\nEnd`);
      for (const name of ["Cancel", "Save"]) {
        await page.keyboard.press("Tab");
        assert.equal(await focused(page), name);
        const { top, bottom } = await button(edit, name).evaluate((it) => it.getBoundingClientRect());
        assert.ok(top >= 0 && bottom <= page.viewportSize().height, `${name} has the focus and is not seen`);
      }
      await page.keyboard.press("Enter");
      await page.getByText("is saved.").waitFor();
      await assertNoSidewaysScroll(page, words);
      await admin.leave();
    });
  }
});
