// Brings the inspection of a file, reading each content at most once: from the ledger, from what its entry says, or by
// one pass over its bytes.

import { endsWithin } from "../base/ends-within.ts";
import { beyondText } from "../base/errors.ts";
import { FairQueue } from "../base/fair-queue.ts";
import type { TreePath } from "../base/names.ts";
import { parentPath } from "../base/names.ts";
import type { DigestAlgorithm } from "../debian/digests.ts";
import type { LocalFile } from "../storage/local-file.ts";
import { maxLocalBytes } from "../storage/local-file.ts";
import type { FileEntry, Tree } from "../storage/tree.ts";
import { ContentGone, StorageUnavailable } from "../storage/tree.ts";
import type { Finding } from "./files/finding.ts";
import type { InspectLimits } from "./inspection/inspect-limits.ts";
import { InspectorFailed } from "./inspection/inspect-thread.ts";
import type { Inspection, PackageKind, Rejection, SoundInspection } from "./inspection/inspection.ts";
import { bytesKey, bytesKeyOf, mutableFileKey } from "./inspection/inspection-keys.ts";
import { BuilderDirectories } from "./layout/builder-directories.ts";
import { difference } from "./metadata/claim-mismatch.ts";
import type { Claim } from "./metadata/claims.ts";
import { Claims } from "./metadata/claims.ts";
import type { FileLists } from "./metadata/file-list-store.ts";
import { withoutFileList } from "./metadata/file-list-store.ts";
import type { InspectionStore } from "./store/inspection-store.ts";
import { isTemporary } from "./store/inspection-store.ts";

/**
 * Runs one inspection over a stream of bytes; a bad package is a rejection, a failing stream throws. Builders take turns:
 * `builder` tells whose file it is.
 */
export interface ContentInspector {
  inspect(
    kind: PackageKind,
    content: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    builder?: string,
  ): Promise<Inspection>;
  /** Reads a small file of this machine by itself; undefined where that can't be: then `inspect` says why. */
  inspectLocal?(
    kind: PackageKind,
    file: LocalFile,
    signal: AbortSignal,
    builder?: string,
  ): Promise<Inspection | undefined>;
}

/** Told of each inspection that was needed, by where it came from, and of what became of entries' metadata. */
export interface ExaminerObserver {
  inspected(source: "entry" | "ledger" | "read"): void;
  /** It can't be read as an inspection of this file, or the bytes tell something else. */
  metadataRefused(reason: "malformed" | "lie"): void;
}

/** What was found in a file. The ledger has the inspection behind it under the file's record. */
export interface Examined {
  readonly finding: Finding;
  /** Whether it rests on the uploader's word alone. */
  readonly claimed: boolean;
}

/** A file and what its name, or the .dsc beside it, takes it for. */
export interface ExaminedFile {
  readonly path: TreePath;
  readonly entry: FileEntry;
  readonly kind: PackageKind;
}

/** An inspection that the ledger has now, and its finding. */
interface StoredInspection {
  readonly inspection: Inspection;
  readonly finding: Finding;
}

/** How many files are streamed at the same time to be inspected. */
const defaultConcurrentReads = 8;
/** How many more, each of a builder of which no other file is streamed. */
const spareReads = 4;

/** How long a file waits, in ms, for a reading of the same bytes among another builder's files. */
const maxWaitForOthersMs = 1000;

/** How often a file is given to a worker that may have ended because of another file. */
const maxAttempts = 3;

export class Examiner {
  readonly claims: Claims;
  readonly #tree: Tree;
  readonly #inspectionStore: InspectionStore;
  readonly #fileLists: FileLists | undefined;
  readonly #inspector: ContentInspector;
  readonly #observer: ExaminerObserver;
  readonly #maxFileBytes: number;
  readonly #readQueue: FairQueue;
  readonly #builders: BuilderDirectories;
  readonly #repositoryName: string;
  /** By record: readings, and whose turn they take. */
  readonly #pendingReads = new Map<string, { readonly builder: string; readonly kept: Promise<StoredInspection> }>();

