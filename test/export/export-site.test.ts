// Exporting a site of plain files: failures, existing files, and suites within suites.
import { createHash } from "node:crypto";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { parseSuite } from "../../src/base/names.ts";
import { withResolvers } from "../../src/base/with-resolvers.ts";
import type { SiteSource } from "../../src/export/export-site.ts";
import { exportSite } from "../../src/export/export-site.ts";
import type { Resource } from "../../src/publishing/resource.ts";
import type { Manifest } from "../../src/publishing/store/publication.ts";
import { publicationId } from "../../src/publishing/store/publication.ts";
import { aResource } from "../support/served-repository.ts";

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

/** Two packages: one is slow, one fails until the test ends that. */
class Source implements SiteSource {
  isSmallAway = false;
  stepMs = 10;
  /** How many reads of the slow package are running. */
  slowReads = 0;
  readonly #slowBegun = withResolvers<void>();
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
    if (path.endsWith("small.deb") && this.isSmallAway) {
      await this.#slowBegun.promise;
      throw new Error("the grid is away");
    }
    return this.#resource(path.endsWith("small.deb") ? small : path.includes("Packages") ? index : Buffer.from("x"));
  }

  #resource(bytes: Buffer, isSlow = false): Resource {
    const wait = () => sleep(this.stepMs);
    const count = (change: number) => {
      this.slowReads += change;
      this.#slowBegun.resolve();
    };
    async function* slowly(signal: AbortSignal): AsyncGenerator<Uint8Array> {
      count(1);
      try {
        for (let at = 0; at < bytes.length; at += 20_000) {
          signal.throwIfAborted();
          await wait();
          yield bytes.subarray(at, at + 20_000);
        }
      } finally {
        count(-1);
      }
    }
    return aResource(bytes, isSlow ? { read: async (_range, signal) => slowly(signal) } : {});
  }
}

const run = (source: Source, directory: string) =>
  exportSite(source, { directory, keepSeconds: 60, now: Date.now, signal: new AbortController().signal });

test("a failed export writes nothing after it has thrown, and the next one writes every package completely", async () => {
  const [source, directory] = [new Source(), aSite()];
  source.isSmallAway = true;
  await expect(run(source, directory)).rejects.toThrow("the grid is away");
  const place = join(directory, dirname(pooled("big", big)));
  expect(source.slowReads).toBe(0);
  expect(existsSync(place) ? readdirSync(place) : []).toEqual([]);
  source.isSmallAway = false;
  expect(await run(source, directory)).toEqual({ switched: ["sid"], packagesWritten: 2 });
  expect(sha256(readFileSync(join(directory, pooled("big", big))))).toBe(sha256(big));
});

