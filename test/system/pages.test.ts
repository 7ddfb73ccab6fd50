// The pages in a real browser: readable by everybody, at every width, with a keyboard, without scripts, and harmless.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { accessibilityProblems, launchBrowser, overflowingElements, takePicture } from "../support/browser.ts";
import { longWord, writePageTree } from "../support/page-tree.ts";
import { freePort, ServerUnderTest } from "../support/server.ts";

const maxPageBytes = 60_000;
const widths = [1280, 3840, 390, 320] as const;
const work = mkdtempSync(join(tmpdir(), "tahoe-apt-pages-"));
const folder = join(work, "tree");
const token = "a-token-for-this-test";
const password = "correct horse battery";

let server: ServerUnderTest;
let browser: Browser;
let snapshots: { readonly id: string; readonly suite: string }[];

beforeAll(async () => {
  const nowSeconds = Math.floor(Date.now() / 1000);
  await writePageTree(folder, nowSeconds, 1);
  for (const [name, text] of [
    ["token", token],
    ["password", password],
  ] as const) {
    writeFileSync(join(work, name), text, { mode: 0o600 });
  }
  const port = await freePort();
  const repository = (name: string) => ["[[repository]]", `name = "${name}"`, `folder = "${folder}"`];
  const lines = [
    `public_url = "http://127.0.0.1:${port}"`,
    ...repository("frost"),
    `ping_token_file = "${join(work, "token")}"`,
    "[repository.suite.sid.view]",
    'hide = ["python3-module-00*"]',
    ...repository("secret"),
    "[[repository.reader]]",
    'name = "reader"',
    `password_file = "${join(work, "password")}"`,
  ];
  writeFileSync(join(work, "c.toml"), `${lines.join("\n")}\n`);
  server = await ServerUnderTest.start({
    flags: ["--config", join(work, "c.toml"), "--state", join(work, "state")],
    port,
  });
  await server.ready();
  await ping();
  await writePageTree(folder, nowSeconds);
  await ping();
  // The index of packages follows the publication.
  while (!/2\.4\.1-1/.test(await (await fetch(`${server.url}/frost/`)).text())) await setTimeout(50);
  const listed = await fetch(`${server.url}/frost/snapshots/index.json`);
  ({ snapshots } = (await listed.json()) as { snapshots: typeof snapshots });
  for (const path of ["dists/trixie/InRelease", "dists/trixie/main/binary-amd64/Packages.xz", "key.asc"]) {
    await (await fetch(`${server.url}/frost/${path}`)).arrayBuffer();
  }
  browser = await launchBrowser();
});
afterAll(async () => {
  await browser?.close();
  await server?.end();
  rmSync(work, { recursive: true, force: true });
});

async function ping(): Promise<void> {
  const headers = { authorization: `Bearer ${token}` };
  const { status } = await fetch(`${server.url}/-/ping/frost?wait=60`, { method: "POST", headers });
  expect(status).toBe(200);
}

/** A page of each kind, by the name of its picture. */
const kinds = {
  front: "",
  repository: "frost/",
  suite: "frost/?suite=sid",
  packages: "frost/-/packages",
  search: "frost/-/packages?q=archives&suite=trixie",
  nothing: "frost/-/packages?q=nothingatall",
  package: "frost/-/packages/frost",
  dependents: "frost/-/packages/frost/dependents",
  relations: "frost/-/packages/frost/relations",
  installed: "frost/-/packages/frost/files",
  hostile: "frost/-/packages/hostile",
  source: "frost/-/sources/frost",
  builders: "frost/-/builders",
  builder: "frost/-/builders/dists/trixie/main/binary-amd64/ada",
  rejects: "frost/-/rejects",
  snapshots: "frost/-/snapshots",
  diff: "frost/-/diff?from=trixie@OLD&to=trixie",
  health: "frost/-/health",
  files: "frost/-/files",
  directory: "frost/dists/trixie/main/binary-amd64/",
  pool: "frost/pool/SHA256/",
  missing: "frost/-/packages/missing",
  error: "nowhere/at/all",
} as const;
type Kind = keyof typeof kinds;
const everyKind = Object.keys(kinds) as Kind[];

