// Writes publications as a site of plain files that any web server can serve, each suite switched at once.
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

/** What a site is written from. */
export interface SiteSource {
  /** The current publications. */
  publications(): Iterable<Manifest>;
  /** An earlier one, if it is still kept. */
  publication(suite: Suite, id: string): Manifest | undefined;
  readonly segments: Pick<SegmentStore, "read">;
  find(path: string, asker: { readonly signal: AbortSignal }): Promise<Resource | undefined>;
}

export interface ExportOptions {
  /** The site's root, which is ours alone but for what is beside `dists`, `pool` and `.generations`. */
  readonly directory: string;
  /** How long what is named no more stays, in seconds. */
  readonly keepSeconds: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly signal: AbortSignal;
}

/** What one export did. */
export interface ExportOutcome {
  /** The suites that were switched. */
  readonly switched: readonly Suite[];
  readonly packagesWritten: number;
}

/** What ought to be exported can't be had. */
class ExportIncomplete extends RepoError {
  readonly code = "publishing/export-incomplete";
}

/** How many packages are written at once. */
const concurrentWrites = 4;
const generations = ".generations";

/**
 * Brings a site up to date with the current publications: packages first, then each suite's files in a directory of their
 * own, to which its name is switched in one step. Killed at any instant, the site is whole, and the next export goes on.
 * @throws ExportIncomplete, and what reading and writing throws
 */
