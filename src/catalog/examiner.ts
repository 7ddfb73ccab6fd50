// Gets the inspection of a file from the cheapest source: the inspection store, the metadata of its directory entry, or
// another server of the same tree, or else one streaming read of its bytes. Each content is read at most once.

import { randomUUID } from "node:crypto";
import { endsWithin } from "../base/ends-within.ts";
import { limitMessage } from "../base/errors.ts";
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
import { bytesKey, bytesKeyOf, mutableFileKey, packageKinds } from "./inspection/inspection-keys.ts";
import { BuilderDirectories } from "./layout/builder-directories.ts";
import { difference } from "./metadata/claim-mismatch.ts";
import type { Claim, ParsedMetadata } from "./metadata/claims.ts";
import { Claims } from "./metadata/claims.ts";
import type { FileLists } from "./metadata/file-list-store.ts";
import { withoutFileList } from "./metadata/file-list-store.ts";
import type { SharedInspections, UntrustedMark } from "./shared-inspections.ts";
import type { InspectionStore } from "./store/inspection-store.ts";
import { isTemporary } from "./store/inspection-store.ts";

/**
 * Inspects a stream of bytes. A bad package results in a rejection, a failing stream throws. Builders share the
 * inspector fairly: `builder` is the builder of the file.
 */
export interface ContentInspector {
  inspect(
    kind: PackageKind,
    content: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    builder?: string,
  ): Promise<Inspection>;
  /** Reads a small local file in the worker. @returns undefined if that fails: then `inspect` finds the reason */
  inspectLocal?(
    kind: PackageKind,
    file: LocalFile,
    signal: AbortSignal,
    builder?: string,
  ): Promise<Inspection | undefined>;
}

/** Where an inspection comes from; "shared": another server of the same tree. */
export type InspectionSource = "entry" | "store" | "shared" | "read";

/** Receives the sources of inspections, and each rejection of an entry's metadata. */
export interface ExaminerObserver {
  inspected(source: InspectionSource, count?: number): void;
  /** The metadata cannot be parsed, or the bytes differ from it. */
  metadataRejected(reason: "malformed" | "mismatch"): void;
}

/** The result of an examination. The inspection store has the complete inspection under the file's key. */
export interface Examined {
  readonly finding: Finding;
  /** Whether it comes from the uploader's metadata, and the bytes have not been read. */
  readonly claimed: boolean;
}

/** A file, and the kind of package file that its name or the .dsc beside it announces. */
export interface ExaminedFile {
  readonly path: TreePath;
  readonly entry: FileEntry;
  readonly kind: PackageKind;
  /** The metadata of the entry, if it was parsed already. */
  readonly parsed?: ParsedMetadata | undefined;
}

/** An inspection that is in the inspection store, and its finding. */
interface StoredInspection {
  readonly inspection: Inspection;
  readonly finding: Finding;
}

/** How many files are streamed for inspection at the same time. */
const defaultConcurrentReads = 8;
/** Additional streams, each for a builder that has no other file being streamed. */
const spareReads = 4;

/** How long in ms a file waits for another builder's pending read of the same bytes before it is read separately. */
const maxWaitForOthersMs = 1000;

/** Attempts to inspect a file, because a worker may have crashed because of another file. */
const maxAttempts = 3;

/** Gets inspections for one repository. */
export class Examiner {
  readonly claims: Claims;
  readonly #tree: Tree;
  readonly #inspectionStore: InspectionStore;
  readonly #fileLists: FileLists | undefined;
  readonly #inspector: ContentInspector;
  readonly #observer: ExaminerObserver;
  readonly #maxFileBytes: number;
  readonly #readQueue: FairQueue;
  readonly #shared: SharedInspections | undefined;
  readonly #builders: BuilderDirectories;
  readonly #repositoryName: string;
  /** Pending reads by inspection key, with the builder in whose share they run. */
  readonly #pendingReads = new Map<string, { readonly builder: string; readonly kept: Promise<StoredInspection> }>();

