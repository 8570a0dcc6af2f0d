// The list answers "which key?": order, chips, search, a pasted secret, and room for names.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, it } from "node:test";
import { API, button, dialog, makeKey, person, picture, record } from "./harness.mjs";
import { SECRET, createByHand, focused, kept, onServer, open, openKey, sampleKey, server, summary } from "./steps.mjs";

const DAY = 86_400_000;
const daysAgo = (days) => (days === null ? null : new Date(Date.now() - days * DAY - 1000).toISOString());

/** Shows these keys instead of the server's. */
async function show(someone, keys) {
  await someone.page.unroute(`${API}/credentials?*`);
  await someone.page.route(`${API}/credentials?*`, (route) => route.fulfill({ json: { items: keys.map(summary), next_cursor: null } }));
  await open(someone);
}

const key = (number, changes) => ({ ...sampleKey(number), ...changes });
const names = (page) => page.locator(".keys .name").allInnerTexts();

describe("the list", () => {
  onServer();

  it("sorts by use and by age, and says so", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    await show(admin, [
      key(4, { name: "newest", created_at: daysAgo(1), last_used_at: daysAgo(0.5) }),
      key(3, { name: "never", created_at: daysAgo(2), last_used_at: null }),
      key(2, { name: "long ago", created_at: daysAgo(300), last_used_at: daysAgo(200) }),
      key(1, { name: "oldest", created_at: daysAgo(400), last_used_at: daysAgo(0.1) }),
    ]);
    const head = (name) => page.getByRole("columnheader", { name });
    assert.deepEqual(await names(page), ["newest", "never", "long ago", "oldest"]);
    assert.equal(await head("Created").getAttribute("aria-sort"), "descending");
    await button(page, "Last used").click();
    assert.deepEqual(await names(page), ["oldest", "newest", "long ago", "never"]);
    assert.equal(await head("Last used").getAttribute("aria-sort"), "descending");
    assert.equal(await head("Created").getAttribute("aria-sort"), null);
    await button(page, "Last used").click();
    assert.deepEqual(await names(page), ["never", "long ago", "newest", "oldest"]);
    assert.equal(await head("Last used").getAttribute("aria-sort"), "ascending");
    assert.equal(await focused(page), "Last used▲");
    await button(page, "Created").click();
    await button(page, "Created").click();
    assert.deepEqual(await names(page), ["oldest", "long ago", "never", "newest"]);
    await page.setViewportSize({ width: 375, height: 812 });
    await button(page, "Last used").click();
    assert.deepEqual(await names(page), ["oldest", "newest", "long ago", "never"], "on a phone too");
    await admin.leave();
  });

  it("counts on chips, and filters", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    await show(admin, [
      key(1, { name: "a", last_used_at: daysAgo(1), scopes: ["apiv2"] }),
      key(2, { name: "b", last_used_at: daysAgo(89) }),
      key(4, { name: "c", last_used_at: daysAgo(90) }),
      key(5, { name: "d", last_used_at: null, scopes: ["apiv2", "act_as_user"] }),
      key(7, { name: "e", last_used_at: null }),
    ]);
    for (const [chip, expected] of [
      ["In use 2", ["e", "d", "c", "b", "a"].filter((name) => "ab".includes(name))],
      ["Unused 90 days 1", ["c"]],
      ["Never used 2", ["e", "d"]],
      ["Full access 2", ["d", "a"]],
      ["All 5", ["e", "d", "c", "b", "a"]],
    ]) {
      await button(page, chip).click();
      assert.equal(await button(page, chip).getAttribute("aria-pressed"), "true");
      assert.equal(await page.locator('.chip[aria-pressed="true"]').count(), 1);
      assert.deepEqual((await names(page)).sort(), expected.sort(), chip);
      assert.equal(await focused(page), chip);
    }
    await button(page, "Unused 90 days 1").click();
    await record(page, "26-chips");
    await admin.leave();
  });

  it("holds a hundred keys on one page, so that the browser finds them", async () => {
    const admin = await person(server, "alder-admin");
    await show(admin, Array.from({ length: 100 }, (_, at) => sampleKey(at + 1)));
    assert.equal((await names(admin.page)).length, 100);
    assert.equal(await button(admin.page, "Next").count(), 0);
    await admin.leave();
  });

  it("finds decomposed letters, words in any order, and the client ID", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    await show(admin, [key(1, { name: "Mu\u0308ller Labor" }), key(2, { name: "Zürich" }), key(4, { name: "Other" })]);
    const search = page.getByRole("searchbox", { name: "Search keys" });
    for (const [query, found] of [["müller", 1], ["Zu\u0308rich", 1], ["labor müller", 1], ["LABOR", 1], [sampleKey(4).client_id.slice(-22), 1], ["nothing", 0]]) {
      await search.fill(query);
      await page.getByText(found === 1 ? "1 key" : "0 keys", { exact: true }).waitFor();
    }
    await admin.leave();
  });

  it("names have room: first, widest, and broken between words", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    await show(admin, [
      key(1, { name: "Appointment reminders and confirmations", last_used_at: daysAgo(1) }),
      key(2, { name: "Immunization registry interface", scopes: ["apiv2", "act_as_user"] }),
      key(3, { name: "Bulk export", created_by: "somebody.with.a.long.name@practice.example" }),
    ]);
    for (const width of [1089, 1100, 1160, 1240, 1280, 1600]) {
      await page.setViewportSize({ width, height: 860 });
      const widths = await page.locator(".keys tbody tr").first().locator("th, td").evaluateAll((cells) => cells.map((cell) => cell.getBoundingClientRect().width));
      assert.ok(widths.slice(1).every((other) => other < widths[0]), `${width} px: ${widths.map(Math.round)}`);
      const broken = await page.locator(".keys .name").evaluateAll((all) => all.flatMap((name) => {
        const text = name.firstChild;
        return [...text.data.matchAll(/\S+/g)].filter(({ 0: word, index }) => {
          const range = document.createRange();
          range.setStart(text, index);
          range.setEnd(text, index + word.length);
          return range.getClientRects().length > 1;
        }).map(([word]) => word);
      }));
      assert.deepEqual(broken, [], `${width} px: words broken in the middle`);
      const cut = await page.locator(".keys :is(th, td)").evaluateAll((cells) => cells.filter((cell) => cell.scrollWidth > cell.clientWidth + 1).map((cell) => cell.textContent));
      assert.deepEqual(cut, [], `${width} px: something is cut off`);
    }
    await picture(page, "27-names");
    await admin.leave();
  });

  it("says who made a key, whichever way their name and the key's are written", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    await show(admin, [key(1, { name: "מעבדה - תוצאות", created_by: "דנה" })]);
    await page.getByText("by דנה").waitFor();
    assert.equal(await page.locator(".keys .name").evaluate((name) => getComputedStyle(name).direction), "rtl");
    assert.equal(await page.locator(".keys .by bdi").evaluate((name) => getComputedStyle(name).direction), "rtl");
    await admin.leave();
  });

  it("has a line on where its keys work, a way back, and no tab stop without a use", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    await show(admin, [key(1)]);
    await page.getByText("Sandbox: keys made here do not work in production. Questions? Contact Elation support.").waitFor();
    await page.getByRole("navigation", { name: "Navigation" }).getByRole("link").first().waitFor();
    assert.equal(await page.locator("time[tabindex]").count(), 0);
    await page.emulateMedia({ media: "print" });
    assert.equal(await page.locator("button:visible").count(), 2, "only the heads of the sorted columns are printed");
    await admin.leave();
  });
});

