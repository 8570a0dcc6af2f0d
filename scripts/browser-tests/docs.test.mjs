// The page of the API's document: readable by everybody, everywhere, with nothing but its own server.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { assertNoSidewaysScroll, person, record } from "./harness.mjs";
import { onServer, server, until } from "./steps.mjs";

describe("the API's document", () => {
  onServer();

  it("can be read in every window and colour, and asks nobody else", async () => {
    const reader = await person(server, null);
    const { page } = reader;
    const asked = [];
    page.on("request", (request) => asked.push(request.url()));
    await page.goto(`${server.base}/docs`);
    assert.equal(await page.locator("script, style, img").count(), 0);
    await record(page, "docs");
    assert.deepEqual(asked, [`${server.base}/docs`, `${server.base}/docs/docs.css`]);
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await ground();
    await page.emulateMedia({ colorScheme: "dark" });
    assert.notEqual(await ground(), light);
    await reader.leave();
  });

  it("leads from its contents to an operation, and opens an example", async () => {
    const reader = await person(server, null, { viewport: { width: 320, height: 640 } });
    const { page } = reader;
    await page.goto(`${server.base}/docs`);
    await page.getByRole("navigation", { name: "Contents" }).getByRole("link", { name: "Create a credential" }).click();
    const operation = page.getByRole("article", { name: "Create a credential" });
    await until(async () => (await operation.boundingBox()).y < 640);
    for (const example of await operation.locator("summary").all()) await example.click();
    await operation.getByText('"name": "Lab sync"').first().waitFor();
    await assertNoSidewaysScroll(page, "an example, 320 px");
    await reader.leave();
  });
});
