// Exports publications as a site of plain files that any web server can serve. Each suite is switched atomically.
import { createHash } from "node:crypto";
import { createReadStream, promises as fs } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import pLimit from "p-limit";
import { RepoError, systemCodeOf } from "../base/errors.ts";
import type { Suite } from "../base/names.ts";
import { parseSuite } from "../base/names.ts";
import { replaceFile } from "../base/replace-file.ts";
import { digesting, RunningDigests } from "../debian/digests.ts";
import type { NamedFile } from "../indices/named-files.ts";
import type { Resource } from "../publishing/resource.ts";
import type { Manifest } from "../publishing/store/publication.ts";
import type { SegmentStore } from "../publishing/store/segment-store.ts";
import { newlyReferenced, siteFiles, unreferenced } from "./site-files.ts";
import { SupersededFiles } from "./superseded-files.ts";

/** The repository to export. */
export interface SiteSource {
  /** The current publications. */
  publications(): Iterable<Manifest>;
  /** An earlier publication; undefined if it is no longer stored. */
  publication(suite: Suite, id: string): Manifest | undefined;
  readonly segments: Pick<SegmentStore, "read">;
  find(path: string, context: { readonly signal: AbortSignal }): Promise<Resource | undefined>;
}

/** The target and settings of an export. */
export interface ExportOptions {
  /** The site's root. `dists`, `pool` and `.generations` in it belong to the export; other files are ignored. */
  readonly directory: string;
  /** How long files that no publication lists any more are kept, in seconds. */
  readonly keepSeconds: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly signal: AbortSignal;
}

/** The result of one export. */
export interface ExportOutcome {
  /** The suites that were switched to a new publication. */
  readonly switched: readonly Suite[];
  readonly packagesWritten: number;
}

/** A file that must be exported is not available. */
class ExportIncomplete extends RepoError {
  readonly code = "publishing/export-incomplete";
}

/** The number of packages that are written concurrently. */
const concurrentWrites = 4;
const generations = ".generations";

/**
 * Updates a site to the current publications: first the packages, then the files of each suite in a new directory, to
 * which a symbolic link is switched atomically. If the process is killed, the site is consistent and the next export
 * continues.
 * @throws ExportIncomplete, errors of reading and writing
 */
export async function exportSite(source: SiteSource, options: ExportOptions): Promise<ExportOutcome> {
  const { directory, now, keepSeconds } = options;
  await fs.mkdir(join(directory, "dists"), { recursive: true });
  for (const entry of await fs.readdir(join(directory, "dists"), { withFileTypes: true })) {
    if (!entry.isSymbolicLink())
      throw new ExportIncomplete(`${directory}/dists/${entry.name} was not made by an export`);
  }
  const publications = [...source.publications()];
  const suites = siteSuites(publications);
  const superseded = await SupersededFiles.open(join(directory, generations, "superseded.json"));
  const expiredMs = now() - keepSeconds * 1000;
  const switched: Suite[] = [];
  let packagesWritten = 0;
  for (const one of suites) {
    const { suite, manifest, generation } = one;
    const before = await currentGeneration(directory, suite);
    if (before === generation) continue;
    const writtenBefore = new Map<string, string>();
    if (manifest !== undefined) {
      const earlier = before === undefined ? undefined : source.publication(suite, publicationIn(before));
      if (earlier !== undefined) {
        for await (const { path, sha256 } of newlyReferenced(earlier, manifest, source.segments))
          writtenBefore.set(path, sha256);
      }
      const fresh = newlyReferenced(manifest, earlier, source.segments);
      packagesWritten += await writePackages(fresh, { superseded, source, written: writtenBefore }, options);
      switched.push(suite);
    }
    await writeGeneration(one, before, superseded, source, options);
    const suiteLink = linkOf(directory, suite);
    await replaceLink(suiteLink, relative(dirname(suiteLink), join(generationsOf(directory, suite), generation)));
    for (const path of await unreferenced(new Set(writtenBefore.keys()), publications, source.segments))
      superseded.add(path, now());
    await superseded.save();
    await removeOthers(generationsOf(directory, suite), new Set([generation, currentLink]));
  }
  await removeWithdrawnSuites(directory, new Set(suites.map(({ suite }) => suite)));
  for (const path of await unreferenced(
    superseded.supersededBefore(expiredMs, "pool/"),
    publications,
    source.segments,
  )) {
    await fs.rm(join(directory, path), { force: true });
    superseded.remove(path);
  }
  await superseded.save();
  return { switched, packagesWritten };
}