function addressOf(kind: Kind): string {
  const old = snapshots.filter(({ suite }) => suite === "trixie").at(-1)?.id ?? "";
  return `${server.url}/${kinds[kind].replace("OLD", old)}`;
}

async function open(options: Parameters<Browser["newContext"]>[0] = {}): Promise<BrowserContext> {
  const context = await browser.newContext(options);
  onTestFinished(() => context.close());
  return context;
}

/** Opens a page, which must neither open a dialog nor report an error. */
async function visit(context: BrowserContext, address: string): Promise<{ page: Page; complaints: string[] }> {
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("dialog", (dialog) => {
    complaints.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    // The browser reports the status of an error page.
    if (message.type() === "error" && !/status of 404/.test(message.text())) complaints.push(message.text());
  });
  await page.goto(address);
  return { page, complaints };
}

/** What a page shows. */
const textOf = async (page: Page, selector = "main"): Promise<string> =>
  (await page.locator(selector).allInnerTexts()).join("\n");

const withoutButtons = (text: string): string => text.replace(/(\s|\bCopy\b)+/g, " ");

test.each(everyKind)("%s is accessible in both colours, and fits on every screen", async (kind) => {
  const context = await open({ viewport: { width: widths[0], height: 900 } });
  const { page, complaints } = await visit(context, addressOf(kind));
  expect(await page.getAttribute("html", "lang")).toBe("en");
  for (const colorScheme of ["dark", "light"] as const) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width: widths[0], height: 900 });
    expect(await accessibilityProblems(page), colorScheme).toEqual([]);
    for (const width of widths) {
      await page.setViewportSize({ width, height: 900 });
      expect(await overflowingElements(page), `${kind} at ${width} px`).toEqual([]);
      await takePicture(page, `${kind}-${colorScheme}-${width}`);
    }
  }
  // At the last width, tables have another form.
  expect(await accessibilityProblems(page)).toEqual([]);
  expect(complaints).toEqual([]);
});

test("a page that breaks the rules is noticed", async () => {
  const { page } = await visit(await open({ viewport: { width: 390, height: 900 } }), `${server.url}/frost/`);
  expect(await overflowingElements(page)).toEqual([]);
  await page.evaluate(() => {
    const main = document.querySelector("main div") as HTMLElement;
    main.innerHTML += '<input type="text"><p id="wide">a</p>';
    (document.getElementById("wide") as HTMLElement).style.width = "500px";
  });
  expect((await accessibilityProblems(page)).join("\n")).toMatch(/^label: <input/);
  expect((await overflowingElements(page)).join("\n")).toContain('id="wide"');
});

test("every page is small, complete without scripts, and asks for nothing from elsewhere", async () => {
  const context = await open({ javaScriptEnabled: false });
  const requested: string[] = [];
  context.on("request", (request) => requested.push(request.url()));
  const plain = await context.newPage();
  const scripted = await (await open()).newPage();
  for (const kind of everyKind) {
    const response = await plain.goto(addressOf(kind));
    expect((await response?.body())?.length, kind).toBeLessThan(maxPageBytes);
    await scripted.goto(addressOf(kind));
    expect(withoutButtons(await textOf(plain)), kind).toBe(withoutButtons(await textOf(scripted)));
  }
  expect(new Set(requested.map((url) => new URL(url).origin))).toEqual(new Set([server.url]));
  // A page needs no second request.
  expect(requested.length).toBe(everyKind.length);
});

