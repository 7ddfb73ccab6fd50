// A repository over a real folder, created in this thread, for tests of publishing.
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { onTestFinished } from "vitest";
import type { Log } from "../../src/base/log.ts";
import { silentLog } from "../../src/base/log.ts";
import type { Suite, TreePath } from "../../src/base/names.ts";
import { parseRepositoryName, parseTreePath, rootPath } from "../../src/base/names.ts";
import { inspectContent } from "../../src/catalog/inspection/inspect.ts";
import type { InspectLimits } from "../../src/catalog/inspection/inspect-limits.ts";
import { defaultInspectLimits } from "../../src/catalog/inspection/inspect-limits.ts";
import type { PackageKind } from "../../src/catalog/inspection/inspection.ts";
import type { SharedInspections } from "../../src/catalog/shared-inspections.ts";
import { Overrides } from "../../src/catalog/suite/overrides.ts";
import type { OwnerRules } from "../../src/catalog/suite/owner-rules.ts";
import type { ViewRules } from "../../src/catalog/suite/suite-view.ts";
import type { DigestAlgorithm } from "../../src/debian/digests.ts";
import { compressSegment } from "../../src/indices/compression/compress-worker.ts";
import type { Replicas } from "../../src/publishing/build/replicas.ts";
import { BackgroundPriority } from "../../src/publishing/deferred/background-priority.ts";
import {
  compressPaths,
  mergeFiles,
  planEdits,
  recutSegment,
  sortLists,
} from "../../src/publishing/deferred/contents/contents-tasks.ts";
import type { ContentsTasks } from "../../src/publishing/deferred/contents/contents-thread.ts";
import { openRepository } from "../../src/publishing/live/open-repository.ts";
import type { Repository } from "../../src/publishing/live/repository.ts";
import type { PublishingObserver } from "../../src/publishing/publishing-observer.ts";
import { silentPublishingObserver } from "../../src/publishing/publishing-observer.ts";
import type { ChangelogLimits } from "../../src/publishing/serve/changelog-process.ts";
import { defaultChangelogLimits } from "../../src/publishing/serve/changelog-process.ts";
import { PackageCache } from "../../src/publishing/serve/package-cache.ts";
import type { PingOutcome } from "../../src/publishing/served-repository.ts";
import { closeStateDatabase, openStateDatabase } from "../../src/publishing/store/state-database.ts";
import type { SuiteIdentity, SuiteSettings } from "../../src/publishing/suite-settings.ts";
import type { Signer } from "../../src/signing/signer.ts";
import { defaultFolderLimits, FolderTree } from "../../src/storage/folder/folder-tree.ts";
import { HardLinks } from "../../src/storage/folder/hard-links.ts";
import { readLocalFile } from "../../src/storage/local-file.ts";
import type { Tree } from "../../src/storage/tree.ts";
import { StorageUnavailable } from "../../src/storage/tree.ts";
import { inChunks } from "./debs.ts";
import { silentCacheObserver } from "./silent.ts";

const algorithms = ["md5", "sha256"] as const;
const noOverrides = new Overrides([]);
const noSignal = new AbortController().signal;

/** A fake signer, so that these tests need no key. Real keys are tested in test/signing. */
const unsigned: Signer = {
  publicKey: "no key",
  publicKeyBytes: Buffer.from("no key"),
  keys: [],
  sign: async (release) => ({ inRelease: release, releaseGpg: "no signature" }),
};

export interface ServedFolderOptions {
  /** Of the repository; `debian` by default. */
  readonly name?: string;
  readonly observer?: Partial<PublishingObserver>;
  /** Silent by default. */
  readonly log?: Log;
  /** The folder of another server, which is to be served too; by default a new one. */
  readonly folder?: string;
  /** The state directory of another one that has ended; by default a new one. */
  readonly state?: string;
  /** What the servers of one folder share; by default this one is alone. */
  readonly sharedInspections?: SharedInspections;
  /** Adds decorators to the folder's tree, to force faults. */
  readonly wrap?: (tree: Tree) => Tree;
  /** By default a fake signer. */
  readonly signer?: Signer;
  readonly now?: () => number;
  readonly datesAfterSeconds?: number;
  readonly dateLagSeconds?: number;
  /** Additional identity fields of every suite. */
  readonly identity?: Partial<SuiteIdentity>;
  /** Other settings of every suite; by default there are no Translation-en, pdiffs, view, owner rules and overrides. */
  readonly validForSeconds?: number;
  readonly signedBy?: boolean;
  readonly releaseDigests?: readonly DigestAlgorithm[];
  readonly changelogLimits?: ChangelogLimits;
  /** The limits of inspections and changelogs. */
  readonly inspectLimits?: InspectLimits;
  /** Whether long descriptions are in Translation-en. */
  readonly translations?: boolean;
  /** Whether all indices have pdiffs, which are then generated at once. */
  readonly pdiffs?: boolean;
  /** The current directories of builders. */
  readonly builderDirectories?: () => readonly TreePath[];
  /** Hides some packages of every suite. */
  readonly view?: ViewRules;
  readonly configuredSuites?: readonly Suite[];
  readonly overrides?: (suite: Suite) => Overrides;
  /** The owner rules of names, read at each refresh. */
  readonly ownerRules?: () => OwnerRules | undefined;
  readonly acceptIdentityChange?: boolean;
  /** Generates Contents at once after each publication, in segments of a few lines. */
  readonly contents?: boolean;
  /** The other servers of the same folder; none by default. */
  readonly replicas?: Replicas;
  /** Called when the compression threads should be ready. */
  readonly woken?: () => void;
  /** Ends what still reads the database when the repository has stopped. */
  readonly stopped?: () => Promise<void>;
}