/**
 * A suite of the site. If a suite's name contains a slash, its files have a separate directory, and the suite around it
 * (if any) contains a link to it, so that both can be switched independently.
 */
interface SiteSuite {
  readonly suite: Suite;
  /** Undefined for a directory that only contains suites, e.g. `bookworm` if only `bookworm/updates` exists. */
  readonly manifest: Manifest | undefined;
  /** The suites that this one contains, by their relative paths. */
  readonly within: ReadonlyMap<string, Suite>;
  /** The name of the directory of its files; it depends on the publication and on the contained suites. */
  readonly generation: string;
}

/** The suites of the site. Those with a slash come first, so that links to them never dangle. */
function siteSuites(publications: readonly Manifest[]): readonly SiteSuite[] {
  const manifests = new Map(publications.map((manifest) => [manifest.suite, manifest]));
  const within = new Map<Suite, Map<string, Suite>>([...manifests.keys()].map((suite) => [suite, new Map()]));
  for (const suite of manifests.keys()) {
    const names = suite.split("/");
    if (names.length === 1) continue;
    const parents = names.slice(1).map((_, at) => parseSuite(names.slice(0, at + 1).join("/")));
    const nearest = parents.findLast((each) => manifests.has(each)) ?? parents[0] ?? suite;
    const inner = within.get(nearest) ?? new Map<string, Suite>();
    within.set(nearest, inner.set(suite.slice(nearest.length + 1), suite));
  }
  return [...within]
    .map(([suite, inner]): SiteSuite => {
      const manifest = manifests.get(suite);
      return { suite, manifest, within: inner, generation: generationName(manifest, [...inner.keys()]) };
    })
    .toSorted((one, two) => two.suite.split("/").length - one.suite.split("/").length);
}

const generationSeparator = "+";

function generationName(manifest: Manifest | undefined, within: readonly string[]): string {
  const id = manifest?.id ?? "";
  if (within.length === 0) return id;
  const hash = createHash("sha256").update(within.toSorted().join("\n")).digest("hex").slice(0, 16);
  return [id, hash].join(generationSeparator);
}

/** The publication id in the name of a generation. */
const publicationIn = (generation: string): string => generation.split(generationSeparator)[0] ?? "";

/** Replaces the slashes of a suite's name in directory names. Names of suites contain no percent sign. */
const encodedSlash = "%2F";
/** The name of the link to the current generation of a suite with a slash, beside its generations. */
const currentLink = "current";

const generationsOf = (directory: string, suite: string): string =>
  join(directory, generations, suite.replaceAll("/", encodedSlash));

/** The path of the link that is switched. */
const linkOf = (directory: string, suite: Suite): string =>
  suite.includes("/") ? join(generationsOf(directory, suite), currentLink) : join(directory, "dists", suite);

/** The current generation of a suite; undefined if there is none. */
async function currentGeneration(directory: string, suite: Suite): Promise<string | undefined> {
  try {
    return (await fs.readlink(linkOf(directory, suite))).split("/").at(-1);
  } catch (thrown) {
    if (systemCodeOf(thrown) === "ENOENT") return undefined;
    throw thrown;
  }
}

/**
 * Writes missing packages. When it throws, all writes have ended.
 * @param written the SHA256 of files that the previous publication has written, by path; only their sizes are checked
 * @returns the number of written packages
 */
