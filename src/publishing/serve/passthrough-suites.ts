// Serves the prebuilt indices of some suites unchanged, and checks in the background whether they match the packages.
import { setImmediate } from "node:timers/promises";
import { codeOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { Suite, TreePath } from "../../base/names.ts";
import { joinPath, lastName, tryParseTreePath } from "../../base/names.ts";
import { RepeatedFailures } from "../../base/repeated-failures.ts";
import type { Examiner } from "../../catalog/examiner.ts";
import { sha256Of } from "../../catalog/files/catalog-file.ts";
import { packageKindOf } from "../../catalog/inspection/inspect.ts";
import { suitePath } from "../../catalog/layout/repository-layout.ts";
import { chunksOf } from "../../debian/byte-reader.ts";
import { parseSignedStanza } from "../../debian/clearsigned.ts";
import type { Compression } from "../../debian/decompress.ts";
import { decompress } from "../../debian/decompress.ts";
import { RunningDigests } from "../../debian/digests.ts";
import { Malformed } from "../../debian/malformed.ts";
import { fieldOf } from "../../debian/stanza.ts";
import type { NamedFile } from "../../indices/named-files.ts";
import { listedFiles, namedFiles } from "../../indices/named-files.ts";
import { maxReleaseBytes } from "../../indices/release.ts";
import type { FileEntry } from "../../storage/tree.ts";
import type { PublishingObserver } from "../publishing-observer.ts";
import type { RejectedFile, SuiteCounts } from "../served-repository.ts";
import type { SuiteSettingsProvider } from "../suite-settings.ts";
import type { TreeFileResources } from "./tree-file-resources.ts";

/** The collaborators of `PassthroughSuites`. */
export interface PassthroughSuitesOptions {
  readonly suiteSettings: SuiteSettingsProvider;
  readonly treeFiles: TreeFileResources;
  readonly examiner: Examiner;
  readonly observer: PublishingObserver;
  readonly log: Log;
}

const releaseLimits = { maxStanzaBytes: maxReleaseBytes, maxFields: 100, maxFieldNameBytes: 200 };
const indexLimits = { maxDecompressedBytes: 2 ** 31, maxDecoderBytes: 2 ** 27 };
/** The longest stanza of an index that is accepted. */
const maxStanzaBytes = 4 * 1024 ** 2;
/** How many rejects of one suite are reported. */
const maxRejects = 1000;
/** After so many files, other requests run. */
const filesPerStep = 50;

const compressions: ReadonlyMap<string, Compression> = new Map([
  ["", "none"],
  [".gz", "gz"],
  [".xz", "xz"],
  [".zst", "zst"],
  [".bz2", "bz2"],
]);

/**
 * The suites of a repository with prebuilt indices. Their files are served as other files of the tree; this class
 * checks them.
 */
export class PassthroughSuites {
  readonly #options: PassthroughSuitesOptions;
  readonly #stopping: AbortSignal;
  readonly #failures = new RepeatedFailures();
  readonly #rejects = new Map<Suite, readonly RejectedFile[]>();
  readonly #waiting = new Set<Suite>();
  #checking: Promise<void> | undefined;

  /** @param stopping aborts the check in progress */
  constructor(options: PassthroughSuitesOptions, stopping: AbortSignal) {
    this.#options = options;
    this.#stopping = stopping;
  }

  includes(suite: Suite): boolean {
    return this.#options.suiteSettings.of(suite).indices === "prebuilt";
  }

  /** Requests a check of a suite's indices. The checks run one after another. */
  check(suite: Suite): void {
    this.#waiting.add(suite);
    this.#checking ??= this.#checkAll().finally(() => {
      this.#checking = undefined;
    });
  }

  /** Resolves when no check is pending or running. */
  async idle(): Promise<void> {
    await this.#checking;
  }

  /** All files that differ from what an index lists, according to the last checks. */
  rejects(): readonly RejectedFile[] {
    return [...this.#rejects.values()].flat();
  }

  /** The number of these files in each suite that was checked. */
  *suiteCounts(): Iterable<SuiteCounts> {
    for (const [suite, { length }] of this.#rejects) yield { suite, published: undefined, rejectedFiles: length };
  }

  async #checkAll(): Promise<void> {
    for (const suite of this.#waiting) {
      this.#waiting.delete(suite);
      const { log, observer, treeFiles, examiner } = this.#options;
      try {
        const found = await new Check({ suite, treeFiles, examiner, signal: this.#stopping }).run();
        this.#failures.succeeded(suite);
        const before = new Set((this.#rejects.get(suite) ?? []).map(({ path, reason }) => `${path} ${reason}`));
        this.#rejects.set(suite, found);
        for (const reject of found) {
          if (before.has(`${reject.path} ${reject.reason}`)) continue;
          observer.rejected(reject.code);
          log.warn({ suite, ...reject }, "a file does not match a prebuilt index");
        }
      } catch (thrown) {
        if (!this.#stopping.aborted && this.#failures.isNew(suite, thrown))
          log.warn({ suite, code: codeOf(thrown) }, "prebuilt indices could not be checked");
      }
    }
  }
}

/** One check of a suite: compares Release with the indices, and the indices with the packages. */
class Check {
  readonly #suite: TreePath;
  readonly #treeFiles: TreeFileResources;
  readonly #examiner: Examiner;
  readonly #signal: AbortSignal;
  readonly #rejects: RejectedFile[] = [];
  /** The files that were compared already: packages for all architectures are in several indices. */
  readonly #seen = new Set<string>();

  constructor(options: {
    readonly suite: Suite;
    readonly treeFiles: TreeFileResources;
    readonly examiner: Examiner;
    readonly signal: AbortSignal;
  }) {
    this.#suite = suitePath(options.suite);
    this.#treeFiles = options.treeFiles;
    this.#examiner = options.examiner;
    this.#signal = options.signal;
  }

  /** @throws StorageUnavailable */
  async run(): Promise<readonly RejectedFile[]> {
    const release = await this.#release();
    if (release === undefined) return this.#rejects;
    const read = new Set<string>();
    for (const file of listedFiles(release)) {
      const path = tryParseTreePath(`${this.#suite}/${file.path}`);
      if (path === undefined) continue;
      const [, index = "", form = ""] = /^(.*\/(?:Packages|Sources))(\.[a-z0-9]+)?$/.exec(`/${file.path}`) ?? [];
      const compression = compressions.get(form);
      const isIndex = index !== "" && compression !== undefined;
      // Archives list forms of an index that they do not store. Clients then use another form.
      if ((await this.#treeFiles.entry(path))?.kind !== "file") continue;
      const isNew = isIndex && !read.has(index);
      if (isNew) read.add(index);
      await this.#index(path, file, isNew ? compression : undefined);
    }
    return this.#rejects;
  }

  async #release(): Promise<string | undefined> {
    for (const name of ["InRelease", "Release"]) {
      const path = joinPath(this.#suite, name);
      const content = await this.#read(path, maxReleaseBytes);
      if (content === undefined) continue;
      const chunks: Uint8Array[] = [];
      for await (const chunk of content) chunks.push(chunk);
      try {
        return fieldOf(parseSignedStanza(Buffer.concat(chunks), releaseLimits), "SHA256") ?? "";
      } catch (thrown) {
        if (!(thrown instanceof Malformed)) throw thrown;
        this.#reject(path, "bad-control", thrown.message);
        return undefined;
      }
    }
    this.#reject(joinPath(this.#suite, "Release"), "absent", "there is neither an InRelease nor a Release");
    return undefined;
  }

  /** @param compression undefined: the packages in this index are not checked */
  async #index(path: TreePath, listed: NamedFile, compression: Compression | undefined): Promise<void> {
    const content = await this.#read(path, Number.POSITIVE_INFINITY);
    if (content === undefined) return;
    const digests = new RunningDigests(["sha256"]);
    const counted = counting(content, digests);
    try {
      if (compression !== undefined) await this.#packages(path, decompress(compression, counted, indexLimits));
      for await (const _rest of counted) {
        // The digest needs all bytes.
      }
    } catch (thrown) {
      if (!(thrown instanceof Malformed)) throw thrown;
      this.#reject(path, thrown.flaw, thrown.message);
      return;
    }
    const { sizeBytes, digests: found } = digests.finish();
    const isListed = sizeBytes === listed.sizeBytes && found.sha256 === listed.sha256;
    if (!isListed) this.#reject(path, "mismatch", "Release lists it with another size or SHA256");
  }

  async #packages(index: TreePath, text: AsyncIterable<Uint8Array>): Promise<void> {
    let rest = "";
    const check = async (stanzas: string) => {
      for (const file of namedFiles(stanzas)) await this.#package(index, file);
    };
    // Latin-1, because only ASCII matters here, and no character is then split between two chunks.
    for await (const chunk of text) {
      rest += Buffer.from(chunk).toString("latin1");
      const end = rest.lastIndexOf("\n\n");
      if (end >= 0) {
        await check(rest.slice(0, end));
        rest = rest.slice(end + 2);
      }
      if (rest.length > maxStanzaBytes) throw new Malformed("limit", `a stanza is longer than ${maxStanzaBytes} bytes`);
    }
    await check(rest);
  }

  async #package(index: TreePath, file: NamedFile): Promise<void> {
    if (this.#seen.has(`${file.path} ${file.sha256}`) || this.#rejects.length >= maxRejects) return;
    this.#seen.add(`${file.path} ${file.sha256}`);
    if (this.#seen.size % filesPerStep === 0) await setImmediate();
    this.#signal.throwIfAborted();
    const plain = file.path
      .split("/")
      .filter((name) => name !== "" && name !== ".")
      .join("/");
    const path = tryParseTreePath(plain);
    if (path === undefined)
      return this.#reject(index, "bad-name", "it lists a file whose path is not allowed in a tree");
    const entry = await this.#treeFiles.entry(path);
    if (entry?.kind !== "file") return this.#reject(path, "absent", `${index} lists it, but it does not exist`);
    const sha256 = await this.#sha256Of(path, entry);
    if (sha256 === undefined) return;
    const isListed = sha256 === file.sha256 && (entry.sizeBytes ?? file.sizeBytes) === file.sizeBytes;
    if (!isListed) this.#reject(path, "mismatch", `${index} lists it with another size or SHA256`);
  }

  /** Reads the SHA256 from the inspection store, or inspects the file once; undefined if it cannot be read now. */
  async #sha256Of(path: TreePath, entry: FileEntry): Promise<string | undefined> {
    const kind = packageKindOf(lastName(path)) ?? "part";
    const { finding } = await this.#examiner.examine({ path, entry, kind }, this.#signal);
    if (finding.kind === "rejected" && finding.code !== "unreadable") this.#reject(path, finding.code, finding.text);
    return sha256Of(finding);
  }

  /** @throws StorageUnavailable; while iterating, Malformed with the flaw `limit` */
  async #read(path: TreePath, maxBytes: number): Promise<AsyncIterable<Uint8Array> | undefined> {
    const resource = await this.#treeFiles.find(path, this.#signal);
    if (resource === undefined) return undefined;
    const end = Math.min(resource.sizeBytes, maxBytes);
    const body = await resource.read({ start: 0, end }, this.#signal);
    return chunksOf(body);
  }

  #reject(path: TreePath, code: RejectedFile["code"], reason: string): void {
    if (this.#rejects.length < maxRejects) this.#rejects.push({ path, code, reason });
  }
}

/**
 * Hashes content while it is read. Several loops may iterate over it in turn; each continues where the last one ended.
 */
function counting(content: AsyncIterable<Uint8Array>, digests: RunningDigests): AsyncIterable<Uint8Array> {
  const source = content[Symbol.asyncIterator]();
  const next = async (): Promise<IteratorResult<Uint8Array>> => {
    const step = await source.next();
    if (step.done !== true) digests.update(step.value);
    return step;
  };
  return { [Symbol.asyncIterator]: () => ({ next }) };
}