describe("a secret that was pasted", () => {
  onServer();

  it("is matched to its key, cleared, never echoed and never sent", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    await makeKey(admin, server, "Innocent");
    const { client_secret: secret } = await makeKey(admin, server, "Leaked");
    const sent = [];
    page.on("request", (request) => sent.push(`${request.url()} ${JSON.stringify(request.headers())} ${request.postData() ?? ""}`));
    await open(admin);
    const search = page.getByRole("searchbox", { name: "Search keys" });
    const ways = {
      fill: () => search.fill(secret),
      quoted: () => search.fill(`  "${secret}",`),
      assignment: () => search.fill(`CLIENT_SECRET=${secret}`),
      shortened: () => search.fill(`${secret.slice(0, 60)}…`),
      typed: () => search.pressSequentially(secret.slice(0, 36)),
      paste: async () => {
        await page.evaluate((text) => navigator.clipboard.writeText(text), secret);
        await search.focus();
        await page.keyboard.press("Control+V");
      },
    };
    for (const [way, enter] of Object.entries(ways)) {
      await enter();
      await page.getByText("This secret belongs to “Leaked”.").waitFor();
      assert.ok((await search.inputValue()).length < 30, `${way}: the box is cleared`);
      assert.ok(!(await kept(page)).includes(secret.slice(30, 60)), `${way}: nothing of it is on the page`);
      if (way !== "typed") assert.deepEqual(await names(page), ["Leaked"], way);
      await search.focus();
      for (let undos = 0; undos < 3; undos++) await page.keyboard.press("Control+Z");
      assert.ok(!(await kept(page)).includes(secret.slice(30, 60)), `${way}: nothing brings it back`);
      await search.fill("x");
      await search.fill("");
      assert.equal((await names(page)).length, 2);
    }
    await search.fill(secret);
    await record(page, "29-leak");
    assert.ok(!sent.some((text) => text.includes(secret.slice(30, 60))), "nothing of it was sent");
    await button(page, "Delete “Leaked”").click();
    await button(page.getByRole("alertdialog"), "Delete").click();
    await page.getByText("“Leaked” was deleted.").waitFor();
    await search.fill(secret);
    await page.getByText("This secret belongs to no key of your practice that is listed here.").waitFor();
    await button(page, "Show all keys").click();
    assert.deepEqual(await names(page), ["Innocent"]);
    await admin.leave();
  });

  it("is not taken as a name or a scope either", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    const { client_secret: secret } = await makeKey(admin, server, "Elsewhere");
    await open(admin);
    await button(page, "Create API Key").click();
    const create = dialog(page, "Create API Key");
    await create.getByLabel("Name").fill(secret);
    await create.getByText("This looks like a secret.").waitFor();
    assert.ok(!(await kept(page)).includes(secret.slice(30)));
    await page.keyboard.press("Escape");
    await button(page, "Scopes of Elsewhere").click();
    const editor = dialog(page, "Edit Scopes");
    await button(editor, "Paste scopes").click();
    await editor.getByLabel("Scopes", { exact: true }).fill(secret);
    await editor.getByText("This looks like a secret.").waitFor();
    await editor.getByRole("searchbox").fill(secret);
    assert.ok(!(await kept(page)).includes(secret.slice(30)));
    await admin.leave();
  });

  it("a client ID is no secret", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "By its ID");
    await open(admin);
    await page.getByRole("searchbox", { name: "Search keys" }).fill(credential.client_id);
    assert.deepEqual(await names(page), ["By its ID"]);
    assert.equal(await page.getByRole("searchbox", { name: "Search keys" }).inputValue(), credential.client_id);
    await admin.leave();
  });
});

