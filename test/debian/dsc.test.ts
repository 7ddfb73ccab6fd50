// A .dsc, signed or not, gives its stanza and its parts, or an error with the reason.
import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { configurationKey } from "../../src/base/errors.ts";
import { defaultInspectLimits } from "../../src/catalog/inspection/inspect-limits.ts";
import type { Dsc } from "../../src/debian/dsc.ts";
import { readDsc } from "../../src/debian/dsc.ts";
import { Malformed } from "../../src/debian/malformed.ts";
import { fieldOf } from "../../src/debian/stanza.ts";
import type { DscRecipe } from "../support/debs.ts";
import { aDsc, inChunks } from "../support/debs.ts";

const read = (text: string | Uint8Array, limits = defaultInspectLimits): Promise<Dsc> =>
  readDsc(inChunks(Buffer.from(text as Uint8Array)), limits, ["md5"]);

async function flawOf(text: string | Uint8Array, limits = defaultInspectLimits): Promise<string> {
  try {
    await read(text, limits);
  } catch (thrown) {
    if (thrown instanceof Malformed) return `${thrown.flaw}: ${thrown.message}`;
    throw thrown;
  }
  return "none";
}

function text(recipe: DscRecipe = {}): string {
  const { dsc, files } = aDsc(recipe);
  return files.get(dsc)!.toString();
}

/** A text in the form of `gpg --clearsign`, with an invalid signature. */
const signed = (body: string): string =>
  `-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n${body.replace(/^-/gm, "- -")}` +
  "\n-----BEGIN PGP SIGNATURE-----\n\niQEzBAEBCgAdFiEE\n=abcd\n-----END PGP SIGNATURE-----\n";

const md5 = "0123456789abcdef0123456789abcdef";

test("a .dsc gives its stanza, and its parts with all digests", async () => {
  const parts = { "hello_1.0.orig.tar.gz": "original", "hello_1.0-1.debian.tar.xz": "packaging" };
  const result = await read(text({ parts }));
  expect(fieldOf(result.stanza, "Source")).toBe("hello");
  expect(result.parts).toEqual(
    Object.entries(parts).map(([name, content]) => ({
      name,
      sizeBytes: content.length,
      digests: Object.fromEntries(
        ["md5", "sha1", "sha256"].map((algorithm) => [algorithm, createHash(algorithm).update(content).digest("hex")]),
      ),
    })),
  );
});

test("the armour is not in the stanza, but is part of size and digests", async () => {
  const whole = signed(text());
  const result = await read(whole);
  expect(result.stanza).toEqual((await read(text())).stanza);
  expect(result.sizeBytes).toBe(whole.length);
  expect(result.digests.sha256).toBe(createHash("sha256").update(whole).digest("hex"));
});

test("white space at line ends, and lines of white space before the signature, are ignored", async () => {
  const plain = await read(text());
  for (const odd of [
    signed(`${text()} \t\n`),
    signed(`${text()}\n \n\n`),
    signed(text()).replaceAll("\n", "\r\n"),
    signed(text()).replaceAll("\n", " \n"),
    `${text()} \n`,
  ]) {
    expect((await read(odd)).stanza).toEqual(plain.stanza);
  }
  await expect(read(signed(text().replace("Version:", " \nVersion:")))).rejects.toThrow(/second stanza/);
});

test("dashes that the armour escapes are unescaped", async () => {
  const body = text({ fields: { "X-Note": "\n a\n" + " b" } }).replace("X-Note:", "X-Note:");
  const escaped = signed(body).replace("\nSource:", "\n- Source:");
  expect(fieldOf((await read(escaped)).stanza, "Source")).toBe("hello");
});

test("names and values may be Latin-1, inside the armour as well", async () => {
  const latin = Buffer.from(signed(text({ fields: { Maintainer: "Jos\xe9 <j@example.org>" } })), "latin1");
  expect(fieldOf((await read(latin)).stanza, "Maintainer")).toBe("José <j@example.org>");
  const utf8 = Buffer.from(signed(text({ fields: { Maintainer: "José <j@example.org>" } })), "utf8");
  expect(fieldOf((await read(utf8)).stanza, "Maintainer")).toBe("José <j@example.org>");
});

test.each<[string, string | RegExp, string]>([
  ["text before its armour", /outside|before/, `Format: 1.0\n${signed(text())}`],
  ["text behind its signature", /follows/, `${signed(text())}Format: 1.0\n`],
  ["an armour header other than Hash", /headers/, signed(text()).replace("Hash: SHA512", "Comment: x")],
  ["a signature that does not end", /does not end/, signed(text()).slice(0, -30)],
  ["no signature", /does not end/, signed(text()).slice(0, 200)],
  [
    "an armour inside its armour",
    /dash/,
    signed(`${text()}X`).replace("\nX", "\n-----BEGIN PGP SIGNED MESSAGE-----\n"),
  ],
])("a .dsc with %s is refused", async (_what, why, raw) => {
  expect(await flawOf(raw)).toMatch(/^bad-dsc: /);
  expect(await flawOf(raw)).toMatch(why);
});

