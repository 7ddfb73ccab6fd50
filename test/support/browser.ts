// Debian's chromium, driven by playwright, and what is checked of each page in it.
/// <reference lib="dom" />
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { chromium } from "playwright-core";

const executablePath = "/usr/bin/chromium";
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** @throws if chromium is not installed */
export async function launchBrowser(): Promise<Browser> {
  if (!existsSync(executablePath)) throw new Error("this test needs chromium: apt-get install chromium");
  // As root, chromium has no sandbox.
  return await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
}

/** What axe-core complains about, one line for each rule and element. */
export async function accessibilityProblems(page: Page): Promise<readonly string[]> {
  // As the debugger does, since the policy of the page allows no other script.
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(axeSource);
  return await page.evaluate(async () => {
    const { axe } = globalThis as unknown as { readonly axe: typeof import("axe-core") };
    const { violations } = await axe.run(document, { resultTypes: ["violations"] });
    return violations.flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 200)}: ${failureSummary}`),
    );
  });
}

/** The elements that are wider than the window, the first ones. */
export async function overflowingElements(page: Page): Promise<readonly string[]> {
  return await page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    // What is cut off, as the heads of collapsed tables, makes nothing wider.
    const found = [...document.querySelectorAll("body *")].filter(
      (element) =>
        element.getBoundingClientRect().right > width + 1 && element.closest(".unseen, .stack thead") === null,
    );
    return found.slice(0, 5).map((element) => element.outerHTML.slice(0, 150));
  });
}

/** Writes a picture of the whole page if PAGE_PICTURES names a folder. */
export async function takePicture(page: Page, name: string): Promise<void> {
  const folder = process.env.PAGE_PICTURES;
  if (folder === undefined || folder === "") return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}
