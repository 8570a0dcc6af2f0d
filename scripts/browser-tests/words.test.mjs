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
  const someone = await person(server, user, { expectStatus: [403, 404, 409, 412, 422, 500, 503, "net::ERR_FAILED"], expectConsole: /not from the admin API/ });
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
  const isData = (node) => node.parentElement.closest("code, bdi, time, .name, h1, .facts, .lang-data, textarea");
  // What the browser says of time and days follows the language of the page, which is English here.
  const MOMENTS = /\b(in )?(\d+|an?) (second|minute|hour|day|month|year)s?( ago)?\b|\b(yesterday|tomorrow|last year|next year)\b|\b(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)( \d+)?(, \d{4})?\b|\(.*? (AM|PM) UTC\)/g;
  for (const root of [document.getElementById("root"), document.getElementById("actions")].filter(Boolean)) {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const { currentNode: node } = walker;
      const text = node.data.replace(MOMENTS, "").replace(/practice|Elation support|Practice Admins|Connecting a named vendor .* contact/g, "");
      if (!isData(node)) look(text, node.parentElement.tagName);
    }
    for (const element of root.querySelectorAll("[aria-label], [title], [placeholder], [data-label]")) {
      for (const name of ["aria-label", "title", "placeholder", "data-label"]) {
        if (element.tagName === "TIME") continue;
        look((element.getAttribute(name) ?? "").replace(/Κλειδί \d+|[A-Za-z0-9]{16}/g, "").replace(MOMENTS, ""), `${element.tagName}[${name}]`);
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
    const seen = [];
    const look = async (state) => {
      assert.deepEqual(await english(page), [], state);
      seen.push(state);
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
    for (const choice of await page.locator("dialog .four input").all()) await choice.check();
    await press("dialog .primary");
    await look("create without a day");
    await page.locator("dialog input[type=date]").fill("2020-01-01");
    await press("dialog .primary");
    await look("create with a day that is over");
    await page.locator("dialog .four input").first().check();
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
    await press('[data-do="rotate"]');
    await page.locator("dialog").waitFor();
    await look("rotate, from the list");
    await escape();
    await press("#revoke-all");
    await page.locator("dialog").waitFor();
    await look("revoke all");
    await page.route(`${API}/credentials/revoke-all`, (route) => route.fulfill({ status: 422, json: { code: "invalid", errors: [] } }));
    await press("dialog .danger.primary");
    await page.locator("dialog .alerts .note").waitFor();
    await look("revoke all, of another number");
    await escape();
    await press('[data-do="delete"]');
    await page.locator("dialog").waitFor();
    await look("delete");
    await page.route(`${API}/credentials/*`, (route) => route.fulfill({ status: 404, json: { code: "not_found", detail: "English" } }));
    await press("dialog .danger.primary");
    await page.locator("dialog .alerts .note").waitFor();
    await look("delete, not found");
    await page.unroute(`${API}/credentials/*`);
    await press("dialog .danger.primary");
    await page.locator("dialog").waitFor({ state: "detached" });
    await look("deleted");

    const days = (count) => new Date(Date.now() + count * 86_400_000).toISOString();
    const secret = (selector, changes = {}) => ({ selector: selector.repeat(16), created_at: days(-9), expires_at: null, last_used_at: null, ...changes });
    const states = { 1: { expires_at: days(6) }, 2: { last_used_at: days(-200) }, 3: { status: "disabled" }, 4: { secrets: [secret("a"), secret("b", { expires_at: days(2) })] }, 5: { secrets: [secret("a"), secret("b")] }, 6: { expires_at: days(9) }, 7: { last_used_at: days(-100) } };
    const keys = Array.from({ length: 120 }, (_, at) => ({ ...sampleKey(at + 1), expires_at: at ? null : days(-3), ...states[at], name: `Κλειδί ${at}`, created_by: "1", client_id: `1_${at}`, scopes: at % 2 ? [] : ["apiv2"], status: at === 3 ? "disabled" : at ? "active" : "expired" }));
    await page.route(`${API}/credentials?*`, (route) => route.fulfill({ json: { items: keys.map(summary), next_cursor: null } }));
    await page.goto(server.url);
    await page.locator(".pager").waitFor();
    await page.locator(".look").waitFor();
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
    assert.ok(seen.length > 35, `${seen.length} states`);
    await admin.leave();
  });

  it("no English is left on a key's page", async () => {
    const admin = await pseudo("alder-admin");
    const { page } = admin;
    const seen = [];
    const look = async (state) => {
      assert.deepEqual(await english(page), [], state);
      seen.push(state);
    };
    const press = (selector) => page.locator(selector).first().click();
    const escape = async () => {
      await page.keyboard.press("Escape");
      await page.locator("dialog").waitFor({ state: "detached" });
    };
    const { credential } = await makeKey(admin, server, "1", { scopes: ["system/patients.read", "system/bills.write"] });
    const at = (path) => `${API}/credentials/${credential.id}${path}`;

    await page.route(at(""), (route) => route.abort());
    await page.goto(`${server.url}/keys/${credential.id}`);
    await page.locator("#trouble .note").waitFor();
    await look("unreachable");
    await page.unroute(at(""));
    await press("#trouble button");
    await page.locator(".events li").waitFor();
    await look("new");
    await press("summary");
    await page.locator(".networks input").fill("1.1.1.1/8");
    await press(".networks .row button");
    await press(".networks .save .primary");
    await page.locator(".networks .error svg").waitFor();
    await look("networks refused");
    await page.locator(".networks input").fill("?");
    await press(".networks .row button");
    await look("networks, none");
    await press(".networks li button");
    await look("networks, none left");

    for (const [button, name] of [["#rename", "rename"], ["#describe", "describe"], ["#change-end", "expiry"], ["#toggle", "disable"], ["#delete", "delete"], ["#rotate", "rotate"], ["#add-keys", "add keys"], ["#add-workload", "add a workload"]]) {
      await press(button);
      await page.locator("dialog").waitFor();
      await look(name);
      for (const choice of await page.locator("dialog input[type=radio]").all()) {
        await choice.check();
        await look(`${name}, a choice`);
      }
      await escape();
    }
    await page.route(at("/disable"), (route) => route.abort());
    await press("#toggle");
    await press("dialog .danger.primary");
    await page.locator("dialog .alerts .note").waitFor();
    await look("disable, answer lost");
    await escape();
    await page.unroute(at("/disable"));
    await press("#toggle");
    await press("dialog .danger.primary");
    await page.locator(".state.disabled").waitFor();
    await look("disabled");
    await press("#toggle");
    await page.locator(".state.active").waitFor();
    await look("enabled");

    for (const lost of [true, false]) {
      if (lost) {
        await page.route(at("/secrets"), async (route) => {
          await route.fetch();
          await route.abort();
        });
      }
      await press("#rotate");
      await press("dialog .primary");
      if (lost) {
        await page.locator("dialog .again").waitFor();
        await look("rotate, answer lost");
        await page.unroute(at("/secrets"));
        await press("dialog .again");
      }
      await page.locator("dialog.secret").waitFor();
      await look("rotated");
      await press("dialog.secret input[type=checkbox]");
      await press("dialog.secret footer .primary");
      if (lost) {
        await press('[id^="end-"]');
        await page.locator("dialog").waitFor();
        await look("end a secret");
        await press("dialog .danger.primary");
        await page.locator("dialog").waitFor({ state: "detached" });
        await look("ended");
      }
    }
    await press("#rotate");
    await page.locator("dialog").waitFor();
    await look("rotate with two");
    await escape();

    // What traffic and time make of it.
    const ago = (hours) => new Date(Date.now() - hours * 3_600_000).toISOString();
    await page.route(at("/usage*"), (route) => route.fulfill({ json: { last_used_at: ago(1), scopes: [], days: [{ date: ago(1).slice(0, 10), allowed: 5, denied: 2 }] } }));
    const reasons = ["scope_missing", "address_not_allowed", "expired", "disabled", "revoked", "secret_ended", "wrong_secret", "unknown_scope", "other_api_type", "tenant_suspended", "assertion_invalid", "assertion_replayed", "wrong_signature", "no_keys", "something_new"];
    const refusals = reasons.map((reason, hours) => ({ at: ago(hours + 1), last_at: ago(hours), count: hours + 1, reason, needed_scope: hours ? null : "system/bills.read", method: "GET", address: "192.0.2.1" }));
    await page.route(at("/refusals"), (route) => route.fulfill({ json: { items: refusals } }));
    await page.route(at("/scopes/preview"), (route) => {
      const removed = ["system/patients.read", "system/bills.write"].filter((scope) => !route.request().postDataJSON().scopes.includes(scope));
      return route.fulfill({ json: { added: [], removed: removed.map((scope) => ({ scope, requests_30d: scope.includes("patients") ? 41 : 0, last_used_at: ago(2) })), unused_30d: ["system/bills.write"] } });
    });
    const secrets = [[ago(300), null, ago(30)], [ago(400), new Date(Date.now() + 9e7).toISOString(), ago(3)], [ago(500), null, ago(50)], [ago(501), null, null], [ago(600), ago(20), ago(22)]]
      .map(([created_at, expires_at, last_used_at], number) => ({ selector: `${number}`.repeat(16), created_at, expires_at, last_used_at }));
    const changes = { last_used_at: ago(1), description: "1", secrets, keys: [{ kid: "1", kty: "", alg: null, thumbprint: "1", created_at: ago(3), last_used_at: ago(2) }, { kid: null, kty: "", alg: null, thumbprint: "2".repeat(43), created_at: ago(3), last_used_at: null }],
      workloads: [{ id: "1", issuer: "1", audience: "1", subject: "1", claims: { 1: 2 }, jwks: { keys: [] }, created_at: ago(3), last_used_at: ago(2) }] };
    await page.route(at(""), async (route) => (route.request().method() === "GET" ? route.fulfill({ json: { ...(await (await route.fetch()).json()), ...changes } }) : route.continue()));
    const actions = ["renamed", "description_changed", "expiry_changed", "scopes_changed", "networks_changed", "secret_added", "secret_ended", "disabled", "enabled", "revoked", "keys_changed", "workloads_changed", "exploded", "created"];
    const details = { name: "1", name_before: "2", scopes: ["system/bills.read"], scopes_before: ["system/bills.write", ...Array(9).fill().map((_, number) => `${number}`)], allowed_networks: ["192.0.2.1/32"], allowed_networks_before: [], selector: "1".repeat(16), ends: [{ selector: "2".repeat(16), expires_at: ago(-9) }] };
    const events = actions.map((action, seq) => ({ seq, at: ago(seq), actor: "1", action: `credential.${action}`, details }));
    await page.route("**/audit-events*", (route) => route.fulfill({ json: { items: [...events, { seq: 99, at: null, actor: null, action: null, details: null }], next_cursor: "1" } }));
    await page.reload();
    await page.locator("#why").click();
    await page.locator("#review").waitFor();
    assert.equal(await page.locator(".refusals li").count(), reasons.length);
    assert.equal(await page.locator(".secrets .badge").count(), 3);
    await look("in use");
    await picture(page, "38-pseudo-key");
    await page.route("**/audit-events*", (route) => route.fulfill({ json: { items: events.map((event) => ({ ...event, seq: event.seq + 100 })), next_cursor: "1" } }));
    await press("#part-activity button");
    await page.locator("[data-seq='100']").waitFor();
    await look("more activity");
    await page.unroute("**/audit-events*");
    await press("#part-activity .more button:last-child");
    await page.locator("#part-activity [role=status]:not(:empty)").waitFor();
    await look("exported");
    await press("summary");
    await look("keys and workloads");
    for (const button of ["#remove-1", "#part-proofs [role=group]:nth-of-type(2) li button"]) {
      await press(button);
      await page.locator("dialog").waitFor();
      await look(button);
      await escape();
    }
    for (const [button, box] of [["#add-keys", "dialog textarea"], ["#add-workload", null]]) {
      await press(button);
      await page.locator("dialog").waitFor();
      await press("dialog .primary");
      await page.locator("dialog .error svg").first().waitFor();
      await look(`${button}, with faults`);
      if (!box) await press("dialog details summary");
      else for (const text of ["1", "https://1", "PRIVATE KEY"]) {
        await page.locator(box).fill(text);
        await look(`${button}, ${text}`);
      }
      await look(`${button}, all of it`);
      await escape();
    }
    await page.route(at("/keys"), (route) => route.fulfill({ status: 409, json: { code: "last_proof" } }));
    await press("#remove-1");
    await press("dialog .danger.primary");
    await page.locator("dialog .alerts .note").waitFor();
    await look("the last way in");
    await escape();
    for (const selector of ["1", "2", "3"]) {
      await press(`#end-${selector.repeat(16)}`);
      await page.locator("dialog").waitFor();
      await look(`end secret ${selector}`);
      await escape();
    }
    await press("#review");
    await page.locator("dialog .preview:not(:empty)").waitFor();
    await look("preview, calm");
    await page.locator("dialog [data-scope='system/patients.read']").uncheck();
    await page.locator("dialog .preview.alarm").waitFor();
    await look("preview, red");
    await page.keyboard.press("Escape");
    await press("dialog .alerts .inline button:last-child");
    for (const [status, more] of [["expired", { expires_at: ago(30) }], ["disabled", { disabled_at: ago(3) }], ["revoked", { revoked_at: ago(1), revoked_by: "1" }]]) {
      Object.assign(changes, { status, ...more });
      await page.reload();
      await page.locator(`.state.${status}`).waitFor();
      await page.locator(".sentence").waitFor();
      await look(status);
    }
    await page.goto(`${server.url}/keys/0`);
    await page.locator("#key .lead").waitFor();
    // There the heading is a sentence.
    assert.doesNotMatch(await page.locator("#key h1").innerText(), /[A-Za-z]/);
    await look("no such key");
    assert.ok(seen.length > 30, `${seen.length} states`);
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
