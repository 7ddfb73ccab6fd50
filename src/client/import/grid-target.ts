// Imports into a tree of a grid: contents are uploaded first, then all links of a directory are set in one write.
import { createHash } from "node:crypto";
import type { Clock } from "../../base/clock.ts";
import type { ContentId } from "../../base/content-id.ts";
import type { TreePath } from "../../base/names.ts";
import { isWithin, joinPath, lastName, parentPath, pathWithin } from "../../base/names.ts";
import { readAtMost } from "../../base/read-at-most.ts";
import { Semaphore } from "../../base/semaphore.ts";
import { defaultInspectLimits } from "../../catalog/inspection/inspect-limits.ts";
import type { Inspection, SoundInspection } from "../../catalog/inspection/inspection.ts";
import type { InspectorPool } from "../../catalog/inspection/inspector-pool.ts";
import type { Layout, PackageDirectory } from "../../catalog/layout/repository-layout.ts";
import { packageDirectoryPathOf } from "../../catalog/layout/repository-layout.ts";
import { entryMetadataOf, parseEntryMetadata } from "../../catalog/metadata/entry-metadata.ts";
import type { WriteCap } from "../../storage/tahoe/caps.ts";
import type { Link, WebapiWriter } from "../../storage/tahoe/webapi-writer.ts";
import type { Tree } from "../../storage/tree.ts";
import type { RepositoryFiles } from "../../upstream/repository-files.ts";
import type { Bundle, BundleDirectory } from "../bundle.ts";
import { applyPlan } from "../curation/apply-plan.ts";
import { linkWithRecheck } from "../upload/link-with-recheck.ts";
import type { LocalFile } from "../upload/local-files.ts";
import { Uploader } from "../upload/uploader.ts";
import type { WriteGateways } from "../write-gateways.ts";
import { checkListed, digestOf, openListed } from "./checked-content.ts";
import type { ImportRecord } from "./import-record.ts";
import { formatRecord, maxRecordBytes, parseRecord } from "./import-record.ts";
import type { DirectoryChange, ImportTarget, TargetDirectory, WantedFile } from "./import-target.ts";
import { Tee } from "./tee.ts";

interface GridOptions {
  readonly bundle: Bundle;
  readonly gateways: WriteGateways;
  /** The bundle's directories, at their paths in the tree. */
  readonly tree: Tree;
  readonly layout: Layout;
  /** The names of the directories below each package directory; undefined for none. */
  readonly subdirectory: TreePath | undefined;
  readonly pool: InspectorPool;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly note: (text: string) => void;
}

/** A file up to this size is read once and kept in memory until it is inspected and uploaded. */
const maxBufferedBytes = 2 * 2 ** 20;
/** Files that are fetched, inspected and uploaded at the same time: an upload mostly waits for storage servers. */
const concurrentFiles = 16;

/** The content is undefined for a rejected file that was not uploaded. */
interface StoredBytes {
  readonly inspection: Inspection;
  readonly content: ContentId | undefined;
}

interface InspectedBytes {
  readonly bytes: Uint8Array;
  readonly inspection: Inspection;
}

interface StoredContent {
  readonly inspection: SoundInspection;
  readonly link: Link;
}

export class GridTarget implements ImportTarget {
  readonly #options: GridOptions;
  readonly #uploader: Uploader;
  readonly #files = new Semaphore(concurrentFiles);
  /** By SHA256 and kind. */
  readonly #stored = new Map<string, StoredContent>();
  /** Directories that were missing when they were looked at. */
  readonly #missing = new Set<TreePath>();

  constructor(options: GridOptions) {
    this.#options = options;
    this.#uploader = new Uploader(options.gateways, () => undefined, options.signal);
  }