async function writePackages(
  files: AsyncIterable<NamedFile>,
  {
    superseded,
    source,
    written,
  }: {
    readonly superseded: SupersededFiles;
    readonly source: SiteSource;
    readonly written: ReadonlyMap<string, string>;
  },
  { directory, signal: stopped }: ExportOptions,
): Promise<number> {
  const failed = new AbortController();
  const signal = AbortSignal.any([stopped, failed.signal]);
  const limit = pLimit(concurrentWrites);
  const waiting = new Map<string, Promise<void>>();
  let count = 0;
  const write = async ({ path, sizeBytes, sha256 }: NamedFile): Promise<void> => {
    signal.throwIfAborted();
    const target = join(directory, path);
    // Another export may have left a different file of the same size.
    const isKnown = written.get(path) === sha256;
    if ((await sizeOf(target)) === sizeBytes && (isKnown || (await sha256Of(target, signal)) === sha256)) return;
    const resource = await source.find(path, { signal });
    if (resource === undefined) throw new ExportIncomplete(`${path} is listed in an index, but is not available`);
    await writeVerified(target, resource, sha256, signal);
    count += 1;
  };
  try {
    for await (const file of files) {
      superseded.remove(file.path);
      // Several indices may list it.
      if (waiting.has(file.path)) continue;
      const writing = limit(() => write(file));
      waiting.set(file.path, writing);
      writing.then(
        () => waiting.delete(file.path),
        () => undefined,
      );
      if (waiting.size >= 2 * concurrentWrites) await Promise.race(waiting.values());
    }
    await Promise.all(waiting.values());
    return count;
  } catch (thrown) {
    failed.abort(thrown);
    // Wait for the other writes, because the caller may start the next export immediately.
    await Promise.allSettled(waiting.values());
    throw thrown;
  }
}

/** Writes the files of a suite. Unchanged files, and names in by-hash, are hard links. */
async function writeGeneration(
  { suite, manifest, within, generation }: SiteSuite,
  before: string | undefined,
  superseded: SupersededFiles,
  source: SiteSource,
  { directory, signal, now, keepSeconds }: ExportOptions,
): Promise<void> {
  const base = `dists/${suite}`;
  const old =
    before === undefined || manifest === undefined ? undefined : join(generationsOf(directory, suite), before);
  const target = join(generationsOf(directory, suite), generation);
  const temporary = `${target}.new`;
  await fs.rm(temporary, { recursive: true, force: true });
  const named = new Set<string>();
  for (const { path, sha256, byHash } of manifest === undefined ? [] : siteFiles(manifest)) {
    const [known] = byHash;
    const isKnown =
      old !== undefined && known !== undefined && (await addHardLink(join(old, known), join(temporary, path)));
    if (!isKnown) {
      const resource = await source.find(`${base}/${path}`, { signal });
      if (resource === undefined) throw new ExportIncomplete(`${base}/${path} is not available`);
      await writeVerified(join(temporary, path), resource, sha256, signal);
    }
    for (const name of byHash) {
      named.add(name);
      superseded.remove(`${base}/${name}`);
      await addHardLink(join(temporary, path), join(temporary, name));
    }
  }
  // Keep files that clients of the previous publications may request.
  for (const name of old === undefined ? [] : await filesByHash(old)) {
    if (named.has(name)) continue;
    // The path belongs to a contained suite now; before, that was a component of this suite.
    if ([...within.keys()].some((at) => name.startsWith(`${at}/`))) continue;
    if (superseded.add(`${base}/${name}`, now()) < now() - keepSeconds * 1000) superseded.remove(`${base}/${name}`);
    else await addHardLink(join(old ?? "", name), join(temporary, name));
  }
  for (const [at, other] of within) await linkInnerSuite(join(temporary, at), linkOf(directory, other));
  await fs.rm(target, { recursive: true, force: true });
  await fs.rename(temporary, target);
}

