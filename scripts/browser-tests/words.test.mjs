// Every sentence comes from the table: in a made-up language no English is left anywhere on the page.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { API, button, makeKey, person, picture } from "./harness.mjs";
import { onServer, sampleKey, server, summary } from "./steps.mjs";

/** Letters become Greek, what stands in braces stays. */
const disguise = (text) => text.replace(/\{\w+\}|[A-Za-z]/g, (part) => (part.length > 1 ? part : "Ω"));
const disguised = (entry) => (typeof entry === "string" ? disguise(entry) : Object.fromEntries(Object.entries(entry).map(([form, text]) => [form, disguise(text)])));

/** Whoever is asked to read the page in that language. */
async function pseudo(user) {
  const someone = await person(server, user, { expectStatus: [403, 404, 409, 412, 500, 503, "net::ERR_FAILED"], expectConsole: /not from the admin API/ });
  await someone.page.route("**/assets/*/words.js", async (route) => {
    const source = await (await route.fetch()).text();
    const table = JSON.parse(source.replace(/^export default /, "").replace(/;\s*$/, ""));
    const words = Object.fromEntries(Object.entries(table).map(([key, entry]) => [key, disguised(entry)]));
    await route.fulfill({ contentType: "text/javascript", body: `export default ${JSON.stringify(words)};` });
  });
  // Data and the host's own words are no sentences of the page: they have no letters here.
  await someone.page.route("**/api-access/v1/catalog", async (route) => {
    const catalog = await (await route.fetch()).json();
    const blank = (value) => (Array.isArray(value) ? value.map(blank) : value && typeof value === "object"
      ? Object.fromEntries(Object.entries(value).map(([key, each]) => [key, ["label", "description"].includes(key) ? "…" : blank(each)])) : value);
    await route.fulfill({ json: blank(catalog) });
  });
  await someone.page.route("**/settings/api-access{,/keys/*}", async (route) => {
    const html = await (await route.fetch()).text();
    await route.fulfill({ contentType: "text/html", body: html.replace(/&quot;(label|description)&quot;:&quot;.*?&quot;/g, "&quot;$1&quot;:&quot;…&quot;") });
  });
  return someone;
}

/** Words in Latin letters in what is seen, read out, or shown on hover below the server's frame. */
const english = (page) => page.evaluate(() => {
  const found = [];
  const look = (text, where) => {
    if (/[A-Za-z]{2,}/.test(text ?? "")) found.push(`${where}: ${text.trim()}`);
  };
  // Identifiers, names, moments in time, and what the host calls things.
  const isData = (node) => node.parentElement.closest("code, bdi, time, .name, .facts, .lang-data, textarea");
  for (const root of [document.getElementById("root"), document.getElementById("actions")]) {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const { currentNode: node } = walker;
      const text = node.data.replace(/practice|Elation support|Practice Admins|Connecting a named vendor .* contact/g, "");
      if (!isData(node)) look(text, node.parentElement.tagName);
    }
    for (const element of root.querySelectorAll("[aria-label], [title], [placeholder], [data-label]")) {
      for (const name of ["aria-label", "title", "placeholder", "data-label"]) {
        if (element.tagName === "TIME") continue;
        look((element.getAttribute(name) ?? "").replace(/Κλειδί \d+/g, ""), `${element.tagName}[${name}]`);
      }
    }
  }
  return found;
});