export async function exportSite(source: SiteSource, options: ExportOptions): Promise<ExportOutcome> {
  const { directory, now, keepSeconds } = options;
  await fs.mkdir(join(directory, "dists"), { recursive: true });
  for (const entry of await fs.readdir(join(directory, "dists"), { withFileTypes: true })) {
    if (!entry.isSymbolicLink())
      throw new ExportIncomplete(`${directory}/dists/${entry.name} was made by somebody else`);
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
    const left = new Map<string, string>();
    if (manifest !== undefined) {
      const earlier = before === undefined ? undefined : source.publication(suite, publicationIn(before));
      if (earlier !== undefined) {
        for await (const { path, sha256 } of newlyReferenced(earlier, manifest, source.segments))
          left.set(path, sha256);
      }
      const fresh = newlyReferenced(manifest, earlier, source.segments);
      packagesWritten += await writePackages(fresh, { superseded, source, written: left }, options);
      switched.push(suite);
    }
    await writeGeneration(one, before, superseded, source, options);
    const link = linkOf(directory, suite);
    await replaceLink(link, relative(dirname(link), join(generationsOf(directory, suite), generation)));
    for (const path of await unreferenced(new Set(left.keys()), publications, source.segments))
      superseded.add(path, now());
    await superseded.save();
    await removeOthers(generationsOf(directory, suite), new Set([generation, currentLink]));
  }
  await withdraw(directory, new Set(suites.map(({ suite }) => suite)));
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
 * A suite of the site. The files of a suite with a slash in its name have a directory of their own beside those of the
 * suite around it, which shows them by a link, so that each of the two is switched by itself.
 */
interface SiteSuite {
  readonly suite: Suite;
  /** Undefined for a directory that only leads to suites, as `bookworm` where there is `bookworm/updates` alone. */
  readonly manifest: Manifest | undefined;
  /** The suites that are shown within this one, by their paths below it. */
  readonly within: ReadonlyMap<string, Suite>;
  /** Names the directory of its files: the publication, and which suites are within. */
  readonly generation: string;
}

/** Those with a slash come first, so that no link leads to what is not there yet. */
function siteSuites(publications: readonly Manifest[]): readonly SiteSuite[] {
  const manifests = new Map(publications.map((manifest) => [manifest.suite, manifest]));
  const within = new Map<Suite, Map<string, Suite>>([...manifests.keys()].map((suite) => [suite, new Map()]));
  for (const suite of manifests.keys()) {
    const names = suite.split("/");
    if (names.length === 1) continue;
    const around = names.slice(1).map((_, at) => parseSuite(names.slice(0, at + 1).join("/")));
    const nearest = around.findLast((each) => manifests.has(each)) ?? around[0] ?? suite;
    const shown = within.get(nearest) ?? new Map<string, Suite>();
    within.set(nearest, shown.set(suite.slice(nearest.length + 1), suite));
  }
  return [...within]
    .map(([suite, shown]): SiteSuite => {
      const manifest = manifests.get(suite);
      return { suite, manifest, within: shown, generation: generationName(manifest, [...shown.keys()]) };
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

/** The id of the publication that a generation is of. */
const publicationIn = (generation: string): string => generation.split(generationSeparator)[0] ?? "";

/** In the name of a directory, for the slash in a suite's name: no suite has a percent sign in its name. */
const slash = "%2F";
/** Beside the generations of a suite with a slash: the link to the one that is shown. */
const currentLink = "current";

const generationsOf = (directory: string, suite: string): string =>
  join(directory, generations, suite.replaceAll("/", slash));

/** The link by which a suite is switched. */
const linkOf = (directory: string, suite: Suite): string =>
  suite.includes("/") ? join(generationsOf(directory, suite), currentLink) : join(directory, "dists", suite);

/** The generation that a suite's name stands for now. */
async function currentGeneration(directory: string, suite: Suite): Promise<string | undefined> {
  try {
    return (await fs.readlink(linkOf(directory, suite))).split("/").at(-1);
  } catch (thrown) {
    if (systemCodeOf(thrown) === "ENOENT") return undefined;
    throw thrown;
  }
}

/**
 * Writes the packages that are not there yet. After a failure nothing is being written any more.
 * @param written the SHA256 of what the publication before had written, by path: only its size is looked at again
 * @returns how many
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
    // Another run, or another version of ours, may have left something else of this size.
    const isKnown = written.get(path) === sha256;
    if ((await sizeOf(target)) === sizeBytes && (isKnown || (await sha256Of(target, signal)) === sha256)) return;
    const resource = await source.find(path, { signal });
    if (resource === undefined) throw new ExportIncomplete(`${path} is named and can't be had`);
    await writeFile(target, resource, sha256, signal);
    count += 1;
  };
  try {
    for await (const file of files) {
      superseded.remove(file.path);
      // Several indices may name it.
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
    // Whoever is told of the failure may begin the next run at once.
    await Promise.allSettled(waiting.values());
    throw thrown;
  }
}

/** What was there before is linked, not written; so are the names by hash. */
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
  const draft = `${target}.new`;
  await fs.rm(draft, { recursive: true, force: true });
  const named = new Set<string>();
  for (const { path, sha256, byHash } of manifest === undefined ? [] : siteFiles(manifest)) {
    const [known] = byHash;
    const isKnown = old !== undefined && known !== undefined && (await link(join(old, known), join(draft, path)));
    if (!isKnown) {
      const resource = await source.find(`${base}/${path}`, { signal });
      if (resource === undefined) throw new ExportIncomplete(`${base}/${path} can't be had`);
      await writeFile(join(draft, path), resource, sha256, signal);
    }
    for (const name of byHash) {
      named.add(name);
      superseded.remove(`${base}/${name}`);
      await link(join(draft, path), join(draft, name));
    }
  }
  // What clients of the last publications ask for stays for a while.
  for (const name of old === undefined ? [] : await filesByHash(old)) {
    if (named.has(name)) continue;
    // It was this suite's as long as the suite within was a component of it.
    if ([...within.keys()].some((at) => name.startsWith(`${at}/`))) continue;
    if (superseded.add(`${base}/${name}`, now()) < now() - keepSeconds * 1000) superseded.remove(`${base}/${name}`);
    else await link(join(old ?? "", name), join(draft, name));
  }
  for (const [at, other] of within) await linkWithin(join(draft, at), linkOf(directory, other));
  await fs.rm(target, { recursive: true, force: true });
  await fs.rename(draft, target);
}

/** Writes a file whole and checked, or not at all. @param sha256 undefined: as it comes */
async function writeFile(
  target: string,
  resource: Resource,
  sha256: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  await fs.mkdir(dirname(target), { recursive: true });
  const body = await resource.read({ start: 0, end: resource.sizeBytes }, signal);
  await replaceFile(target, checked(target, body, sha256), { signal });
}

/** @throws ExportIncomplete behind the last byte, if they are not the ones that were promised */
async function* checked(
  target: string,
  body: Uint8Array | AsyncIterable<Uint8Array>,
  sha256: string | undefined,
): AsyncGenerator<Uint8Array> {
  const running = new RunningDigests([]);
  const content = digesting(body, running);
  if (content instanceof Uint8Array) yield content;
  else yield* content;
  const found = running.finish().digests.sha256;
  if (sha256 !== undefined && found !== sha256) throw new ExportIncomplete(`${target} was not what its index says`);
}

/** @returns whether there was something to link */
async function link(from: string, to: string): Promise<boolean> {
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

/** Files that are there already stay: a publication of before may have a component of this name. */
async function linkWithin(path: string, target: string): Promise<void> {
  await fs.mkdir(dirname(path), { recursive: true });
  try {
    await fs.symlink(relative(dirname(path), target), path);
  } catch (thrown) {
    if (systemCodeOf(thrown) !== "EEXIST") throw thrown;
  }
}

async function replaceLink(path: string, target: string): Promise<void> {
  // No suite's name begins with a dot.
  const draft = join(dirname(path), `.${basename(path)}`);
  await fs.rm(draft, { force: true });
  await fs.symlink(target, draft);
  await fs.rename(draft, path);
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

/** The paths below a generation that name files by their hash. */
async function filesByHash(directory: string): Promise<readonly string[]> {
  const found: string[] = [];
  // The suites within are links to directories, which `recursive` follows in Node.js 26, and in 24 does not.
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

/** Suites that are no more in service are no more in the site. */
async function withdraw(directory: string, present: ReadonlySet<string>): Promise<void> {
  for (const name of await fs.readdir(join(directory, "dists"))) {
    if (present.has(name)) continue;
    await fs.rm(join(directory, "dists", name), { force: true });
    await fs.rm(generationsOf(directory, name), { recursive: true, force: true });
  }
  for (const name of await fs.readdir(join(directory, generations))) {
    if (!name.includes(slash) || present.has(name.replaceAll(slash, "/"))) continue;
    await fs.rm(join(directory, generations, name), { recursive: true, force: true });
  }
}