/** Runs the tasks in this thread; the worker thread runs the same functions. */
const contentsTasks: ContentsTasks = {
  sortLists,
  mergeFiles,
  planEdits: async (task) => planEdits(task),
  recutSegment,
  compressPaths,
};
const shortSegments = { leastBytes: 200, oneIn: 4, mostBytes: 2000 };

/** A temporary folder, and a repository that serves it. Both are deleted with the test. */
export class ServedFolder {
  readonly folder: string;
  readonly state: string;
  #options: ServedFolderOptions;
  #close: () => Promise<void> = async () => {};
  repository: Repository;

  constructor(options: ServedFolderOptions = {}) {
    this.#options = options;
    this.folder = options.folder ?? mkdtempSync(join(tmpdir(), "tahoe-apt-folder-"));
    this.state = options.state ?? mkdtempSync(join(tmpdir(), "tahoe-apt-state-"));
    this.repository = this.#open();
    onTestFinished(async () => {
      await this.#close();
      if (options.folder === undefined) rmSync(this.folder, { recursive: true });
      if (options.state === undefined) rmSync(this.state, { recursive: true });
    });
  }

  /** Writes a file atomically, as an uploader does; `linkedAtSeconds` is its link time. */
  put(path: string, bytes: Uint8Array | string, linkedAtSeconds = 1_700_000_000): void {
    const target = join(this.folder, path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(`${target}.new`, bytes);
    utimesSync(`${target}.new`, linkedAtSeconds, linkedAtSeconds);
    renameSync(`${target}.new`, target);
  }

  /** Resolves when all deferred files of the last publication are generated. */
  async deferredGenerated(): Promise<void> {
    await this.repository.deferredSettled();
  }

  makeDirectory(path: string): void {
    mkdirSync(join(this.folder, path), { recursive: true });
  }

  remove(path: string, { force = false } = {}): void {
    rmSync(join(this.folder, path), { recursive: true, force });
  }

  /** Refreshes, and waits until the change is published. */
  async ping(path = ""): Promise<PingOutcome> {
    return await this.repository.ping(path === "" ? rootPath : parseTreePath(path), noSignal);
  }

  /** Stops. Its state stays until the test has ended. */
  async stop(): Promise<void> {
    await this.#close();
    this.#close = async () => {};
  }

  /** Stops and opens again with the same state, as after a restart. */
  async restart(options: ServedFolderOptions = this.#options): Promise<void> {
    await this.#close();
    this.#options = options;
    this.repository = this.#open();
  }

  async bytes(path: string): Promise<Buffer | undefined> {
    const resource = await this.repository.find(path, { signal: noSignal });
    if (resource === undefined) return undefined;
    const body = await resource.read({ start: 0, end: resource.sizeBytes }, noSignal);
    if (body instanceof Uint8Array) return Buffer.from(body);
    const chunks: Uint8Array[] = [];
    for await (const chunk of body) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  /** The text of a path; throws if it does not exist. */
  async text(path: string): Promise<string> {
    const bytes = await this.bytes(path);
    if (bytes === undefined) throw new Error(`${path} is not served`);
    return bytes.toString();
  }

  #settingsOf(suite: Suite): SuiteSettings {
    const options = this.#options;
    return {
      identity: { origin: "test", label: "test", codename: suite, ...options.identity },
      validForSeconds: options.validForSeconds,
      signedBy: options.signedBy ?? false,
      translations: options.translations ?? false,
      contents: options.contents ?? false,
      pdiffs: options.pdiffs ?? false,
      indices: "made",
      view: options.view,
      ownerRules: () => options.ownerRules?.(),
      overrides: () => options.overrides?.(suite) ?? noOverrides,
    };
  }

  #open(): Repository {
    const { contents = false } = this.#options;
    const root = openStateDatabase(join(this.state, "db"));
    const keptFiles = new HardLinks(join(this.state, "kept"));
    const folderTree = new FolderTree(this.folder, defaultFolderLimits, keptFiles);
    const inspect = (kind: PackageKind, content: AsyncIterable<Uint8Array>) =>
      inspectContent(kind, content, {
        limits: this.#options.inspectLimits ?? defaultInspectLimits,
        algorithms,
        fileLists: contents,
      });
    const repository = openRepository(
      {
        root,
        inspector: {
          inspect,
          inspectLocal: async (kind, { location: place }) => {
            const bytes = readLocalFile(place);
            return bytes && (await inspect(kind, inChunks(bytes, bytes.length)));
          },
        },
        inspectionLimits: this.#options.inspectLimits ?? defaultInspectLimits,
        changelogLimits: this.#options.changelogLimits ?? defaultChangelogLimits,
        contents: { tasks: contentsTasks, directory: join(this.state, "contents"), cut: shortSegments },
        compressor: {
          compress: (plain, _signal, texture) => (texture === "paths" ? compressPaths : compressSegment)(plain),
          wake: this.#options.woken ?? (() => undefined),
          close: async () => {},
        },
        backgroundPriority: new BackgroundPriority(() => performance.now()),
        cache: PackageCache.open({
          directory: join(this.state, "packages"),
          observer: silentCacheObserver,
          log: this.#options.log ?? silentLog,
        }),
        log: this.#options.log ?? silentLog,
        now: this.#options.now ?? Date.now,
      },
      {
        name: parseRepositoryName(this.#options.name ?? "debian"),
        tree: this.#options.wrap?.(folderTree) ?? folderTree,
        signer: this.#options.signer ?? unsigned,
        suiteSettings: { of: (suite) => this.#settingsOf(suite) },
        configuredSuites: this.#options.configuredSuites ?? [],
        sharedInspections: this.#options.sharedInspections,
        minPdiffIndexBytes: 0,
        ...(this.#options.releaseDigests && { releaseDigests: this.#options.releaseDigests }),
        acceptIdentityChange: this.#options.acceptIdentityChange ?? false,
        digests: algorithms,
        ...((contents || this.#options.pdiffs) && { deferredTimes: { settleMs: 0, retryMs: 100 } }),
        ...(this.#options.builderDirectories && { builderDirectories: this.#options.builderDirectories }),
        keptFiles,
        keepSeconds: 7 * 24 * 3600,
        ...(this.#options.replicas && { replicas: this.#options.replicas }),
        observer: { ...silentPublishingObserver, ...this.#options.observer },
        ...(this.#options.dateLagSeconds !== undefined && { dateLagSeconds: this.#options.dateLagSeconds }),
        ...(this.#options.datesAfterSeconds !== undefined && { datesAfterSeconds: this.#options.datesAfterSeconds }),
      },
    );
    this.#close = async () => {
      await repository.stop();
      await this.#options.stopped?.();
      await closeStateDatabase(root);
    };
    return repository;
  }
}

export const sha256 = (bytes: Uint8Array | string): string => createHash("sha256").update(bytes).digest("hex");

export const treePath = (path: string): TreePath => parseTreePath(path);

/** The packages and versions in an index, in order. */
export async function packageNames(
  served: ServedFolder,
  index = "dists/sid/main/binary-amd64/Packages",
): Promise<string[]> {
  return [...(await served.text(index)).matchAll(/^Package: (.*)\nVersion: (.*)$/gm)].map((m) => `${m[1]} ${m[2]}`);
}

/** The text of Contents, once they are generated for the current publication. @param path below the suite `sid` */
export async function servedContents(served: ServedFolder, path: string): Promise<string> {
  await served.deferredGenerated();
  return await served.text(`dists/sid/${path}`);
}

/** A decorator with which no directory can be listed while it is down, as if the grid were unreachable. */
export const unlistedWhile =
  (isDown: () => boolean) =>
  (tree: Tree): Tree => ({
    look: (path, signal) =>
      isDown()
        ? Promise.reject(new StorageUnavailable(path, "the grid is down", { transient: true }))
        : tree.look(path, signal),
    open: (file, range, signal) => tree.open(file, range, signal),
  });