describe("in a made-up language", () => {
  onServer();

  it("no English is left in any state", async () => {
    const admin = await pseudo("alder-admin");
    const { page } = admin;
    const states = [];
    const look = async (state) => {
      assert.deepEqual(await english(page), [], state);
      states.push(state);
    };
    const press = (selector) => page.locator(selector).first().click();
    const escape = () => page.keyboard.press("Escape");

    await page.route(`${API}/credentials?*`, (route) => route.abort());
    await page.goto(server.url);
    await page.locator("#trouble .note").waitFor();
    assert.equal((await page.locator("#trouble .facts").count()), 1);
    await look("unreachable");
    await page.unroute(`${API}/credentials?*`);
    await press("#trouble button");
    await page.locator(".empty").waitFor();
    await look("empty");

    await press("#create");
    await look("create");
    await press("dialog .primary");
    await look("create with faults");
    await page.locator("dialog input[type=text]").fill("x".repeat(101));
    await press("dialog .primary");
    await look("a name too long");
    await page.locator("dialog input[type=text]").fill("1");
    await page.locator("dialog input[type=radio]").first().check();
    await page.route(`${API}/credentials`, (route) => route.abort());
    await press("dialog .primary");
    await page.locator("dialog .alerts .note").waitFor();
    await look("create, answer lost");
    for (const code of ["unauthenticated", "forbidden", "cross_site", "tenant_suspended", "self_service_unavailable", "limit_reached", "name_taken", "invalid", "rate_limited", "unavailable"]) {
      await page.unroute(`${API}/credentials`);
      await page.route(`${API}/credentials`, (route) => route.fulfill({ status: 403, json: { code, detail: "English of the API.", errors: [] } }));
      await press("dialog .primary");
      await page.locator("dialog :is(.alerts .note, .error svg)").first().waitFor();
      await look(`create, ${code}`);
    }
    await page.unroute(`${API}/credentials`);
    await escape();
    await page.locator("dialog").waitFor({ state: "detached" });
    await look("after a lost answer");
    await press("#create");
    await page.locator("dialog input[type=text]").fill("1");
    await page.locator("dialog input[type=radio]").first().check();
    await press("dialog .primary");
    await page.locator("dialog.secret").waitFor();
    await escape();
    await page.locator("dialog.secret .alerts .note").waitFor();
    await look("created");
    await press("dialog.secret input[type=checkbox]");
    await press("dialog.secret footer .primary");

    await page.locator("dialog.editor").waitFor();
    await look("editor");
    await press(".expander");
    await press("dialog [data-scope]");
    await escape();
    await look("editor, not saved");
    await page.locator("dialog input[type=search]").fill("9 9");
    await look("editor, nothing found");
    await page.locator("dialog input[type=search]").fill("");
    await press(".bulk button:last-child");
    await page.locator("dialog textarea").fill("1/2.3 apiv2 system/bills.read");
    await press(".paste .row button");
    // The names that were not known are data.
    await page.locator(".said").evaluate((it) => it.querySelectorAll("p").forEach((p) => { p.textContent = p.textContent.replace(/1\/2\.3/, ""); }));
    await look("editor, pasted");
    await press(".bulk button:last-child");
    await press(".read-only");
    await look("editor, adds");
    await press("dialog footer .primary");
    await page.locator("dialog").waitFor({ state: "detached" });
    await look("saved");
    await press('[data-do="rename"]');
    await look("rename");
    await escape();
    await press('[data-do="delete"]');
    await look("delete");
    await page.route(`${API}/credentials/*`, (route) => route.fulfill({ status: 404, json: { code: "not_found", detail: "English" } }));
    await press("dialog .danger.primary");
    await page.locator("dialog .alerts .note").waitFor();
    await look("delete, not found");
    await page.unroute(`${API}/credentials/*`);
    await press("dialog .danger.primary");
    await page.locator("dialog").waitFor({ state: "detached" });
    await look("deleted");

    const keys = Array.from({ length: 120 }, (_, at) => ({ ...sampleKey(at + 1), name: `Κλειδί ${at}`, created_by: "1", client_id: `1_${at}`, scopes: at % 2 ? [] : ["apiv2"], status: at ? "active" : "expired" }));
    await page.route(`${API}/credentials?*`, (route) => route.fulfill({ json: { items: keys.map(summary), next_cursor: null } }));
    await page.goto(server.url);
    await page.locator(".pager").waitFor();
    await look("list");
    await page.locator("#search").fill("§ §");
    await page.locator(".nothing").waitFor();
    await look("nothing found");
    await page.locator("#search").fill(`cred_sandbox_${"a1B".repeat(22)}`);
    await page.locator(".found .note").waitFor();
    await look("a secret of no key");
    await picture(page, "36-pseudo");
    await page.route(`${API}/credentials/*`, (route) => route.fulfill({ status: 409, json: { code: "tenant_changed" } }));
    await press(".found button");
    await press('[data-do="delete"]');
    await press("dialog .danger.primary");
    await page.locator("dialog .alerts .note").waitFor();
    await look("another practice");
    assert.ok(states.length > 30, `${states.length} states`);
    await admin.leave();
  });

  it("dates, numbers and plural forms follow the language; nothing is laid out from the left only", async () => {
    const admin = await person(server, "birch-admin");
    const { page } = admin;
    await makeKey(admin, server, "Datum");
    await page.route(server.url, async (route) => {
      const html = await (await route.fetch()).text();
      const words = { "list.count": { one: "{count} Schlüssel (eins)", other: "{count} Schlüssel" }, "column.created": "Angelegt" };
      await route.fulfill({ contentType: "text/html", body: html.replace('lang="en" dir="ltr"', 'lang="de" dir="rtl"')
        .replace("&quot;lang&quot;:&quot;en&quot;", "&quot;lang&quot;:&quot;de&quot;")
        .replace("&quot;words&quot;:{", `&quot;words&quot;:{${JSON.stringify(words).slice(1, -1).replaceAll('"', "&quot;")},`) });
    });
    await page.goto(server.url);
    await page.getByText("1 Schlüssel (eins)", { exact: true }).waitFor();
    await button(page, "Angelegt").waitFor();
    const date = await page.locator("td time").first().evaluate((it) => it.firstChild.data);
    assert.match(date, /^\d\d\.\d\d\.\d{4}$/);
    const [name, last] = await page.locator(".keys tbody tr").first().locator("th, td").evaluateAll((cells) => [cells[0], cells.at(-1)].map((cell) => cell.getBoundingClientRect().left));
    assert.ok(name > last, "from right to left, the name is on the right");
    await picture(page, "37-right-to-left");
    await admin.leave();
  });
});