  constructor(parts: {
    readonly tree: Tree;
    readonly inspectionStore: InspectionStore;
    /** Undefined where nobody asks for packages' files. */
    readonly fileLists?: FileLists | undefined;
    readonly inspector: ContentInspector;
    readonly observer: ExaminerObserver;
    /** The digests that a claim must tell. */
    readonly algorithms: readonly DigestAlgorithm[];
    readonly limits: InspectLimits;
    readonly concurrentReads?: number;
    /** Whose directories there are: by these, reading and inspecting are shared out. */
    readonly builders?: BuilderDirectories;
    /** Tells this repository's builders from those of others that share the inspector. */
    readonly name?: string;
  }) {
    this.#tree = parts.tree;
    this.#inspectionStore = parts.inspectionStore;
    this.#fileLists = parts.fileLists;
    this.#inspector = parts.inspector;
    this.#observer = parts.observer;
    this.#maxFileBytes = parts.limits.maxFileBytes;
    const malformed = () => parts.observer.metadataRefused("malformed");
    this.claims = new Claims({ ...parts, onMalformed: malformed });
    this.#readQueue = new FairQueue({ limit: parts.concurrentReads ?? defaultConcurrentReads, spare: spareReads });
    this.#builders = parts.builders ?? new BuilderDirectories();
    this.#repositoryName = parts.name ?? "";
  }

