// The list answers "which key?": order, chips, search, a pasted secret, and room for names.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, it } from "node:test";
import { API, button, dialog, makeKey, person, picture, record } from "./harness.mjs";
import { SECRET, createByHand, fillCreate, focused, kept, onServer, open, sampleKey, server, summary, tokenFor } from "./steps.mjs";

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
    const secret = (days) => ({ selector: "A".repeat(16), created_at: daysAgo(100), expires_at: days === null ? null : daysAgo(-days), last_used_at: null });
    await show(admin, [
      key(1, { name: "a", last_used_at: daysAgo(1), scopes: ["apiv2"] }),
      key(2, { name: "b", last_used_at: daysAgo(89) }),
      key(4, { name: "c", last_used_at: daysAgo(90) }),
      key(5, { name: "d", last_used_at: null, scopes: ["apiv2", "act_as_user"] }),
      key(7, { name: "e", last_used_at: null }),
      key(8, { name: "f", last_used_at: daysAgo(0), expires_at: daysAgo(-6) }),
      key(10, { name: "g", last_used_at: daysAgo(0), expires_at: daysAgo(-40), secrets: [secret(3)] }),
      key(11, { name: "h", last_used_at: daysAgo(0), secrets: [secret(3), secret(null)] }),
      key(13, { name: "i", last_used_at: daysAgo(200), status: "disabled", disabled_at: daysAgo(2), scopes: ["apiv2"], expires_at: daysAgo(-2) }),
    ]);
    for (const [chip, expected] of [
      ["In use 5", "abfgh"],
      ["Unused 90 days 1", "c"],
      ["Never used 2", "de"],
      ["Ending soon 2", "fg"],
      ["Disabled 1", "i"],
      ["Full access 2", "ad"],
      ["All 9", "abcdefghi"],
    ]) {
      await button(page, chip).click();
      assert.equal(await button(page, chip).getAttribute("aria-pressed"), "true");
      assert.equal(await page.locator('.chip[aria-pressed="true"]').count(), 1);
      assert.equal((await names(page)).sort().join(""), expected, chip);
      assert.equal(await focused(page), chip);
    }
    const row = (name) => page.getByRole("row", { name: new RegExp(`^${name} `) });
    await row("f").getByText("Ends in 6 days").waitFor();
    await row("g").getByText("Ends in 3 days").waitFor();
    assert.equal(await row("h").getByText("Ends").count(), 0, "another secret stays");
    await row("h").getByText(/2 secrets, rotating until/).waitFor();
    await row("i").getByText("Disabled", { exact: true }).waitFor();
    await row("d").getByText("Full access, 1 broad").waitFor();
    await button(page, "Unused 90 days 1").click();
    await record(page, "26-chips");
    await admin.leave();
  });

  it("says in one line which keys need attention, and shows them", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    await show(admin, [key(1, { name: "fine", last_used_at: daysAgo(1) })]);
    assert.equal(await page.locator(".look").count(), 0, "no line without a reason");
    await show(admin, [
      key(1, { name: "fine", last_used_at: daysAgo(1) }),
      key(2, { name: "Fax gateway", last_used_at: daysAgo(1), expires_at: daysAgo(-6) }),
      key(3, { name: "Old sync", last_used_at: daysAgo(214) }),
      key(4, { name: "Over", last_used_at: daysAgo(3), status: "expired", expires_at: daysAgo(2) }),
      key(5, { name: "Off", last_used_at: daysAgo(214), status: "disabled" }),
    ]);
    const line = page.getByRole("note").filter({ hasText: "attention" });
    assert.equal(await line.locator("p").innerText(), "3 keys need attention: “Over” ended 2 days ago · “Fax gateway” ends in 6 days · “Old sync” unused for 214 days");
    assert.match(await line.getByRole("link", { name: "Old sync" }).getAttribute("href"), /\/settings\/api-access\/keys\/0+3$/);
    await button(line, "Show").click();
    assert.equal(await button(line, "Show").getAttribute("aria-pressed"), "true");
    assert.deepEqual((await names(page)).sort(), ["Fax gateway", "Old sync", "Over"]);
    await record(page, "26-attention");
    await button(line, "Show").click();
    assert.equal((await names(page)).length, 5);
    await admin.leave();
  });

  it("on a phone a card keeps Scopes and Delete; the rest is behind the name", async () => {
    const admin = await person(server, "alder-admin", { viewport: { width: 375, height: 812 }, touch: true });
    const { page } = admin;
    await show(admin, [key(1, { name: "Pocket" })]);
    assert.deepEqual(await page.locator(".keys [data-do]:visible").evaluateAll((all) => all.map((it) => it.getAttribute("aria-label"))), ["Scopes of Pocket", "Delete Pocket"]);
    await page.getByRole("link", { name: "Pocket" }).waitFor();
    await page.setViewportSize({ width: 1280, height: 860 });
    await button(page, "Rotate secret of Pocket").waitFor();
    await admin.leave();
  });

  it("a secret is rotated from the list, and the focus goes back", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    await page.unroute(`${API}/credentials?*`);
    const { credential, client_secret: old } = await makeKey(admin, server, "Rotated here");
    await open(admin);
    await button(page, "Rotate secret of Rotated here").click();
    const rotate = dialog(page, "Rotate secret");
    await rotate.getByRole("radio", { name: "Now", exact: true }).check();
    await rotate.getByText("What uses the old secret is refused at once.").waitFor();
    await button(rotate, "Cancel").click();
    assert.equal(await focused(page), "Rotate secret of Rotated here");
    await button(page, "Rotate secret of Rotated here").click();
    await button(rotate, "Rotate").click();
    const made = dialog(page, "New Secret Created");
    await made.getByRole("checkbox").check();
    await button(made, "Done").click();
    assert.equal(await focused(page), "Rotate secret of Rotated here");
    await page.getByRole("row", { name: /Rotated here/ }).getByText(/2 secrets, rotating until/).waitFor();
    await tokenFor(admin, credential.client_id, old, 400); // it has no scope, which only a right secret is told
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

  it("that has ended is said to have ended, and nothing is offered to delete", async () => {
    const admin = await person(server, "birch-admin");
    const { page } = admin;
    const { credential, client_secret: old } = await makeKey(admin, server, "Rotated");
    const secrets = `${server.base}/api-access/v1/credentials/${credential.id}/secrets`;
    const { client_secret: latest } = await (await admin.context.request.post(secrets, { data: { overlap_seconds: 0 } })).json();
    await open(admin);
    const search = page.getByRole("searchbox", { name: "Search keys" });
    await search.fill(old);
    await page.getByText("This secret belongs to “Rotated”, and has ended.").waitFor();
    assert.equal(await button(page, "Delete “Rotated”").count(), 0);
    await record(page, "63-leak-ended");
    await search.fill(latest);
    await button(page, "Delete “Rotated”").waitFor();
    await admin.leave();
  });

  it("of a key with the longest name leaves its button within a narrow page", async () => {
    const admin = await person(server, "birch-admin", { viewport: { width: 320, height: 640 } });
    const { page } = admin;
    for (const name of ["Name of twenty parts ".repeat(5).slice(0, 100), "X".repeat(100)]) {
      const { client_secret: secret } = await makeKey(admin, server, name);
      await open(admin);
      await page.getByRole("searchbox", { name: "Search keys" }).fill(secret);
      const remove = page.locator(".found button.danger");
      await remove.waitFor();
      const [inner, outer] = await Promise.all([remove, page.locator(".found .note")].map((it) => it.evaluate((element) => element.getBoundingClientRect().toJSON())));
      assert.ok(inner.left >= outer.left && inner.right <= outer.right && inner.height > 60, JSON.stringify([inner, outer]));
    }
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

describe("when a new key ends", () => {
  onServer();

  it("never, in 90 days, in a year, on a date", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    await open(admin);
    const create = await fillCreate(page, "Ends on a date");
    const choices = create.getByRole("radiogroup", { name: "Expires" }).getByRole("radio");
    assert.deepEqual(await choices.evaluateAll((all) => all.map((it) => it.labels[0].textContent)), ["Never", "In 90 days", "In 1 year", "On a date"]);
    assert.ok(await choices.first().isChecked());
    await choices.last().check();
    await button(create, "Create").click();
    await create.getByText("Choose a day.").waitFor();
    assert.equal(await focused(page), "Last day");
    await create.getByLabel("Last day").fill("2099-12-31");
    await record(page, "39-create-expiry");
    await page.keyboard.press("Escape");
    for (const [name, choice, least, most] of [["Never", "Never"], ["Quarter", "In 90 days", 89.9, 90], ["Year", "In 1 year", 364.9, 365], ["Date", "On a date", 365, 40_000]]) {
      const again = await fillCreate(page, name);
      await again.getByRole("radio", { name: choice, exact: true }).check();
      if (choice === "On a date") await again.getByLabel("Last day").fill("2099-12-31");
      await button(again, "Create").click();
      const made = dialog(page, "API Key Created");
      await made.getByRole("checkbox").check();
      await button(made, "Done").click();
      const { items } = await (await admin.context.request.get(`${server.base}/api-access/v1/credentials`)).json();
      const { expires_at: end } = items.find((each) => each.name === name);
      const days = end && (Date.parse(end) - Date.now()) / DAY;
      assert.ok(least === undefined ? end === null : days > least && days <= most, `${choice}: ${end}`);
    }
    await admin.leave();
  });
});

describe("when a new key ends, where the host says so", () => {
  onServer("--max-lifetime", "90d");

  it("what is too long is not offered, and the longest is the first choice", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [422] });
    const { page } = admin;
    await open(admin);
    const create = await fillCreate(page, "Forced");
    await create.getByText("Keys end after 90 days at the latest.").waitFor();
    const choices = create.getByRole("radiogroup", { name: "Expires" }).getByRole("radio");
    assert.deepEqual(await choices.evaluateAll((all) => all.map((it) => it.labels[0].textContent)), ["In 90 days", "On a date"]);
    assert.ok(await choices.first().isChecked());
    await choices.last().check();
    await create.getByLabel("Last day").fill("2099-12-31");
    await button(create, "Create").click();
    await create.getByText("A key works for 90 days at most.").waitFor();
    await choices.first().check();
    await button(create, "Create").click();
    const made = dialog(page, "API Key Created");
    await made.getByRole("checkbox").check();
    await button(made, "Done").click();
    const { items: [{ expires_at: end }] } = await (await admin.context.request.get(`${server.base}/api-access/v1/credentials`)).json();
    const days = (Date.parse(end) - Date.now()) / DAY;
    assert.ok(days > 89.9 && days <= 90, end);
    await admin.leave();
  });
});