test("every link of every page leads somewhere", async () => {
  const headers = { accept: "text/html" };
  const found = new Map<string, string>();
  for (const kind of everyKind) {
    const address = addressOf(kind);
    const html = await (await fetch(address, { headers })).text();
    for (const [, href = ""] of html.matchAll(/(?:href|action)="([^"]*)"/g)) {
      if (href.startsWith("#")) continue;
      const target = new URL(href.replaceAll("&amp;", "&"), address);
      target.hash = "";
      if (target.origin === server.url) found.set(target.href, kind);
    }
  }
  expect(found.size).toBeGreaterThan(200);
  const broken: string[] = [];
  for (const [target, kind] of found) {
    const { status } = await fetch(target, { method: "HEAD", headers });
    if (status !== 200) broken.push(`${kind}: ${target} is ${status}`);
  }
  expect(broken).toEqual([]);
});

test("what the author of a package wrote runs nothing and is shown as it is, without reversing anything", async () => {
  const context = await open({ viewport: { width: 320, height: 900 } });
  for (const path of ["packages/hostile", "packages?q=hostile", "rejects", "packages/hostile-relations"]) {
    const { page, complaints } = await visit(context, `${server.url}/frost/-/${path}`);
    expect(await overflowingElements(page), path).toEqual([]);
    expect(complaints, path).toEqual([]);
    const main = page.locator("main");
    expect(await main.locator("script, iframe, img, svg:not(.chart), [onload], [onerror]").count(), path).toBe(0);
    expect(await page.locator('a[href^="javascript:"]').count(), path).toBe(0);
    expect(await textOf(page), path).not.toMatch(/[\u202a-\u202e\u2066-\u2069]/);
    await page.close();
  }
  const { page } = await visit(context, `${server.url}/frost/-/packages/hostile`);
  await page.click("summary");
  const text = await textOf(page);
  expect(text).toContain("<svg onload=alert(5)>");
  expect(text).toContain("<script>alert(7)</script>");
  expect(text).toContain("⟨U+202E⟩");
  expect(text).toContain(longWord);
  expect(text).not.toContain("Homepage");
  expect(await overflowingElements(page)).toEqual([]);
});

test("a script in a page that is not ours would not run", async () => {
  const context = await open();
  const page = await context.newPage();
  // The same response with a script and an inline handler added, as if the escaping were broken.
  await page.route("**/frost/-/packages/hostile", async (route) => {
    const response = await route.fetch();
    const body = (await response.text()).replace(
      "<h1>",
      '<script>document.title="run"</script><img src="x" onerror="document.title=1"><h1>',
    );
    await route.fulfill({ response, body });
  });
  const refused: string[] = [];
  page.on("console", (message) => refused.push(message.text()));
  await page.goto(`${server.url}/frost/-/packages/hostile`);
  expect(await page.title()).toBe("hostile – frost");
  expect(refused.join("\n")).toContain("Content Security Policy");
});

test("everything can be reached and done with the keyboard alone", async () => {
  const context = await open();
  const { page } = await visit(context, `${server.url}/frost/`);
  await page.keyboard.press("Tab");
  expect(await focusedText(page)).toBe("Skip to the content");
  const reached = new Set<string>();
  const all = page.locator("a, button, input, select, summary").filter({ visible: true });
  const count = await all.count();
  for (let presses = 0; presses < count; presses += 1) {
    reached.add(await focusedText(page));
    const isSeen = await page.evaluate(() => {
      const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement ?? document.body);
      return outlineStyle !== "none" && outlineWidth !== "0px";
    });
    expect(isSeen, await focusedText(page)).toBe(true);
    await page.keyboard.press("Tab");
  }
  for (const text of [
    "Packages",
    "Health",
    "Search",
    "Copy",
    "frost.sources",
    "The one-line form, for older systems",
  ]) {
    expect([...reached]).toContain(text);
  }
  // A search, from the skip link to a package.
  await page.goto(`${server.url}/frost/-/packages`);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.type("archives");
  await page.keyboard.press("Enter");
  await page.waitForURL(/q=archives/);
  expect(await page.locator(".results h2").allInnerTexts()).toContain("icepick");
  await page.getByRole("link", { name: "icepick" }).focus();
  await page.keyboard.press("Enter");
  await page.waitForURL(/-\/packages\/icepick$/);
  // Details open without a mouse.
  await page.goto(`${server.url}/frost/-/packages/frost`);
  await page.locator("summary").first().focus();
  await page.keyboard.press("Enter");
  expect(await page.locator("details").first().getAttribute("open")).not.toBeNull();
});

