// Writing a site of plain files: what a failed export leaves behind, what is trusted, and whose a directory is.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { parseSuite } from "../../src/base/names.ts";
import type { Manifest } from "../../src/publishing/publication.ts";
import { publicationId } from "../../src/publishing/publication.ts";
import type { Resource } from "../../src/publishing/resource.ts";
import type { SiteSource } from "../../src/publishing/site-export.ts";
import { exportSite } from "../../src/publishing/site-export.ts";
import { runCommand } from "../support/command-line.ts";
import { aDeb } from "../support/debs.ts";

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const big = Buffer.alloc(1_000_000, "B");
const small = Buffer.from("small");
const pooled = (name: string, bytes: Uint8Array) => `pool/SHA256/${sha256(bytes)}/${name}.deb`;
const stanza = (name: string, bytes: Uint8Array) =>
  `Package: ${name}\nFilename: ${pooled(name, bytes)}\nSize: ${bytes.length}\nSHA256: ${sha256(bytes)}\n\n`;
const index = Buffer.from(stanza("big", big) + stanza("small", small));

function aSite(): string {
  const work = mkdtempSync(join(tmpdir(), "tahoe-apt-site-"));
  onTestFinished(() => rmSync(work, { recursive: true }));
  return work;
}

/** Two packages: one comes slowly, one fails as long as it is told to. */
class Source implements SiteSource {
  isSmallAway = false;
  stepMs = 10;
  readonly segments = { read: () => index };
  readonly #form = { sizeBytes: index.length, sha256: sha256(index) };
  readonly #manifest: Manifest = {
    suite: parseSuite("sid"),
    id: publicationId(1_700_000_000),
    dateSeconds: 1_700_000_000,
    state: "",
    components: ["main"],
    architectures: ["all"],
    binaryPackages: 2,
    sourcePackages: 0,
    blobs: [],
    indices: [
      {
        directory: "main/binary-all",
        name: "Packages",
        segments: [{ id: "one", gzBytes: 1, unpaddedBytes: 1, uncompressedBytes: index.length, lines: 1 }],
        forms: { plain: this.#form, gz: this.#form, xz: this.#form },
      },
    ],
    release: "r",
    inRelease: "i",
    releaseGpg: "g",
  };

  publications(): Iterable<Manifest> {
    return [this.#manifest];
  }

  publication(): undefined {
    return undefined;
  }

  async find(path: string): Promise<Resource> {
    if (path.endsWith("big.deb")) return this.#resource(big, true);
    if (path.endsWith("small.deb") && this.isSmallAway) throw new Error("the grid is away");
    return this.#resource(path.endsWith("small.deb") ? small : path.includes("Packages") ? index : Buffer.from("x"));
  }

  #resource(bytes: Buffer, isSlow = false): Resource {
    const wait = () => sleep(this.stepMs);
    async function* slowly(signal: AbortSignal): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < bytes.length; at += 20_000) {
        signal.throwIfAborted();
        await wait();
        yield bytes.subarray(at, at + 20_000);
      }
    }
    return {
      sizeBytes: bytes.length,
      etag: "x",
      contentType: "x",
      caching: "immutable",
      lastModifiedSeconds: 1,
      read: async (_range, signal) => (isSlow ? slowly(signal) : bytes),
    };
  }
}

const run = (source: Source, directory: string) =>
  exportSite(source, { directory, keepSeconds: 60, now: Date.now, signal: new AbortController().signal });

test("an export that failed writes nothing any more once it has said so, and the next one brings every package whole", async () => {
  const [source, directory] = [new Source(), aSite()];
  source.isSmallAway = true;
  await expect(run(source, directory)).rejects.toThrow("the grid is away");
  const place = join(directory, dirname(pooled("big", big)));
  const before = existsSync(place) ? readdirSync(place) : [];
  await sleep(1000);
  expect(existsSync(place) ? readdirSync(place) : []).toEqual(before);
  expect(before).toEqual([]);
  source.isSmallAway = false;
  expect(await run(source, directory)).toEqual({ switched: ["sid"], packagesWritten: 2 });
  expect(sha256(readFileSync(join(directory, pooled("big", big))))).toBe(sha256(big));
});

test("a file that stands there already is trusted by its digest, not by its size", async () => {
  const [source, directory] = [new Source(), aSite()];
  source.stepMs = 0;
  for (const [name, bytes, found] of [
    ["big", big, Buffer.alloc(big.length)],
    ["small", small, small],
  ] as const) {
    mkdirSync(join(directory, dirname(pooled(name, bytes))), { recursive: true });
    writeFileSync(join(directory, pooled(name, bytes)), found);
  }
  expect(await run(source, directory)).toEqual({ switched: ["sid"], packagesWritten: 1 });
  expect(sha256(readFileSync(join(directory, pooled("big", big))))).toBe(sha256(big));
});

test("an export directory belongs to one repository: another one's export is refused and removes nothing", async () => {
  const work = aSite();
  const site = join(work, "site");
  for (const [tree, suite] of [
    ["a", "sid"],
    ["b", "trixie"],
  ] as const) {
    const place = join(work, tree, "dists", suite, "main/binary-amd64");
    mkdirSync(place, { recursive: true });
    writeFileSync(join(place, `${tree}.deb`), await aDeb({ package: `only-${tree}`, architecture: "amd64" }));
  }
  const run = async (tree: string) => {
    const flags = ["--folder", join(work, tree), "--state", join(work, `state-${tree}`)];
    return await runCommand(["export", ...flags, site]);
  };
  expect(await run("a")).toMatchObject({ exitCode: 0 });
  const refused = await run("b");
  expect(refused.exitCode).toBe(1);
  expect(refused.output).toContain(join(work, "a"));
  expect(readdirSync(join(site, "dists"))).toEqual(["sid"]);
  expect(await run("a"), "its own repository goes on").toMatchObject({ exitCode: 0 });
  rmSync(join(site, ".generations/repository.json"));
  expect(await run("b"), "once it is given away").toMatchObject({ exitCode: 0 });
});
