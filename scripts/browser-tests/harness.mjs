// What every browser test needs: the real server, a real Chromium, people who are signed in, and
// eyes on everything that must never happen in any test.

import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const ROOT = path.resolve(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), "../..");
const TARGET = process.env.CARGO_TARGET_DIR ?? path.join(ROOT, "target");
const SERVER = process.env.REFERENCE_SERVER ?? path.join(TARGET, "debug", "reference-server");
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const SHOTS = path.join(TARGET, "screenshots");
const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const DESKTOP = { width: 1280, height: 860 };
export const PHONE = { width: 375, height: 812 };
export const API = "**/api-access/v1";

/** Starts the reference server on a free port; `options` are its flags. */
export async function startServer(...options) {
  const child = spawn(SERVER, ["--listen", "127.0.0.1:0", ...options], { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, RUST_LOG: "warn" } });
  process.once("exit", () => child.kill()); // also when a test file ends badly
  const base = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
    createInterface({ input: child.stdout }).once("line", (line) => resolve(line.replace("listening on ", "")));
  });
  return {
    base,
    url: `${base}/settings/api-access`,
    stop: () => new Promise((resolve) => {
      child.removeAllListeners("exit");
      child.once("exit", resolve);
      // Not SIGTERM: a clean stop first waits until gateways have noticed, and is tested elsewhere.
      child.kill("SIGKILL");
    }),
  };
}

let browser;
let profile;

export async function startBrowser() {
  profile = await mkdtemp(path.join(tmpdir(), "browser-tests-"));
  await mkdir(SHOTS, { recursive: true });
  browser = await launch([]);
}

const launch = (options) =>
  chromium.launch({
    executablePath: CHROMIUM,
    headless: true,
    downloadsPath: profile,
    args: [...options, "--no-sandbox", "--disable-gpu", "--disable-smooth-scrolling", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });

export async function stopBrowser() {
  for (const each of [browser, ...withFont.values()]) await each?.close();
  if (profile) await rm(profile, { recursive: true, force: true });
}

/**
 * A person's browser, signed in as `user` (nobody: null). `expectStatus` lists the HTTP statuses and
 * network errors that the test provokes: Chromium itself writes those to the console, and nothing
 * else may be there but what `expectConsole` matches.
 */
const withFont = new Map();

/** A browser whose default font is larger, as people set it. */
async function browserWith(font) {
  if (!font) return browser;
  if (!withFont.has(font)) withFont.set(font, await launch([`--blink-settings=defaultFontSize=${font}`]));
  return withFont.get(font);
}

export async function person(server, user, { viewport = DESKTOP, dark = false, forced = false, font, touch = false, expectStatus = [], expectConsole } = {}) {
  const context = await (await browserWith(font)).newContext({
    viewport,
    hasTouch: touch,
    colorScheme: dark ? "dark" : "light",
    reducedMotion: "reduce",
    forcedColors: forced ? "active" : "none",
    acceptDownloads: true,
    permissions: ["clipboard-read", "clipboard-write"],
    timezoneId: "UTC",
  });
  if (user) {
    const answer = await context.request.post(`${server.base}/sign-in`, { form: { user }, maxRedirects: 0 });
    assert.equal(answer.status(), 303);
  }
  const heard = [];
  const watch = (page) => {
    page.on("console", (message) => heard.push(message.text()));
    page.on("pageerror", (error) => heard.push(`uncaught: ${error.message}`));
  };
  context.on("page", watch);
  const page = await context.newPage();
  // Long, because the machine may be busy with other tests.
  context.setDefaultTimeout(30_000);
  return {
    page,
    context,
    heard,
    expectStatus,
    /** Closes the browser after what must be true for everybody was looked at. */
    async leave() {
      const provoked = (text) => text.startsWith("Failed to load resource: ") && expectStatus.some((status) => text.includes(` ${status}`));
      const unexpected = heard.filter((text) => !provoked(text) && !expectConsole?.test(text));
      assert.deepEqual(unexpected, [], "the console is not clean");
      // A handler may still be fetching, which fails once the browser is closed.
      for (const each of context.pages()) await each.unrouteAll({ behavior: "ignoreErrors" });
      await context.close();
    },
  };
}

/** What axe-core finds wrong, by WCAG 2.2 A and AA. */
export async function assertAccessible(page, where) {
  // Through the debugger, because the page's policy lets no foreign script in.
  await page.evaluate(AXE);
  const found = await page.evaluate(async () => {
    const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
    const { violations } = await window.axe.run(document, { runOnly: { type: "tag", values: tags } });
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html}\n  ${failureSummary}`).join("\n")}`);
  });
  assert.deepEqual(found, [], `axe-core, ${where}`);
}

/** Nothing may be cut off or need sideways scrolling. */
export async function assertNoSidewaysScroll(page, where) {
  const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(wide <= room, `${where}: ${wide} px wide in ${room} px`);
}

/** What the window shows now. */
export const picture = (page, name) => page.screenshot({ path: path.join(SHOTS, `${name}.png`) });

/** One state in desktop and phone, light and dark: a picture of each, and axe-core's view. */
export async function record(page, name) {
  for (const [size, viewport] of [["desktop", DESKTOP], ["phone", PHONE], ["narrow", { width: 320, height: 640 }]]) {
    await page.setViewportSize(viewport);
    await assertNoSidewaysScroll(page, `${name}, ${size}`);
    if (size === "narrow") continue;
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await assertAccessible(page, `${name}, ${size}, ${colorScheme}`);
      await page.screenshot({ path: path.join(SHOTS, `${name}-${size}-${colorScheme}.png`) });
    }
  }
  await page.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });
  await page.setViewportSize(DESKTOP);
}

/** Creates a key through the API, as the signed-in person. */
export async function makeKey(someone, server, name, { apiType = "apiv2", scopes = [] } = {}) {
  const answer = await someone.context.request.post(`${server.base}/api-access/v1/credentials`, { data: { name, api_type: apiType, scopes } });
  assert.equal(answer.status(), 201, await answer.text());
  return answer.json();
}

export const button = (where, name) => where.getByRole("button", { name, exact: true });
export const dialog = (page, name) => page.getByRole("dialog", { name });