  /**
   * Inspects a file as what its name announces. A file that can't be read now is a rejection too ("unreadable"), which
   * no ledger keeps: one lost file must not hold up a suite. Metadata that the bytes are known to belie is a rejection.
   * @param claimRecord the record of a claim, if the bytes are to prove it
   */
  async examine(file: ExaminedFile, signal: AbortSignal, claimRecord?: string): Promise<Examined> {
    const { content } = file.entry;
    if (content === undefined) return { finding: (await this.#readMutable(file, signal)).finding, claimed: false };
    const claim = claimRecord === undefined ? this.claims.of(file.entry, file.kind) : this.claims.stored(claimRecord);
    const record = bytesKey(file.kind, content);
    const doubted = this.#inspectionStore.isUntrusted(content.key);
    const known = doubted ? undefined : this.#inspectionStore.finding(record);
    if (known !== undefined) {
      this.#observer.inspected("ledger");
      return { finding: await this.#compared(record, known, claim), claimed: false };
    }
    if (claim !== undefined && claimRecord === undefined && !doubted) return await this.#acceptClaim(claim);
    const { finding } = await this.#readOnce(file, record, signal);
    return { finding: await this.#compared(record, finding, claim), claimed: false };
  }

  /** What `examine` gives where an entry's metadata is all that is known of its file; else undefined. */
  async examineMetadata({ entry, kind }: ExaminedFile): Promise<Examined | undefined> {
    const { content } = entry;
    const claim = this.claims.of(entry, kind);
    if (claim === undefined || content === undefined || this.#inspectionStore.isUntrusted(content.key))
      return undefined;
    return this.#inspectionStore.finding(bytesKey(kind, content)) === undefined
      ? await this.#acceptClaim(claim)
      : undefined;
  }

  /** The inspection behind a record, read anew should the ledger have lost it. */
  async loadInspection(file: ExaminedFile, record: string, signal: AbortSignal): Promise<Inspection> {
    const known = this.#inspectionStore.get(record);
    if (known !== undefined) return known;
    const { content } = file.entry;
    if (content === undefined) return (await this.#readMutable(file, signal)).inspection;
    const ofBytes = bytesKey(file.kind, content);
    const isDoubted = this.#inspectionStore.isUntrusted(content.key);
    const found = isDoubted ? undefined : this.#inspectionStore.get(ofBytes);
    return found ?? (await this.#readOnce(file, ofBytes, signal)).inspection;
  }

  /**
   * The list of a package's files, in its compact form: what is known, what the uploader has put in place of it, or
   * what the bytes tell, read for it if need be.
   * @param record the ledger's name of the package's inspection
   * @returns undefined where the bytes are not those of that inspection any more
   * @throws what reading throws
   */
  async fileList(file: ExaminedFile, record: string, signal: AbortSignal): Promise<Uint8Array | Rejection | undefined> {
    const { content } = file.entry;
    const known = this.storedFileList(record);
    if (known !== undefined) return known;
    const ofBytes = bytesKeyOf(record);
    const claim = record === ofBytes ? undefined : this.claims.stored(record);
    const said = claim && (await this.#fileLists?.claimed(claim, file.path, signal));
    if (said !== undefined) return said;
    this.#observer.inspected("read");
    const found = await this.#readWithRetry(file, signal);
    if (content !== undefined) await this.#store(file.entry, ofBytes, found);
    else if (found.kind === "binary") {
      await this.#storeAs(mutableFileKey(file.kind, found.digests.sha256), found);
    }
    return found.kind === "rejected" ? found : this.#fileLists?.get(ofBytes);
  }

  /** The list of a package's files if it is known here already. @param record as for `fileList` */
  storedFileList(record: string): Uint8Array | undefined {
    return this.#fileLists?.get(record) ?? this.#fileLists?.get(bytesKeyOf(record));
  }

  /** The list under this name can't be read: the next who asks gets what the bytes tell. */
  async markFileListInvalid(record: string): Promise<void> {
    const isOwn = this.#fileLists?.get(record) !== undefined;
    await this.#fileLists?.markInvalid(isOwn ? record : bytesKeyOf(record));
  }

  /**
   * Holds a claim against the bytes. What these say is kept, so that the next examination has it.
   * @param copy the whole file from elsewhere, if there is one; else and in doubt the tree is read
   * @returns "unknown" where the bytes can't be judged here or the claim is gone
   * @throws what reading throws
   */
  async audit(
    file: ExaminedFile,
    claimRecord: string,
    copy: AsyncIterable<Uint8Array> | undefined,
    signal: AbortSignal,
  ): Promise<"confirmed" | "belied" | "unknown"> {
    const { entry, kind } = file;
    const claim = this.claims.stored(claimRecord);
    if (entry.content === undefined || claim === undefined) return "unknown";
    const claimed = claim.inspection;
    const record = bytesKey(kind, entry.content);
    const said = await this.#fileLists?.claimed(claim, file.path, signal);
    const isKnown =
      !this.#inspectionStore.isUntrusted(entry.content.key) && (said === undefined || this.#fileLists?.get(record));
    const known = isKnown ? this.#inspectionStore.get(record) : undefined;
    const found =
      known ?? (await this.#inspectCopy(kind, copy, claimed, signal)) ?? (await this.#readWithRetry(file, signal));
    if (known === undefined) await this.#store(entry, record, found);
    if (isTemporary(found)) return "unknown";
    return (await this.#differenceOf(record, found, claim)) === undefined ? "confirmed" : "belied";
  }

  /** Makes the next examination of this content read the bytes again, and believe nothing else. */
  async markUntrusted({ content }: FileEntry): Promise<void> {
    if (content !== undefined) await this.#inspectionStore.markUntrusted(content.key);
  }

  async #compared(record: string, finding: Finding, claim: Claim | undefined): Promise<Finding> {
    if (claim === undefined || isTemporary(finding)) return finding;
    const found = finding.kind === "rejected" ? finding : this.#inspectionStore.get(record);
    const differing = found && (await this.#differenceOf(record, found, claim));
    if (differing === undefined) return finding;
    this.#observer.metadataRefused("lie");
    if (finding.kind === "rejected") return finding;
    return { kind: "rejected", code: "mismatch", text: `its entry's metadata and its bytes differ: ${differing}` };
  }

  /** In what the bytes' inspection and a claim differ, in words. A list that nobody has fetched belies nobody. */
  async #differenceOf(record: string, found: Inspection, claim: Claim): Promise<string | undefined> {
    const differing = difference(claim.inspection, found);
    if (differing !== undefined || this.#fileLists === undefined) return differing;
    const [said, seen] = [this.#fileLists.get(claim.key), this.#fileLists.get(record)];
    if (said === undefined || seen === undefined || claim.key === record) return undefined;
    return (await this.#fileLists.differ(said, seen)) ? "list of files" : undefined;
  }

  async #acceptClaim(claim: Claim): Promise<Examined> {
    this.#observer.inspected(claim.isStored ? "ledger" : "entry");
    const known = claim.isStored ? this.#inspectionStore.finding(claim.key) : undefined;
    return { finding: known ?? (await this.#inspectionStore.put(claim.key, claim.inspection)), claimed: true };
  }

  /** Equal content at two paths is read once, unless it waits for long among another builder's files. */
  async #readOnce(file: ExaminedFile, record: string, signal: AbortSignal): Promise<StoredInspection> {
    const builder = this.#builderOf(file.path);
    const underWay = this.#pendingReads.get(record);
    const isPrompt =
      underWay !== undefined && (underWay.builder === builder || (await endsWithin(underWay.kept, maxWaitForOthersMs)));
    if (isPrompt) return await underWay.kept;
    const kept = (async () => {
      const inspection = await this.#read(file, signal);
      return { inspection, finding: await this.#store(file.entry, record, inspection) };
    })();
    const own = { builder, kept };
    this.#pendingReads.set(record, own);
    return await kept.finally(() => {
      if (this.#pendingReads.get(record) === own) this.#pendingReads.delete(record);
    });
  }

  #builderOf(path: TreePath): string {
    return `${this.#repositoryName}/${this.#builders.of(parentPath(path)) ?? ""}`;
  }

  async #store({ content }: FileEntry, record: string, inspection: Inspection): Promise<Finding> {
    const finding = await this.#storeAs(record, inspection);
    if (isTemporary(inspection)) return finding;
    if (content !== undefined && this.#inspectionStore.isUntrusted(content.key))
      await this.#inspectionStore.clearUntrusted(content.key);
    return finding;
  }

  async #storeAs(record: string, inspection: Inspection): Promise<Finding> {
    if (inspection.kind === "binary" && inspection.fileList !== undefined) {
      await this.#fileLists?.put(record, inspection.fileList);
    }
    return await this.#inspectionStore.put(record, withoutFileList(inspection));
  }

  async #readMutable(file: ExaminedFile, signal: AbortSignal): Promise<StoredInspection> {
    const inspection = await this.#read(file, signal);
    // It has no digest to be named by, and nobody would ask for it: the next look at such a file reads it anyway.
    if (inspection.kind === "rejected") return { inspection, finding: inspection };
    const record = mutableFileKey(file.kind, inspection.digests.sha256);
    return { inspection, finding: await this.#storeAs(record, inspection) };
  }

  /** A copy may be damaged itself: what speaks against an uploader must come from the tree. */
  async #inspectCopy(
    kind: PackageKind,
    copy: AsyncIterable<Uint8Array> | undefined,
    claimed: SoundInspection,
    signal: AbortSignal,
  ): Promise<Inspection | undefined> {
    if (copy === undefined) return undefined;
    const found = await this.#inspector.inspect(kind, copy, signal);
    return found.kind !== "rejected" && found.digests.sha256 === claimed.digests.sha256 ? found : undefined;
  }

  async #read(file: ExaminedFile, signal: AbortSignal): Promise<Inspection> {
    signal.throwIfAborted();
    // Where its size is known before, not even its begin is read.
    if ((file.entry.sizeBytes ?? 0) > this.#maxFileBytes) {
      const text = beyondText(
        "maxFileBytes",
        this.#maxFileBytes,
        `the size of the file, ${file.entry.sizeBytes} bytes,`,
      );
      return { kind: "rejected", code: "limit", text };
    }
    this.#observer.inspected("read");
    try {
      return await this.#readWithRetry(file, signal);
    } catch (thrown) {
      if (signal.aborted || !(thrown instanceof StorageUnavailable || thrown instanceof ContentGone)) throw thrown;
      // That this machine lacks descriptors says nothing of anybody's package.
      if (thrown instanceof StorageUnavailable && thrown.shortage) throw thrown;
      return { kind: "rejected", code: "unreadable", text: thrown.message };
    }
  }

  async #readWithRetry(file: ExaminedFile, signal: AbortSignal): Promise<Inspection> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#inspect(file, signal);
      } catch (thrown) {
        // A worker that ends takes the files of others with it.
        if (!(thrown instanceof InspectorFailed) || attempt >= maxAttempts) throw thrown;
        signal.throwIfAborted();
      }
    }
  }

  async #inspect({ path, entry, kind }: ExaminedFile, signal: AbortSignal): Promise<Inspection> {
    const file = { path, content: entry.content };
    const builder = this.#builderOf(path);
    const isSmall = (entry.sizeBytes ?? Number.POSITIVE_INFINITY) <= maxLocalBytes;
    const local = isSmall ? this.#tree.localFile?.(file) : undefined;
    const inspection = local && (await this.#inspector.inspectLocal?.(kind, local, signal, builder));
    if (inspection !== undefined) return inspection;
    return await this.#readQueue.run(builder, signal, () =>
      this.#inspector.inspect(kind, this.#tree.open(file, undefined, signal), signal, builder),
    );
  }
}
