// What was done to a key as a file: all of it or none.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, it } from "node:test";
import { button, makeKey, person, record } from "./harness.mjs";
import { focused, onServer, openKey, server } from "./steps.mjs";

/** The rows of a table of RFC 4180. */
function rowsOf(text) {
  const [mark, ...rest] = text;
  assert.equal(mark, "\ufeff");
  const lines = rest.join("").split("\r\n");
  assert.equal(lines.pop(), "");
  return lines.map((line) => [...line.matchAll(/"((?:[^"]|"")*)"(?:,|$)/g)].map(([, cell]) => cell.replaceAll('""', '"')));
}

describe("activity", () => {
  onServer();

  it("is exported whole, as it was written, and no name becomes a formula", async () => {
    const admin = await person(server, "alder-admin");
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "=1+1", { scopes: ["system/bills.write"] });
    const at = `${server.base}/api-access/v1/credentials/${credential.id}`;
    for (let edit = 0; edit < 120; edit++) {
      const answer = await admin.context.request.patch(at, { data: { description: `Edit ${edit}` }, headers: { "If-Match": "*" } });
      assert.equal(answer.status(), 200);
    }
    await admin.context.request.put(`${at}/scopes`, { data: { scopes: ["system/patients.read"] }, headers: { "If-Match": "*" } });
    await openKey(admin, credential);
    const [download] = await Promise.all([page.waitForEvent("download"), button(page, "Export").click()]);
    assert.equal(download.suggestedFilename(), "1-1-activity.csv");
    await page.getByText("122 entries are in the file, the newest first.").waitFor();
    assert.equal(await focused(page), "Export");
    const [columns, ...rows] = rowsOf(await readFile(await download.path(), "utf8"));
    assert.deepEqual(columns, ["When", "Who", "What", "Action", "Details", "Number", "Hash"]);
    assert.equal(rows.length, 122);
    const trail = [];
    for (let cursor = ""; cursor !== null;) {
      const answer = await admin.context.request.get(`${server.base}/api-access/v1/audit-events?credential_id=${credential.id}&limit=50${cursor && `&cursor=${cursor}`}`);
      const { items, next_cursor: next } = await answer.json();
      trail.push(...items);
      cursor = next;
    }
    assert.deepEqual(rows.map(([when, who, , action, details, number, hash]) => [when, who, action, JSON.parse(details), Number(number), hash]),
      trail.map((event) => [event.at, event.actor, event.action, event.details, event.seq, event.hash]));
    assert.deepEqual(rows.map(([, , what]) => what).filter((what, at) => !at || at > 119), ["Added: Patients: read, Removed: Bills: write", "Description changed", "Created"]);
    await record(page, "62-exported");
    await admin.leave();
  });

  it("is not half exported", async () => {
    const admin = await person(server, "alder-admin", { expectStatus: [503] });
    const { page } = admin;
    const { credential } = await makeKey(admin, server, "Half");
    await openKey(admin, credential);
    const event = (seq) => ({ seq, at: "2026-01-01T00:00:00Z", actor: "-2+3", action: "credential.created", credential_id: credential.id, details: {}, hash: "0" });
    let isBroken = true;
    await page.route("**/audit-events*", (route) => {
      const isFirst = !new URL(route.request().url()).searchParams.has("cursor");
      if (isFirst) return route.fulfill({ json: { items: [event(2)], next_cursor: "more" } });
      return isBroken ? route.fulfill({ status: 503, json: { code: "unavailable" } }) : route.fulfill({ json: { items: [event(1)], next_cursor: null } });
    });
    let files = 0;
    page.on("download", () => files++);
    await button(page, "Export").click();
    await page.getByText("This cannot be done right now.").waitFor();
    assert.equal(await page.getByText("entry").count(), 0, "nothing is said to be in a file");
    assert.equal(files, 0);
    isBroken = false;
    const [download] = await Promise.all([page.waitForEvent("download"), button(page, "Export").click()]);
    await page.getByText("2 entries are in the file").waitFor();
    assert.equal(await page.getByText("This cannot be done right now.").count(), 0);
    const [, [, who]] = rowsOf(await readFile(await download.path(), "utf8"));
    assert.equal(who, "'-2+3");
    await admin.leave();
  });
});