test.each<[string, RegExp, DscRecipe["fields"]]>([
  ["no Format", /Format/, { Format: undefined }],
  ["a strange Format", /Format/, { Format: "x y z" }],
  ["no Source", /Source/, { Source: undefined }],
  ["a path for its Source", /Source/, { Source: "../x" }],
  ["no Version", /Version/, { Version: undefined }],
  ["a malformed Version", /version/, { Version: "x" }],
  ["no list of files", /Files/, { Files: undefined, "Checksums-Sha1": undefined, "Checksums-Sha256": undefined }],
  ["an empty list", /names no file/, { Files: "" }],
  ["a line with too few words", /line/, { Files: `\n ${md5} 5` }],
  ["a line with too many words", /line/, { Files: `\n ${md5} 5 a b` }],
  ["a digest of another length", /digest/, { Files: `\n ${md5}0 5 a` }],
  ["a digest that is no hex", /digest/, { Files: `\n ${md5.replace("0", "x")} 5 a` }],
  ["a negative size", /size/, { Files: `\n ${md5} -5 a` }],
  ["a size beyond what counts exactly", /size/, { Files: `\n ${md5} 9007199254740993 a` }],
  ["a path among its files", /part/, { Files: `\n ${md5} 5 ../a` }],
  ["the directory itself among its files", /part/, { Files: `\n ${md5} 5 ..` }],
  ["a .dsc among its files", /part/, { Files: `\n ${md5} 5 other.dsc` }],
  ["settings of a web server among its files", /part/, { Files: `\n ${md5} 5 .htaccess` }],
  ["a hidden archive among its files", /part/, { Files: `\n ${md5} 5 .x.tar.gz` }],
  ["a page among its files", /part/, { Files: `\n ${md5} 5 index.html` }],
  ["a file that comes twice", /twice/, { Files: `\n ${md5} 5 a.tar\n ${md5} 5 a.tar` }],
  ["lists that name other files", /other lists/, { Files: `\n ${md5} 5 a.tar\n ${md5} 5 b.tar` }],
])("a .dsc with %s is refused", async (_what, why, fields = {}) => {
  expect(await flawOf(text({ fields }))).toMatch(/^bad-dsc: /);
  expect(await flawOf(text({ fields }))).toMatch(why);
});

test("lists that differ in a size are refused", async () => {
  expect(await flawOf(text().replace(/^( [0-9a-f]{64} )(\d+)/m, "$11$2"))).toMatch(/^bad-dsc: .*sizes/);
});

test("lists with different numbers of files are refused", async () => {
  const fewer = text().replace(/(Checksums-Sha256:\n [^\n]*\n) [^\n]*\n/, "$1");
  expect(fewer).not.toBe(text());
  expect(await flawOf(fewer)).toMatch(/^bad-dsc: .*other files/);
});

test("one list is enough", async () => {
  const { parts } = await read(text({ fields: { Files: undefined, "Checksums-Sha1": undefined } }));
  expect(Object.keys(parts[0]!.digests)).toEqual(["sha256"]);
});

test.each([
  ["maxDscBytes", 100],
  ["maxSourceStanzaBytes", 100],
  ["maxSourceParts", 1],
] as const)("%s holds", async (limit, allowed) => {
  expect(await flawOf(text(), { ...defaultInspectLimits, [limit]: allowed })).toMatch(
    new RegExp(`^limit: .* ${configurationKey(limit)} = ${allowed}`),
  );
});

test.each(["x_1.orig.tar.xz", "x_1.orig-a.tar.bz2.asc", "x_1-1.diff.gz", "x_1.tar", "x_1.git", "x_1.gitshallow"])(
  "%s may be a part of a source package",
  async (name) => {
    const lists = { Files: `\n ${md5} 5 ${name}`, "Checksums-Sha1": undefined, "Checksums-Sha256": undefined };
    expect((await read(text({ fields: lists }))).parts).toMatchObject([{ name, sizeBytes: 5 }]);
  },
);

test("a signed .dsc that ends early is refused at every byte but the last line feed", async () => {
  const whole = signed(text());
  for (let end = 0; end < whole.length - 1; end++)
    expect(await flawOf(whole.slice(0, end)), `${end}`).toMatch(/^bad-dsc: /);
});

test("a cut, shuffled or random .dsc gives a value or a flaw", async () => {
  const whole = Buffer.from(signed(text()));
  const place = fc.integer({ min: 0, max: whole.length });
  await fc.assert(
    fc.asyncProperty(place, place, fc.uint8Array({ maxLength: 50 }), async (a, b, bytes) => {
      const result = await read(Buffer.concat([whole.subarray(0, a), bytes, whole.subarray(b)])).catch(
        (thrown: unknown) => thrown,
      );
      if (result instanceof Error) expect(result).toBeInstanceOf(Malformed);
    }),
    { numRuns: 1000 },
  );
});