/** Writes a complete, verified file, or none. @param sha256 undefined to skip the verification */
async function writeVerified(
  target: string,
  resource: Resource,
  sha256: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  await fs.mkdir(dirname(target), { recursive: true });
  const body = await resource.read({ start: 0, end: resource.sizeBytes }, signal);
  await replaceFile(target, verified(target, body, sha256), { signal });
}

/** @throws ExportIncomplete after the last byte if the digest differs */
async function* verified(
  target: string,
  body: Uint8Array | AsyncIterable<Uint8Array>,
  sha256: string | undefined,
): AsyncGenerator<Uint8Array> {
  const running = new RunningDigests([]);
  const content = digesting(body, running);
  if (content instanceof Uint8Array) yield content;
  else yield* content;
  const found = running.finish().digests.sha256;
  if (sha256 !== undefined && found !== sha256)
    throw new ExportIncomplete(`${target} differs from its digest in the index`);
}

/** Creates a hard link. @returns whether `from` exists */
async function addHardLink(from: string, to: string): Promise<boolean> {
  await fs.mkdir(dirname(to), { recursive: true });
  try {
    await fs.link(from, to);
    return true;
  } catch (thrown) {
    if (systemCodeOf(thrown) === "EEXIST") return true;
    if (systemCodeOf(thrown) === "ENOENT") return false;
    throw thrown;
  }
}

/** Links to a contained suite, unless the path exists: an earlier publication may have a component of this name. */
async function linkInnerSuite(path: string, target: string): Promise<void> {
  await fs.mkdir(dirname(path), { recursive: true });
  try {
    await fs.symlink(relative(dirname(path), target), path);
  } catch (thrown) {
    if (systemCodeOf(thrown) !== "EEXIST") throw thrown;
  }
}

async function replaceLink(path: string, target: string): Promise<void> {
  // Names of suites do not begin with a dot, so this name is free.
  const temporary = join(dirname(path), `.${basename(path)}`);
  await fs.rm(temporary, { force: true });
  await fs.symlink(target, temporary);
  await fs.rename(temporary, path);
}

async function sha256Of(path: string, signal: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  const chunks: AsyncIterable<Uint8Array> = createReadStream(path, { signal });
  for await (const chunk of chunks) hash.update(chunk);
  return hash.digest("hex");
}

async function sizeOf(path: string): Promise<number | undefined> {
  return await fs.stat(path).then(
    ({ size }) => size,
    () => undefined,
  );
}

/** The by-hash paths of a generation. */
async function filesByHash(directory: string): Promise<readonly string[]> {
  const found: string[] = [];
  // Contained suites are links to directories, which `recursive` follows in Node.js 26, but not in 24.
  async function walk(below: string): Promise<void> {
    for (const entry of await fs.readdir(join(directory, below), { withFileTypes: true }).catch(() => [])) {
      const path = join(below, entry.name);
      if (entry.isDirectory()) await walk(path);
      else if (entry.isFile() && /(^|\/)by-hash\//.test(path)) found.push(path);
    }
  }
  await walk("");
  return found;
}

async function removeOthers(directory: string, names: ReadonlySet<string>): Promise<void> {
  for (const other of await fs.readdir(directory)) {
    if (!names.has(other)) await fs.rm(join(directory, other), { recursive: true, force: true });
  }
}

/** Removes suites without a current publication from the site. */
async function removeWithdrawnSuites(directory: string, present: ReadonlySet<string>): Promise<void> {
  for (const name of await fs.readdir(join(directory, "dists"))) {
    if (present.has(name)) continue;
    await fs.rm(join(directory, "dists", name), { force: true });
    await fs.rm(generationsOf(directory, name), { recursive: true, force: true });
  }
  for (const name of await fs.readdir(join(directory, generations))) {
    if (!name.includes(encodedSlash) || present.has(name.replaceAll(encodedSlash, "/"))) continue;
    await fs.rm(join(directory, generations, name), { recursive: true, force: true });
  }
}