  constructor(options: {
    readonly tree: Tree;
    readonly inspectionStore: InspectionStore;
    /** Undefined if no suite has Contents indices. */
    readonly fileLists?: FileLists | undefined;
    readonly inspector: ContentInspector;
    readonly observer: ExaminerObserver;
    /** The digests that a claim must contain. */
    readonly algorithms: readonly DigestAlgorithm[];
    readonly limits: InspectLimits;
    readonly concurrentReads?: number;
    /** What the other servers of the same tree have inspected; undefined if this one is alone. */
    readonly shared?: SharedInspections | undefined;
    /** The builders' directories: reads and inspections are shared fairly between them. */
    readonly builders?: BuilderDirectories;
    /**
     * The repository's name; it distinguishes its builders from those of other repositories with the same inspector.
     */
    readonly name?: string;
  }) {
    this.#tree = options.tree;
    this.#inspectionStore = options.inspectionStore;
    this.#fileLists = options.fileLists;
    this.#inspector = options.inspector;
    this.#observer = options.observer;
    this.#maxFileBytes = options.limits.maxFileBytes;
    const onMalformed = () => options.observer.metadataRejected("malformed");
    this.claims = new Claims({
      inspectionStore: options.inspectionStore,
      algorithms: options.algorithms,
      limits: options.limits,
      onMalformed,
    });
    this.#readQueue = new FairQueue({ limit: options.concurrentReads ?? defaultConcurrentReads, spare: spareReads });
    this.#shared = options.shared;
    this.#builders = options.builders ?? new BuilderDirectories();
    this.#repositoryName = options.name ?? "";
  }

