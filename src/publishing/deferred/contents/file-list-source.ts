// Reads the file lists for Contents one by one, and packs them for the thread that sorts them.
import { codeOf } from "../../../base/errors.ts";
import type { Log } from "../../../base/log.ts";
import type { Examiner } from "../../../catalog/examiner.ts";
import type { BinaryIndexEntry } from "../../../catalog/suite/index-entry.ts";
import { fieldOf } from "../../../debian/stanza.ts";
import { locationOf } from "../../../indices/contents/contents.ts";
import { ContentGone, StorageUnavailable } from "../../../storage/tree.ts";
import type { ClaimAudit } from "../../serve/claim-audit.ts";
import type { ListedPackages } from "./contents-tasks.ts";

/** The collaborators of `FileListSource`. */
export interface FileListSourceOptions {
  readonly examiner: Pick<Examiner, "fileList" | "loadInspection">;
  /** Handles packages whose data cannot be unpacked, although their inspection reports no error. */
  readonly audit: Pick<ClaimAudit, "mismatched">;
  readonly log: Log;
}

/** How often an unreadable list makes a run fail before Contents are generated without it. */
const triesPerList = 3;

/** Reads file lists, and gives up on a list after some failures. */
export class FileListSource {
  readonly #options: FileListSourceOptions;
  /** How often the list of an inspection could not be read, by inspection key. */
  readonly #failures = new Map<string, number>();

  constructor(options: FileListSourceOptions) {
    this.#options = options;
  }

  /**
   * The name of a package in Contents.
   * @throws errors of reading the inspection
   */
  async locationOf(entry: BinaryIndexEntry, signal: AbortSignal): Promise<string | undefined> {
    const inspection = await this.#options.examiner.loadInspection(entry, entry.inspectionKey, signal);
    if (inspection.kind !== "binary") return undefined;
    return locationOf(fieldOf(inspection.control, "Package") ?? "", fieldOf(inspection.control, "Section"));
  }

  /**
   * Reads the list of a package's files in its compact form.
   * @returns undefined if Contents must be generated without this package
   * @throws StorageUnavailable if another attempt may succeed
   */
  async listOf(entry: BinaryIndexEntry, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const failures = this.#failures.get(entry.inspectionKey) ?? 0;
    if (failures >= triesPerList) return undefined;
    try {
      const list = await this.#options.examiner.fileList(entry, entry.inspectionKey, signal);
      if (list instanceof Uint8Array) return list;
      this.#giveUp(entry, list === undefined ? "its data cannot be read here" : list.text);
      if (list !== undefined) await this.#options.audit.mismatched(entry.path);
      return undefined;
    } catch (thrown) {
      signal.throwIfAborted();
      // The file was removed or replaced. A later refresh finds that, and Contents are generated again.
      if (thrown instanceof ContentGone) return undefined;
      if (!(thrown instanceof StorageUnavailable)) throw thrown;
      this.#failures.set(entry.inspectionKey, failures + 1);
      if (failures + 1 < triesPerList) throw thrown;
      this.#giveUp(entry, codeOf(thrown));
      return undefined;
    }
  }

  #giveUp({ inspectionKey: record, path }: BinaryIndexEntry, why: string): void {
    this.#failures.set(record, triesPerList);
    this.#options.log.warn(
      { path, why },
      "the files of a package cannot be listed: Contents are generated without them",
    );
  }
}

/** Collects lists until there are enough for a task. */
export class ListPack {
  readonly #locations: string[] = [];
  readonly #lists: Uint8Array[] = [];
  #sizeBytes = 0;

  /** The total length of the lists in compact form. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  add(location: string, list: Uint8Array): void {
    this.#locations.push(location);
    this.#lists.push(list);
    this.#sizeBytes += list.byteLength;
  }

  packed(): ListedPackages {
    // A copy: a list may be a view of a larger buffer, which would be transferred as a whole.
    const lists = new Uint8Array(this.#sizeBytes);
    let at = 0;
    for (const list of this.#lists) {
      lists.set(list, at);
      at += list.byteLength;
    }
    return { locations: this.#locations, lengths: this.#lists.map(({ byteLength }) => byteLength), lists };
  }
}