test("an existing file is trusted by its digest, not by its size", async () => {
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

/** Suites of one package each, whose index and Release change in each round. */
class Suites implements SiteSource {
  readonly manifests = new Map<string, Manifest>();
  readonly #bytes = new Map<string, Buffer>();
  readonly segments = { read: (id: string) => this.#bytes.get(id) ?? Buffer.of() };

  /** @param component the component of the suite's index */
  publish(suite: string, round: number, component = "main"): void {
    const deb = Buffer.from(`package of ${suite}, ${round}`);
    const packages = Buffer.from(stanza("one", deb));
    const form = { sizeBytes: packages.length, sha256: sha256(packages) };
    const id = `${suite} ${round}`;
    for (const [name, bytes] of [
      [id, packages],
      [pooled("one", deb), deb],
      [form.sha256, packages],
    ] as const)
      this.#bytes.set(name, bytes);
    this.manifests.set(suite, {
      suite: parseSuite(suite),
      id: publicationId(1_700_000_000 + round),
      dateSeconds: 1_700_000_000 + round,
      state: "",
      components: [component],
      architectures: ["all"],
      binaryPackages: 1,
      sourcePackages: 0,
      blobs: [],
      indices: [
        {
          directory: `${component}/binary-all`,
          name: "Packages",
          segments: [{ id, gzBytes: 1, unpaddedBytes: 1, uncompressedBytes: packages.length, lines: 1 }],
          forms: { plain: form, gz: form, xz: form },
        },
      ],
      release: `${suite} ${round}`,
      inRelease: `${suite} ${round}`,
      releaseGpg: `${suite} ${round}`,
    });
  }

  publications(): Iterable<Manifest> {
    return this.manifests.values();
  }

  publication(): undefined {
    return undefined;
  }

  async find(path: string): Promise<Resource> {
    const [manifest] = [...this.manifests.values()]
      .filter(({ suite }) => path.startsWith(`dists/${suite}/`))
      .toSorted((one, two) => two.suite.length - one.suite.length);
    const signed = /\/(Release|InRelease|Release\.gpg)$/.test(path);
    const bytes =
      this.#bytes.get(path) ??
      (signed
        ? Buffer.from(manifest?.release ?? "")
        : this.#bytes.get(manifest?.indices[0]?.forms.plain.sha256 ?? "")) ??
      Buffer.of();
    return aResource(bytes);
  }
}

const exporting = (suites: Suites, directory: string, nowMs = 0) =>
  exportSite(suites, { directory, keepSeconds: 60, now: () => nowMs, signal: new AbortController().signal });
const releaseIn = (directory: string, suite: string): string =>
  readFileSync(join(directory, "dists", suite, "InRelease"), "utf8");
const byHash = (directory: string, suite: string, component = "main"): readonly string[] =>
  readdirSync(join(directory, "dists", suite, component, "binary-all/by-hash/SHA256"));

test("suites with slashes in their names are exported within one another, and each is switched independently", async () => {
  const [suites, directory] = [new Suites(), aSite()];
  const names = ["bookworm", "bookworm/updates", "bookworm/updates/new/er", "bookworm/backports", "sid"];
  for (const name of names) suites.publish(name, 1);
  expect((await exporting(suites, directory)).switched.toSorted()).toEqual(names.toSorted());
  const releases = () => names.map((name) => releaseIn(directory, name));
  expect(releases()).toEqual(names.map((name) => `${name} 1`));
  expect((await exporting(suites, directory)).switched).toEqual([]);
  for (const [at, name] of names.entries()) {
    suites.publish(name, 2);
    expect((await exporting(suites, directory)).switched).toEqual([name]);
    expect(releases()).toEqual(names.map((each, other) => `${each} ${other <= at ? 2 : 1}`));
  }
});

test("files that a suite no longer lists are removed later, and those of a contained suite stay", async () => {
  const [suites, directory] = [new Suites(), aSite()];
  for (const name of ["bookworm", "bookworm/updates"]) suites.publish(name, 1);
  await exporting(suites, directory);
  const kept = byHash(directory, "bookworm/updates");
  for (const [round, files] of [
    [2, 2],
    [3, 2],
  ] as const) {
    suites.publish("bookworm", round);
    await exporting(suites, directory, round * 61_000);
    expect(byHash(directory, "bookworm")).toHaveLength(files);
    expect(byHash(directory, "bookworm/updates")).toEqual(kept);
  }
  const around = byHash(directory, "bookworm");
  suites.publish("bookworm/updates", 2);
  await exporting(suites, directory, 4 * 61_000);
  expect(byHash(directory, "bookworm/updates")).toHaveLength(2);
  expect(byHash(directory, "bookworm")).toEqual(around);
  expect(lstatSync(join(directory, "dists/bookworm/updates")).isSymbolicLink()).toBe(true);
});

test("a suite can be added and removed around and within another one, whose clients lose nothing", async () => {
  const [suites, directory] = [new Suites(), aSite()];
  const generations = () => readdirSync(join(directory, ".generations")).toSorted();
  suites.publish("bookworm/updates", 1);
  await exporting(suites, directory);
  expect(releaseIn(directory, "bookworm/updates")).toBe("bookworm/updates 1");
  expect(readdirSync(join(directory, "dists/bookworm"))).toEqual(["updates"]);
  suites.publish("bookworm", 1);
  await exporting(suites, directory);
  expect(releaseIn(directory, "bookworm")).toBe("bookworm 1");
  expect(releaseIn(directory, "bookworm/updates")).toBe("bookworm/updates 1");
  suites.manifests.delete("bookworm");
  await exporting(suites, directory);
  expect(readdirSync(join(directory, "dists/bookworm"))).toEqual(["updates"]);
  expect(releaseIn(directory, "bookworm/updates")).toBe("bookworm/updates 1");
  suites.publish("bookworm", 2);
  await exporting(suites, directory);
  suites.publish("bookworm/backports", 1);
  await exporting(suites, directory);
  expect(releaseIn(directory, "bookworm/backports"), "the suite around it is as it was").toBe("bookworm/backports 1");
  for (const name of ["bookworm/updates", "bookworm/backports"]) suites.manifests.delete(name);
  await exporting(suites, directory);
  expect(readdirSync(join(directory, "dists/bookworm"))).not.toContain("updates");
  expect(releaseIn(directory, "bookworm")).toBe("bookworm 2");
  expect(generations()).toEqual(["bookworm", "superseded.json"]);
  suites.manifests.delete("bookworm");
  await exporting(suites, directory);
  expect(generations()).toEqual(["superseded.json"]);
});

test("a component that becomes a suite is removed from the files of the containing suite", async () => {
  const [suites, directory] = [new Suites(), aSite()];
  suites.publish("bookworm", 1, "updates/main");
  await exporting(suites, directory);
  expect(byHash(directory, "bookworm", "updates/main")).toHaveLength(1);
  // The contained suite is published first: files of the containing suite at that path stay until it is published.
  suites.publish("bookworm/updates", 2);
  await exporting(suites, directory);
  expect(releaseIn(directory, "bookworm")).toBe("bookworm 1");
  expect(existsSync(join(directory, "dists/bookworm/updates/main/binary-all/Packages"))).toBe(true);
  suites.publish("bookworm", 3);
  await exporting(suites, directory);
  expect(releaseIn(directory, "bookworm/updates")).toBe("bookworm/updates 2");
  expect(byHash(directory, "bookworm/updates")).toHaveLength(1);
  expect(readlinkSync(join(directory, "dists/bookworm/updates"))).toBe("../../bookworm%2Fupdates/current");
});
