// How pages show texts, sizes, times and addresses.
import fc from "fast-check";
import { expect, test } from "vitest";
import { pathToRoot, wantsHtml } from "../../../src/http/browsers.ts";
import { escapeHtml } from "../../../src/web/html/escape.ts";
import { count, duration, size, timeHtml } from "../../../src/web/html/formats.ts";
import { Links } from "../../../src/web/html/links.ts";
import { cases } from "../../support/cases.ts";

test("no text can contain markup, a control character, or a character that reverses others", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: "binary" }), fc.string()), (text) => {
      const html = escapeHtml(text);
      expect(html).not.toMatch(/[<>"']|&(?!(amp|lt|gt|quot|#39);)/);
      expect(html).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/);
    }),
    { numRuns: cases(2000) },
  );
});

test("what cannot be seen is shown by its number", () => {
  expect(escapeHtml("a\u202eb\u0007c")).toBe("a⟨U+202E⟩b⟨U+0007⟩c");
  expect(escapeHtml("two\nlines\tشكرا 漢字")).toBe("two\nlines\tشكرا 漢字");
});

test.each([
  [0, "0 bytes"],
  [1, "1 byte"],
  [999, "999 bytes"],
  [1000, "1.00 kB"],
  [12_345, "12.3 kB"],
  [999_499, "999 kB"],
  [999_999, "1.00 MB"],
  [1_834_000_000, "1.83 GB"],
])("%d bytes are shown as %s", (bytes, shown) => expect(size(bytes)).toBe(shown));

test("counts, durations and times", () => {
  expect(count(1, "package")).toBe("1 package");
  expect(count(60_000, "package")).toBe("60,000 packages");
  expect(duration(59)).toBe("59 seconds");
  expect(duration(3 * 86_400 + 5)).toBe("3 days");
  expect(timeHtml(784_111_777)).toBe('<time datetime="1994-11-06T08:49:37Z">1994-11-06 08:49</time>');
  expect(timeHtml(undefined)).toBe("");
  expect(timeHtml(1e15)).toBe("");
});

test("the path to the front page is right at any depth", () => {
  for (const target of ["/", "/debian/", "/debian/-/packages", "/debian/-/packages/a%2Fb?q=/x/", "/a/b/c/d/"]) {
    const resolved = new URL(pathToRoot(target), `http://h${target}`);
    expect(resolved.pathname, target).toBe("/");
  }
});

test("links escape every name", () => {
  const links = new Links("../", "debian");
  expect(links.package("g++?#/..")).toBe("../debian/-/packages/g%2B%2B%3F%23%2F..");
  expect(links.builder("dists/sid/main/source/a b")).toBe("../debian/-/builders/dists/sid/main/source/a%20b");
  expect(links.feed("bookworm/updates")).toBe("../debian/-/feeds/bookworm/updates.atom");
  expect(links.feed("./extras/")).toBe("../debian/-/feed.atom?suite=.%2Fextras%2F");
  expect(links.badge("g++")).toBe("../debian/-/badge/g%2B%2B.svg");
  expect(links.packages({ q: "a&b", suite: "" })).toBe("../debian/-/packages?q=a%26b");
});

test.each([
  ["text/html,application/xhtml+xml,*/*;q=0.8", true],
  ["TEXT/HTML", true],
  ["text/*", false],
  ["*/*", false],
  [undefined, false],
])("a client that accepts %s is a browser: %s", (accept, isBrowser) =>
  expect(wantsHtml({ headers: { ...(accept !== undefined && { accept }) } })).toBe(isBrowser),
);
