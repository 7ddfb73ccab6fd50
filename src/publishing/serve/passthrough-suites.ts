// Suites whose ready-made indices are served untouched, and whether these tell the truth: seen in the background.
import { setImmediate } from "node:timers/promises";
import { codeOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { Suite, TreePath } from "../../base/names.ts";
import { joinPath, lastName, tryParseTreePath } from "../../base/names.ts";
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
import type { RejectedFile } from "../served-repository.ts";
import type { SuiteSettingsProvider } from "../suite-settings.ts";
import type { TreeFileResources } from "./tree-file-resources.ts";

export interface PassthroughSuitesOptions {
  readonly suiteSettings: SuiteSettingsProvider;
  readonly treeFiles: TreeFileResources;
  readonly examiner: Examiner;
  readonly observer: PublishingObserver;
  readonly log: Log;
}

const releaseLimits = { maxStanzaBytes: maxReleaseBytes, maxFields: 100, maxFieldNameBytes: 200 };
const indexLimits = { maxDecompressedBytes: 2 ** 31, maxDecoderBytes: 2 ** 27 };
/** The longest stanza of an index; beyond it nothing is searched for its end. */
const maxStanzaBytes = 4 * 1024 ** 2;
/** Of one suite so many are told; more would tell no more. */
const maxProblems = 1000;
/** So many files between two pauses in which requests have their turn. */
const filesAtOnce = 50;

const compressions: ReadonlyMap<string, Compression> = new Map([
  ["", "none"],
  [".gz", "gz"],
  [".xz", "xz"],
  [".zst", "zst"],
  [".bz2", "bz2"],
]);

export class PassthroughSuites {
  readonly #parts: PassthroughSuitesOptions;
  readonly #stopping: AbortSignal;
  readonly #problems = new Map<Suite, readonly RejectedFile[]>();
  readonly #waiting = new Set<Suite>();
  #checking: Promise<void> | undefined;

  /** @param stopping ends what is under way */
  constructor(parts: PassthroughSuitesOptions, stopping: AbortSignal) {
    this.#parts = parts;
    this.#stopping = stopping;
  }

  holds(suite: Suite): boolean {
    return this.#parts.suiteSettings.of(suite).indices === "prebuilt";
  }

  /** Looks soon, one after the other, whether the indices of a suite are true. */
  check(suite: Suite): void {
    this.#waiting.add(suite);
    this.#checking ??= this.#checkAll().finally(() => {
      this.#checking = undefined;
    });
  }

  /** Resolves when nothing is being checked. */
  async idle(): Promise<void> {
    await this.#checking;
  }

  /** Every file that is not what an index says, as far as it was seen. */
  problems(): readonly RejectedFile[] {
    return [...this.#problems.values()].flat();
  }

  async #checkAll(): Promise<void> {
    for (const suite of this.#waiting) {
      this.#waiting.delete(suite);
      const { log, observer, treeFiles, examiner } = this.#parts;
      try {
        const found = await new Check({ suite, treeFiles, examiner, signal: this.#stopping }).run();
        const before = new Set((this.#problems.get(suite) ?? []).map(({ path, reason }) => `${path} ${reason}`));
        this.#problems.set(suite, found);
        for (const problem of found) {
          if (before.has(`${problem.path} ${problem.reason}`)) continue;
          observer.rejected(problem.code);
          log.warn({ suite, ...problem }, "a file differs from what a prebuilt index says");
        }
      } catch (thrown) {
        if (!this.#stopping.aborted) log.warn({ suite, code: codeOf(thrown) }, "prebuilt indices could not be checked");
      }
    }
  }
}

/** One pass over a suite: Release against the indices, these against the packages. */
class Check {
  readonly #suite: TreePath;
  readonly #treeFiles: TreeFileResources;
  readonly #examiner: Examiner;
  readonly #signal: AbortSignal;
  readonly #problems: RejectedFile[] = [];
  /** What was held against an index already: packages for all architectures stand in several. */
  readonly #seen = new Set<string>();

  constructor(parts: {
    readonly suite: Suite;
    readonly treeFiles: TreeFileResources;
    readonly examiner: Examiner;
    readonly signal: AbortSignal;
  }) {
    this.#suite = suitePath(parts.suite);
    this.#treeFiles = parts.treeFiles;
    this.#examiner = parts.examiner;
    this.#signal = parts.signal;
  }

  /** @throws StorageUnavailable */
  async run(): Promise<readonly RejectedFile[]> {
    const release = await this.#release();
    if (release === undefined) return this.#problems;
    const read = new Set<string>();
    for (const file of listedFiles(release)) {
      const path = tryParseTreePath(`${this.#suite}/${file.path}`);
      if (path === undefined) continue;
      const [, index = "", form = ""] = /^(.*\/(?:Packages|Sources))(\.[a-z0-9]+)?$/.exec(`/${file.path}`) ?? [];
      const compression = compressions.get(form);
      const isIndex = index !== "" && compression !== undefined;
      // Archives list forms of an index that they do not keep: what is absent, clients find in another form.
      if ((await this.#treeFiles.entry(path))?.kind !== "file") continue;
      const isNew = isIndex && !read.has(index);
      if (isNew) read.add(index);
      await this.#index(path, file, isNew ? compression : undefined);
    }
    return this.#problems;
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
        this.#tell(path, "bad-control", thrown.message);
        return undefined;
      }
    }
    this.#tell(joinPath(this.#suite, "Release"), "absent", "there is neither an InRelease nor a Release");
    return undefined;
  }

  /** @param compression undefined: what it names is not looked at */
  async #index(path: TreePath, listed: NamedFile, compression: Compression | undefined): Promise<void> {
    const content = await this.#read(path, Number.POSITIVE_INFINITY);
    if (content === undefined) return;
    const digests = new RunningDigests(["sha256"]);
    const counted = counting(content, digests);
    try {
      if (compression !== undefined) await this.#named(path, decompress(compression, counted, indexLimits));
      for await (const _rest of counted) {
        // To its end, for its digest.
      }
    } catch (thrown) {
      if (!(thrown instanceof Malformed)) throw thrown;
      this.#tell(path, thrown.flaw, thrown.message);
      return;
    }
    const { sizeBytes, digests: found } = digests.finish();
    const isListed = sizeBytes === listed.sizeBytes && found.sha256 === listed.sha256;
    if (!isListed) this.#tell(path, "mismatch", "Release lists it with another size or SHA256");
  }

  async #named(index: TreePath, text: AsyncIterable<Uint8Array>): Promise<void> {
    let rest = "";
    const check = async (stanzas: string) => {
      for (const file of namedFiles(stanzas)) await this.#package(index, file);
    };
    // Latin-1: nothing that is read here is beyond ASCII, and no character is cut in two.
    for await (const chunk of text) {
      rest += Buffer.from(chunk).toString("latin1");
      const end = rest.lastIndexOf("\n\n");
      if (end >= 0) {
        await check(rest.slice(0, end));
        rest = rest.slice(end + 2);
      }
      if (rest.length > maxStanzaBytes) throw new Malformed("limit", `it has a stanza beyond ${maxStanzaBytes} bytes`);
    }
    await check(rest);
  }

  async #package(index: TreePath, file: NamedFile): Promise<void> {
    if (this.#seen.has(`${file.path} ${file.sha256}`) || this.#problems.length >= maxProblems) return;
    this.#seen.add(`${file.path} ${file.sha256}`);
    if (this.#seen.size % filesAtOnce === 0) await setImmediate();
    this.#signal.throwIfAborted();
    const plain = file.path
      .split("/")
      .filter((name) => name !== "" && name !== ".")
      .join("/");
    const path = tryParseTreePath(plain);
    if (path === undefined) return this.#tell(index, "bad-name", "it names a file that no tree can hold");
    const entry = await this.#treeFiles.entry(path);
    if (entry?.kind !== "file") return this.#tell(path, "absent", `${index} names it, and it is not there`);
    const sha256 = await this.#sha256Of(path, entry);
    if (sha256 === undefined) return;
    const isNamed = sha256 === file.sha256 && (entry.sizeBytes ?? file.sizeBytes) === file.sizeBytes;
    if (!isNamed) this.#tell(path, "mismatch", `${index} names it with another size or SHA256`);
  }

  /** From the ledger, or by the one reading that puts it there; undefined for what can't be read now. */
  async #sha256Of(path: TreePath, entry: FileEntry): Promise<string | undefined> {
    const kind = packageKindOf(lastName(path)) ?? "part";
    const { finding } = await this.#examiner.examine({ path, entry, kind }, this.#signal);
    if (finding.kind === "rejected" && finding.code !== "unreadable") this.#tell(path, finding.code, finding.text);
    return sha256Of(finding);
  }

  /** @throws StorageUnavailable; Malformed `limit` while iterating */
  async #read(path: TreePath, maxBytes: number): Promise<AsyncIterable<Uint8Array> | undefined> {
    const resource = await this.#treeFiles.find(path, this.#signal);
    if (resource === undefined) return undefined;
    const end = Math.min(resource.sizeBytes, maxBytes);
    const body = await resource.read({ start: 0, end }, this.#signal);
    return chunksOf(body);
  }

  #tell(path: TreePath, code: RejectedFile["code"], reason: string): void {
    if (this.#problems.length < maxProblems) this.#problems.push({ path, code, reason });
  }
}

/** Can be iterated in several goes: whoever reads on has what the one before has left. */
function counting(content: AsyncIterable<Uint8Array>, digests: RunningDigests): AsyncIterable<Uint8Array> {
  const source = content[Symbol.asyncIterator]();
  const next = async (): Promise<IteratorResult<Uint8Array>> => {
    const step = await source.next();
    if (step.done !== true) digests.update(step.value);
    return step;
  };
  return { [Symbol.asyncIterator]: () => ({ next }) };
}