describe("a download's file name", () => {
  onServer();

  for (const [words, name, expected] of [
    ["100 CJK characters", "検".repeat(100), /^検{60}-credentials\.json$/],
    ["100 characters outside the basic plane", "𠮷".repeat(100), /^𠮷{45}-credentials\.json$/u],
    ["letters with marks that must not be cut off", `a${"e\u0301\u0323".repeat(33)}`, /^a(ẹ́)+-credentials\.json$/],
    ["signs only", "!!! ???", /^api-key-credentials\.json$/],
    ["words", "  Lab: results / sync  ", /^lab-results-sync-credentials\.json$/],
  ]) {
    it(words, async () => {
      const admin = await person(server, "alder-admin");
      const { page } = admin;
      await open(admin);
      const made = await createByHand(page, name);
      const [download] = await Promise.all([page.waitForEvent("download"), button(made, "Download Credentials").click()]);
      const file = download.suggestedFilename();
      assert.match(file.normalize("NFC"), expected);
      assert.ok(Buffer.byteLength(file) <= 200, `${Buffer.byteLength(file)} bytes`);
      assert.match(await readFile(await download.path(), "utf8"), SECRET, "and something is saved");
      await made.getByRole("checkbox").check();
      await button(made, "Done").click();
      await admin.leave();
    });
  }
});