  /**
   * Gets the finding of a file of the announced kind. A file that cannot be read now is a rejection too (`unreadable`)
   * that is not stored: one lost file must not delay a suite. A file whose metadata differs from its bytes is rejected.
   * @param claimKey the key of a claim that is to be compared with the bytes
   */
  async examine(file: ExaminedFile, signal: AbortSignal, claimKey?: string): Promise<Examined> {
    const { content } = file.entry;
    if (content === undefined) return { finding: (await this.#readMutable(file, signal)).finding, claimed: false };
    const claim = claimKey === undefined ? this.#claimOf(file) : this.claims.stored(claimKey);
    // Computing it hashes the content id.
    const { key } = content;
    const keyOfBytes = bytesKey(file.kind, key);
    const isUntrusted = this.#inspectionStore.isUntrusted(key);
    const known = isUntrusted ? undefined : this.#inspectionStore.finding(keyOfBytes);
    if (known !== undefined) {
      this.#observer.inspected("store");
      const finding = claim === undefined ? known : await this.#compared(keyOfBytes, known, claim);
      return { finding, claimed: false };
    }
    if (claim !== undefined && claimKey === undefined && !isUntrusted) return await this.#acceptClaim(claim);
    const { finding } = await this.#readOnce(file, keyOfBytes, signal);
    return { finding: await this.#compared(keyOfBytes, finding, claim), claimed: false };
  }

  /**
   * Finds what `examine` would find of files without metadata, if their inspections are stored. It does so without
   * promises, which take longer than everything else.
   * @returns the findings in the order of the files, undefined for those that must be examined
   */
  storedFindings(files: readonly ExaminedFile[]): readonly (Finding | undefined)[] {
    const mayBeUntrusted = this.#inspectionStore.hasUntrusted();
    const findings = files.map(({ entry: { content }, kind }) => {
      // Computing it hashes the content id.
      const key = content?.key;
      if (key === undefined || (mayBeUntrusted && this.#inspectionStore.isUntrusted(key))) return undefined;
      return this.#inspectionStore.finding(bytesKey(kind, key));
    });
    const count = findings.reduce((sum, finding) => (finding === undefined ? sum : sum + 1), 0);
    if (count > 0) this.#observer.inspected("store", count);
    return findings;
  }

  /** @returns the result of `examine` if it comes from the entry's metadata; undefined otherwise */
  async examineMetadata(file: ExaminedFile): Promise<Examined | undefined> {
    const { kind, entry } = file;
    const { content } = entry;
    const claim = this.#claimOf(file);
    if (claim === undefined || content === undefined || this.#inspectionStore.isUntrusted(content.key))
      return undefined;
    return this.#inspectionStore.finding(bytesKey(kind, content.key)) === undefined
      ? await this.#acceptClaim(claim)
      : undefined;
  }

  #claimOf({ entry, kind, parsed = this.claims.parse(entry) }: ExaminedFile): Claim | undefined {
    return this.claims.of(entry, kind, parsed);
  }

  /** Loads the inspection of a key, and reads the file again if the inspection store has lost it. */
  async loadInspection(file: ExaminedFile, inspectionKey: string, signal: AbortSignal): Promise<Inspection> {
    const known = this.#inspectionStore.get(inspectionKey);
    if (known !== undefined) return known;
    const { content } = file.entry;
    if (content === undefined) return (await this.#readMutable(file, signal)).inspection;
    const keyOfBytes = bytesKey(file.kind, content.key);
    const isUntrusted = this.#inspectionStore.isUntrusted(content.key);
    const found = isUntrusted ? undefined : this.#inspectionStore.get(keyOfBytes);
    return found ?? (await this.#readOnce(file, keyOfBytes, signal)).inspection;
  }

  /**
   * Gets the list of a package's files in its compressed form: from the store, from the list that the uploader has
   * provided, or else by reading the package.
   * @param inspectionKey the key of the package's inspection
   * @returns undefined if the bytes are no longer those of that inspection
   * @throws errors of reading
   */
  async fileList(
    file: ExaminedFile,
    inspectionKey: string,
    signal: AbortSignal,
  ): Promise<Uint8Array | Rejection | undefined> {
    const { content } = file.entry;
    const known = this.storedFileList(inspectionKey);
    if (known !== undefined) return known;
    const keyOfBytes = bytesKeyOf(inspectionKey);
    const claim = inspectionKey === keyOfBytes ? undefined : this.claims.stored(inspectionKey);
    const claimedList = claim && (await this.#fileLists?.claimed(claim, file.path, signal));
    if (claimedList !== undefined) return claimedList;
    const read = async (begin: Begin) => await this.#readWithRetry(file, signal, this.#counted(begin));
    const hasList = (inspection: Inspection) => inspection.kind !== "binary" || inspection.fileList !== undefined;
    const found = await this.#sharedOr(read, { file, keyOfBytes, isEnough: hasList }, signal);
    if (content !== undefined) await this.#store(file.entry, keyOfBytes, found);
    else if (found.kind === "binary") {
      await this.#storeAs(mutableFileKey(file.kind, found.digests.sha256), found);
    }
    return found.kind === "rejected" ? found : this.#fileLists?.get(keyOfBytes);
  }

  /** @returns the list of a package's files if it is stored already. @param inspectionKey as for `fileList` */
  storedFileList(inspectionKey: string): Uint8Array | undefined {
    return this.#fileLists?.get(inspectionKey) ?? this.#fileLists?.get(bytesKeyOf(inspectionKey));
  }

  /** Records that the stored list cannot be parsed. The next `fileList` reads the package instead. */
  async markFileListInvalid(inspectionKey: string): Promise<void> {
    const hasOwnList = this.#fileLists?.get(inspectionKey) !== undefined;
    await this.#fileLists?.markInvalid(hasOwnList ? inspectionKey : bytesKeyOf(inspectionKey));
  }

  /**
   * Compares a claim with the bytes. The inspection of the bytes is stored for the next examination.
   * @param copy the complete file from another source, e.g. a cache; without it, or if it differs, the tree is read
   * @returns "unknown" if the bytes cannot be inspected on this machine or the claim is no longer stored
   * @throws errors of reading
   */
  async audit(
    file: ExaminedFile,
    claimKey: string,
    copy: AsyncIterable<Uint8Array> | undefined,
    signal: AbortSignal,
  ): Promise<"confirmed" | "refuted" | "unknown"> {
    const { entry, kind } = file;
    const claim = this.claims.stored(claimKey);
    if (entry.content === undefined || claim === undefined) return "unknown";
    const claimed = claim.inspection;
    const keyOfBytes = bytesKey(kind, entry.content.key);
    const claimedList = await this.#fileLists?.claimed(claim, file.path, signal);
    const isKnown =
      !this.#inspectionStore.isUntrusted(entry.content.key) &&
      (claimedList === undefined || this.#fileLists?.get(keyOfBytes));
    const known = isKnown ? this.#inspectionStore.get(keyOfBytes) : undefined;
    const read = async (begin: Begin) =>
      (await begin())
        ? ((await this.#inspectCopy(kind, copy, claimed, signal)) ?? (await this.#readWithRetry(file, signal, atOnce)))
        : undefined;
    const isEnough = (shared: Inspection) =>
      claimedList === undefined || shared.kind !== "binary" || shared.fileList !== undefined;
    const found = known ?? (await this.#sharedOr(read, { file, keyOfBytes, isEnough }, signal));
    if (known === undefined) await this.#store(entry, keyOfBytes, found);
    if (isTemporary(found)) return "unknown";
    return (await this.#differenceOf(keyOfBytes, found, claim)) === undefined ? "confirmed" : "refuted";
  }

  /** Makes the next examination of this content read the bytes again, whatever metadata and stored inspections say. */
  async markUntrusted({ content }: FileEntry): Promise<void> {
    if (content !== undefined) await this.#inspectionStore.markUntrusted(content.key);
  }

  /**
   * Tells the other servers of the tree that what they believe about a content is wrong.
   * @param wrong what is wrong: the uploader's metadata, or also the inspections that servers have shared
   */
  async warnOthers({ content }: FileEntry, wrong: "metadata" | "inspections"): Promise<void> {
    if (content === undefined || this.#shared === undefined) return;
    const { key } = content;
    const mark = randomUUID();
    const keys = wrong === "metadata" ? [] : packageKinds.map((kind) => this.sharedKey(kind, key));
    this.#shared.markUntrusted(key, mark, keys);
    await this.#inspectionStore.putTakenMark(key, mark);
  }

  /** The key under which servers share the inspection of a content. */
  sharedKey(kind: PackageKind, contentKey: string): string {
    return this.#inspectionStore.sharedKey(bytesKey(kind, contentKey));
  }

  /** @returns the complete inspection of some bytes, with its file list, as this server has it on disk */
  storedInspection(kind: PackageKind, contentKey: string): Inspection | undefined {
    const key = bytesKey(kind, contentKey);
    if (this.#inspectionStore.isUntrusted(contentKey)) return undefined;
    const inspection = this.#inspectionStore.get(key);
    const fileList = inspection?.kind === "binary" ? this.#fileLists?.get(key) : undefined;
    return inspection?.kind === "binary" && fileList !== undefined ? { ...inspection, fileList } : inspection;
  }

  /** Returns the mark of a content, from this server or another one; undefined if there is none. */
  takenMark(contentKey: string): string | undefined {
    return this.#inspectionStore.takenMark(contentKey);
  }

  /** Takes over the mark of another server, whatever this one believes about the content. */
  async takeMark({ contentKey, mark }: UntrustedMark): Promise<void> {
    await this.#inspectionStore.markUntrusted(contentKey);
    await this.#inspectionStore.putTakenMark(contentKey, mark);
  }

  async #compared(keyOfBytes: string, finding: Finding, claim: Claim | undefined): Promise<Finding> {
    if (claim === undefined || isTemporary(finding)) return finding;
    const found = finding.kind === "rejected" ? finding : this.#inspectionStore.get(keyOfBytes);
    const difference = found && (await this.#differenceOf(keyOfBytes, found, claim));
    if (difference === undefined) return finding;
    this.#observer.metadataRejected("mismatch");
    if (finding.kind === "rejected") return finding;
    return { kind: "rejected", code: "mismatch", text: `its entry's metadata and its bytes differ: ${difference}` };
  }

  /** @returns a description of how the bytes differ from a claim; file lists are compared only if both are stored */
  async #differenceOf(keyOfBytes: string, found: Inspection, claim: Claim): Promise<string | undefined> {
    const differenceOfInspections = difference(claim.inspection, found);
    if (differenceOfInspections !== undefined || this.#fileLists === undefined) return differenceOfInspections;
    const [claimedList, listOfBytes] = [this.#fileLists.get(claim.key), this.#fileLists.get(keyOfBytes)];
    if (claimedList === undefined || listOfBytes === undefined || claim.key === keyOfBytes) return undefined;
    return (await this.#fileLists.differ(claimedList, listOfBytes)) ? "list of files" : undefined;
  }

  async #acceptClaim(claim: Claim): Promise<Examined> {
    this.#observer.inspected(claim.isStored ? "store" : "entry");
    const known = claim.isStored ? this.#inspectionStore.finding(claim.key) : undefined;
    return { finding: known ?? (await this.#inspectionStore.put(claim.key, claim.inspection)), claimed: true };
  }

  /** Reads equal content at two paths once, unless the pending read waits too long in another builder's share. */
  async #readOnce(file: ExaminedFile, keyOfBytes: string, signal: AbortSignal): Promise<StoredInspection> {
    const builder = this.#builderOf(file.path);
    const pending = this.#pendingReads.get(keyOfBytes);
    const isPrompt =
      pending !== undefined && (pending.builder === builder || (await endsWithin(pending.kept, maxWaitForOthersMs)));
    if (isPrompt) return await pending.kept;
    const stored = (async () => {
      const read = async (begin: Begin) => await this.#read(file, signal, begin);
      const inspection = await this.#sharedOr(read, { file, keyOfBytes }, signal);
      return { inspection, finding: await this.#store(file.entry, keyOfBytes, inspection) };
    })();
    const own = { builder, kept: stored };
    this.#pendingReads.set(keyOfBytes, own);
    return await stored.finally(() => {
      if (this.#pendingReads.get(keyOfBytes) === own) this.#pendingReads.delete(keyOfBytes);
    });
  }

  /** Takes the inspection of another server, or reads the file. @param isEnough whether it has all that is needed */
  async #sharedOr(
    read: (begin: Begin) => Promise<Inspection | undefined>,
    { file, keyOfBytes, isEnough = () => true }: SharedRequest,
    signal: AbortSignal,
  ): Promise<Inspection> {
    const isImmutable = file.entry.content !== undefined;
    if (this.#shared === undefined || !isImmutable) return surely(await read(atOnce));
    let isRead = false;
    const noting = async (begin: Begin) => {
      const found = await read(begin);
      isRead ||= found !== undefined;
      return found;
    };
    const key = this.#inspectionStore.sharedKey(keyOfBytes);
    const found = await this.#shared.once({ key, isEnough, read: noting }, signal);
    if (!isRead) this.#observer.inspected("shared");
    return found;
  }

  /** Counts a read when it begins. */
  #counted(begin: Begin): Begin {
    let isCounted = false;
    return async () => {
      const mayBegin = await begin();
      if (mayBegin && !isCounted) this.#observer.inspected("read");
      isCounted ||= mayBegin;
      return mayBegin;
    };
  }

  #builderOf(path: TreePath): string {
    return `${this.#repositoryName}/${this.#builders.of(parentPath(path)) ?? ""}`;
  }

  async #store({ content }: FileEntry, inspectionKey: string, inspection: Inspection): Promise<Finding> {
    const finding = await this.#storeAs(inspectionKey, inspection);
    if (isTemporary(inspection)) return finding;
    if (content !== undefined && this.#inspectionStore.isUntrusted(content.key))
      await this.#inspectionStore.clearUntrusted(content.key);
    return finding;
  }

  async #storeAs(inspectionKey: string, inspection: Inspection): Promise<Finding> {
    if (inspection.kind === "binary" && inspection.fileList !== undefined) {
      await this.#fileLists?.put(inspectionKey, inspection.fileList);
    }
    return await this.#inspectionStore.put(inspectionKey, withoutFileList(inspection));
  }

  async #readMutable(file: ExaminedFile, signal: AbortSignal): Promise<StoredInspection> {
    const inspection = surely(await this.#read(file, signal, atOnce));
    // A rejection has no digest for a key, and is not needed: the next survey reads a mutable file again anyway.
    if (inspection.kind === "rejected") return { inspection, finding: inspection };
    const inspectionKey = mutableFileKey(file.kind, inspection.digests.sha256);
    return { inspection, finding: await this.#storeAs(inspectionKey, inspection) };
  }

  /** @returns undefined if the copy differs from the claim: it may be damaged, so only the tree can refute a claim */
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

  /** @returns undefined if `begin` returns false */
  async #read(file: ExaminedFile, signal: AbortSignal, begin: Begin): Promise<Inspection | undefined> {
    signal.throwIfAborted();
    // If the size is known in advance, no byte is read.
    if ((file.entry.sizeBytes ?? 0) > this.#maxFileBytes) {
      const text = limitMessage(
        "maxFileBytes",
        this.#maxFileBytes,
        `the size of the file, ${file.entry.sizeBytes} bytes,`,
      );
      return { kind: "rejected", code: "limit", text };
    }
    try {
      return await this.#readWithRetry(file, signal, this.#counted(begin));
    } catch (thrown) {
      if (signal.aborted || !(thrown instanceof StorageUnavailable || thrown instanceof ContentGone)) throw thrown;
      // A lack of file descriptors on this machine is not a fault of the package.
      if (thrown instanceof StorageUnavailable && thrown.shortage) throw thrown;
      return { kind: "rejected", code: "unreadable", text: thrown.message };
    }
  }

  /** @returns undefined if `begin` returns false */
  async #readWithRetry(file: ExaminedFile, signal: AbortSignal, begin: Begin): Promise<Inspection | undefined> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#inspect(file, signal, begin);
      } catch (thrown) {
        // A crashing worker fails all the files that it is inspecting.
        if (!(thrown instanceof InspectorFailed) || attempt >= maxAttempts) throw thrown;
        signal.throwIfAborted();
      }
    }
  }

  async #inspect(
    { path, entry, kind }: ExaminedFile,
    signal: AbortSignal,
    begin: Begin,
  ): Promise<Inspection | undefined> {
    const file = { path, content: entry.content };
    const builder = this.#builderOf(path);
    const isSmall = (entry.sizeBytes ?? Number.POSITIVE_INFINITY) <= maxLocalBytes;
    const local = isSmall ? this.#tree.localFile?.(file) : undefined;
    if (local !== undefined && this.#inspector.inspectLocal !== undefined) {
      if (!(await begin())) return undefined;
      const inspection = await this.#inspector.inspectLocal(kind, local, signal, builder);
      if (inspection !== undefined) return inspection;
    }
    return await this.#readQueue.run(builder, signal, async () => {
      if (!(await begin())) return undefined;
      return await this.#inspector.inspect(kind, this.#tree.open(file, undefined, signal), signal, builder);
    });
  }
}

/** Asks whether a read may begin now. A server that shares inspections with others reserves the file; it may ask again. */
type Begin = () => Promise<boolean>;

const atOnce: Begin = () => Promise.resolve(true);

/** An inspection that may come from another server. */
interface SharedRequest {
  readonly file: ExaminedFile;
  readonly keyOfBytes: string;
  readonly isEnough?: (found: Inspection) => boolean;
}

/** @throws Error for the result of a read that was not allowed to begin */
function surely(inspection: Inspection | undefined): Inspection {
  if (inspection === undefined) throw new Error("the read did not begin");
  return inspection;
}