  directoryFor(location: PackageDirectory): TreePath | undefined {
    const { subdirectory, layout, bundle } = this.#options;
    const directory = packageDirectoryPathOf(location);
    const path = subdirectory === undefined ? directory : joinPath(directory, subdirectory);
    if (this.#opening(path) !== undefined) return path;
    if (subdirectory !== undefined) return undefined;
    const located = bundle.directories.flatMap(({ path: at }) => {
      const found = layout.packageDirectoryOf(at);
      return found?.suite === location.suite && found.component === location.component ? [{ at, found }] : [];
    });
    const fitting = located.filter(({ found }) => isSamePlace(found, location));
    const isForAll = location.kind === "binary" && location.architecture === "all";
    // Every client reads the packages for `all` in the index of its architecture.
    const anyArchitecture = located.filter(
      ({ found }) => isForAll && found.kind === "binary" && found.forInstaller === location.forInstaller,
    );
    return [...fitting, ...anyArchitecture][0]?.at;
  }

  async look(path: TreePath, recordName: string): Promise<TargetDirectory> {
    const { tree, signal } = this.#options;
    const node = await tree.look(path, signal);
    if (node === undefined) this.#missing.add(path);
    const entries = node?.kind === "directory" ? node.entries : new Map<string, never>();
    const contentOf = (name: string): AsyncIterable<Uint8Array> | undefined => {
      const entry = entries.get(name);
      if (entry?.kind !== "file") return undefined;
      return tree.open({ path: joinPath(path, name), content: entry.content }, undefined, signal);
    };
    const recorded = contentOf(recordName);
    const text = recorded && (await readAtMost(recorded, maxRecordBytes));
    const sha256Of = async (name: string): Promise<string | undefined> => {
      const entry = entries.get(name);
      if (entry?.kind !== "file") return undefined;
      const claimed =
        entry.content === undefined ? undefined : parseEntryMetadata(entry.metadata, defaultInspectLimits)?.sha256;
      if (claimed !== undefined) return claimed;
      const content = contentOf(name);
      return content && (await digestOf(content));
    };
    return { names: new Set(entries.keys()), record: text && parseRecord(text.toString()), sha256Of };
  }

  async store(file: WantedFile, source: RepositoryFiles, stored: (bytes: number) => void): Promise<Inspection> {
    const release = await this.#files.take(this.#options.signal);
    try {
      return await this.#store(file, source, stored);
    } finally {
      release();
    }
  }

  async change(changes: readonly DirectoryChange[], empty: readonly TreePath[]): Promise<void> {
    const { clock, signal, note } = this.#options;
    const linkers = [];
    for (const change of changes) {
      const [files, links] = this.#linksOf(change);
      // What is removed stays in the record until it is gone, so that an interrupted removal is continued.
      const kept = { ...change.record, files: new Map([...change.removed, ...change.record.files]) };
      const record = { content: await this.#uploadRecord(kept), metadata: undefined };
      const recordLink = [change.recordName, record] as const;
      if (this.#missing.delete(change.path)) {
        const all = new Map([recordLink, ...[...links].map(([{ name }, link]) => [name, link] as const)]);
        if (await this.#createDirectory(change.path, all)) continue;
      }
      const directory = { path: change.path, cap: await this.#capOf(change.path) };
      const link = () => this.#uploader.link({ directory, files }, links, new Map([recordLink]));
      linkers.push({ path: change.path, link });
    }
    await linkWithRecheck(
      linkers,
      (young) => {
        for (const { path } of young) note(`${path} is new: waiting to see that no other upload overwrites this one`);
      },
      { clock, signal },
    );
    for (const change of changes) if (change.removed.size > 0) await this.#remove(change);
    for (const path of empty) await this.#capOf(path);
  }

  async close(): Promise<void> {
    this.#stored.clear();
  }

  async #store(file: WantedFile, source: RepositoryFiles, stored: (bytes: number) => void): Promise<Inspection> {
    const { inspection, content } =
      file.sizeBytes <= maxBufferedBytes
        ? await this.#storeBuffered(file, source, stored)
        : await this.#storeStreamed(file, source, stored);
    if (inspection.kind === "rejected" || content === undefined) return inspection;
    const { fileList, ...sound } = inspection.kind === "binary" ? inspection : { ...inspection, fileList: undefined };
    const contents = fileList && (await this.#retry((writer) => writer.contentOf(fileList, this.#options.signal)));
    const metadata = entryMetadataOf(sound);
    const link = { content, metadata: contents ? { ...metadata, contents: contents.reveal() } : metadata };
    this.#stored.set(keyOf(file), { inspection: sound, link });
    return sound;
  }

  /**
   * Creates a directory with all its links, and links it then. Nobody else can write to it before it has entries, so
   * that it need not be checked again later.
   * @see linkWithRecheck
   * @returns false if there is one already: another import or upload has created it meanwhile
   */
  async #createDirectory(path: TreePath, links: ReadonlyMap<string, Link>): Promise<boolean> {
    const { signal } = this.#options;
    const parent = await this.#capOf(parentPath(path));
    return await this.#retry(async (writer) => {
      const directory = await writer.createDirectory(signal);
      await writer.link(directory, links, signal);
      return await writer.linkNewDirectory(parent, lastName(path), directory, signal);
    });
  }

  async #storeBuffered(
    file: WantedFile,
    source: RepositoryFiles,
    stored: (bytes: number) => void,
  ): Promise<StoredBytes> {
    const { signal } = this.#options;
    const { bytes, inspection } =
      (await this.#inspectLocal(file, source)) ?? (await this.#inspectFetched(file, source));
    await checkListed(file, inspection, () => digestOf(oneChunk(bytes)));
    if (inspection.kind === "rejected") return { inspection, content: undefined };
    const content = await this.#retry((writer) => writer.upload(bytes, signal));
    stored(file.sizeBytes);
    return { inspection, content };
  }

  /** @returns undefined if a thread cannot read the file itself: then `open` says why */
  async #inspectLocal(file: WantedFile, source: RepositoryFiles): Promise<InspectedBytes | undefined> {
    const { pool, signal } = this.#options;
    const location = await source.locationOf?.(file.path);
    if (location === undefined) return undefined;
    let bytes: Uint8Array | undefined;
    const onContent = (content: Uint8Array) => {
      bytes = content;
    };
    const inspection = await pool.inspectLocal(file.kind, { location, onContent }, signal);
    return inspection && bytes && { inspection, bytes };
  }