const focusedText = (page: Page): Promise<string> =>
  page.evaluate(() => document.activeElement?.textContent.trim() ?? "");

test("the button beside a command copies it", async () => {
  const context = await open({ permissions: ["clipboard-read", "clipboard-write"] });
  const { page } = await visit(context, `${server.url}/frost/-/packages/frost`);
  await page.getByRole("button", { name: "Copy" }).first().click();
  await page.getByRole("status").filter({ hasText: "Copied" }).waitFor();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe("sudo apt install frost");
});

test("a package that a view hides has a page that says so", async () => {
  const { page } = await visit(await open(), `${server.url}/frost/-/packages/python3-module-005`);
  expect(await textOf(page)).toContain("A view of the suite hides it.");
});

test("a command of the page adds the chosen suite only", async () => {
  const { page } = await visit(await open(), `${server.url}/frost/?suite=sid`);
  expect(await textOf(page, ".snippet pre")).toContain(`"${server.url}/frost/frost.sources?suite=sid"`);
  expect(await (await fetch(`${server.url}/frost/frost.sources?suite=sid`)).text()).toMatch(/^Suites: sid$/m);
  expect(await (await fetch(`${server.url}/frost/frost.sources`)).text()).toMatch(
    /^Suites: (sid trixie|trixie sid)$|^Suites: trixie$/m,
  );
  expect((await fetch(`${server.url}/frost/frost.sources?suite=woody`)).status).toBe(404);
});

test("the page of the health has plots of what happened", async () => {
  // Uploads are counted a few times each minute.
  const health = async () => await (await fetch(`${server.url}/frost/-/health`)).text();
  while (/aria-label="0 uploads"/.test(await health())) await setTimeout(200);
  const labels = [...(await health()).matchAll(/role="img" aria-label="([^"]*)"/g)].map(([, label]) => label);
  expect(labels).toEqual([
    expect.stringMatching(/^2 pings: .* s on average, .* s at most$/),
    expect.stringMatching(/^2 pings/),
    expect.stringMatching(/^[4-9] uploads$/),
    expect.stringMatching(/^1\d\d uploads$/),
    expect.stringMatching(/^\d+ requests$/),
    expect.stringMatching(/^\d+ requests$/),
  ]);
});

test("a private repository shows its pages to its readers, and nothing of them to others", async () => {
  const front = await (await fetch(server.url)).text();
  expect(front).not.toContain("secret");
  for (const path of ["", "-/packages/frost", "-/health", "dists/", "-/nothing"]) {
    const response = await fetch(`${server.url}/secret/${path}`, { headers: { accept: "text/html" } });
    expect(response.status, path).toBe(401);
    expect(response.headers.get("www-authenticate"), path).toContain('Basic realm="secret"');
    const text = await response.text();
    expect(text, path).toContain("<h1>Readers only</h1>");
    expect(text, path).not.toMatch(/ada|libfrost2|-\/packages/);
  }
  const inside = await open({ httpCredentials: { username: "reader", password } });
  const { page, complaints } = await visit(inside, `${server.url}/secret/`);
  expect(await textOf(page)).toContain("login READER password PASSWORD");
  await page.getByRole("link", { name: "snowplough" }).first().click();
  expect(await textOf(page, "h1")).toContain("snowplough");
  expect(complaints).toEqual([]);
  const { headers } = await fetch(`${server.url}/secret/-/packages`, {
    headers: { authorization: `Basic ${Buffer.from(`reader:${password}`).toString("base64")}` },
  });
  expect(headers.get("cache-control")).toBe("private, no-cache");
});