  async #inspectFetched(file: WantedFile, source: RepositoryFiles): Promise<InspectedBytes> {
    const { pool, signal } = this.#options;
    const bytes = await collected(await openListed(source, file));
    return { bytes, inspection: await pool.inspect(file.kind, oneChunk(bytes), signal) };
  }

  /** Inspects and uploads a large file while it is read. */
  async #storeStreamed(
    file: WantedFile,
    source: RepositoryFiles,
    stored: (bytes: number) => void,
  ): Promise<StoredBytes> {
    const { pool, signal } = this.#options;
    let reported = 0;
    return await this.#retry(async (writer) => {
      stored(-reported);
      reported = 0;
      const hash = createHash("sha256");
      const tee = new Tee(await openListed(source, file));
      async function* counted(): AsyncGenerator<Uint8Array> {
        for await (const chunk of tee.main()) {
          hash.update(chunk);
          yield chunk;
          reported += chunk.byteLength;
          stored(chunk.byteLength);
        }
      }
      const inspecting = pool.inspect(file.kind, tee.copy(), signal);
      // It is awaited below: until then, a rejection must not count as unhandled.
      inspecting.catch(() => undefined);
      const content = await writer.upload(counted(), signal).finally(() => tee.stop());
      const inspection = await inspecting;
      await checkListed(file, inspection, async () => hash.digest("hex"));
      return { inspection, content };
    });
  }

  #linksOf({ added }: DirectoryChange): readonly [readonly LocalFile[], ReadonlyMap<LocalFile, Link>] {
    const links = new Map<LocalFile, Link>();
    for (const { name, file } of added) {
      const stored = this.#stored.get(keyOf(file));
      if (stored === undefined) throw new Error(`${name} was not stored`);
      links.set({ path: file.path, name, inspection: stored.inspection }, stored.link);
    }
    return [[...links.keys()], links];
  }

  async #remove({ path, removed }: DirectoryChange): Promise<void> {
    const { tree, bundle, gateways, clock, signal } = this.#options;
    const node = await tree.look(path, signal);
    if (node?.kind !== "directory") return;
    const unlinks = new Map<string, string | undefined>();
    for (const name of removed.keys()) {
      const entry = node.entries.get(name);
      if (entry?.kind === "file") unlinks.set(name, entry.content?.key);
    }
    const events = [...removed].map(
      ([
        name,
        {
          sha256,
          package: [name_, version, architecture],
        },
      ]) => ({
        action: "remove" as const,
        package: name_,
        version,
        architecture,
        sha256,
        path: joinPath(path, name),
      }),
    );
    const plan = { directories: [{ directory: path, links: new Map(), unlinks, events }], changes: [], problems: [] };
    await applyPlan(plan, {
      bundle: { ...bundle, ping: undefined },
      gateways,
      tree,
      mayReplace: false,
      timeoutMs: 0,
      waiting: () => undefined,
      clock,
      signal,
    });
  }

  async #uploadRecord(record: ImportRecord): Promise<ContentId> {
    const bytes = Buffer.from(formatRecord(record));
    return await this.#retry((writer) => writer.upload(bytes, this.#options.signal));
  }

  #opening(path: TreePath): BundleDirectory | undefined {
    return this.#options.bundle.directories.find(({ path: at }) => isWithin(path, at));
  }

  async #capOf(path: TreePath): Promise<WriteCap> {
    const opening = this.#opening(path);
    if (opening === undefined) throw new Error(`${path} is outside of the bundle`);
    const relative = pathWithin(path, opening.path);
    return await this.#retry((writer) => writer.makeDirectory(opening.cap, relative, this.#options.signal));
  }

  async #retry<T>(operation: (writer: WebapiWriter) => Promise<T>): Promise<T> {
    return await this.#options.gateways.retry(operation, this.#options.signal);
  }
}

const keyOf = ({ sha256, kind }: WantedFile): string => `${sha256} ${kind}`;

function isSamePlace(one: PackageDirectory, two: PackageDirectory): boolean {
  if (one.kind === "source" || two.kind === "source") return one.kind === two.kind;
  return one.architecture === two.architecture && one.forInstaller === two.forInstaller;
}

async function collected(content: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of content) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
