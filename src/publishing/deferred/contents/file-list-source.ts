// The lists that Contents are made from: brought one by one, and packed for the thread that sorts them.
import { codeOf } from "../../../base/errors.ts";
import type { Log } from "../../../base/log.ts";
import type { TreePath } from "../../../base/names.ts";
import type { Examiner } from "../../../catalog/examiner.ts";
import type { BinaryIndexEntry } from "../../../catalog/suite/index-entry.ts";
import { fieldOf } from "../../../debian/stanza.ts";
import { locationOf } from "../../../indices/contents/contents.ts";
import { ContentGone, StorageUnavailable } from "../../../storage/tree.ts";
import type { ListedPackages } from "./contents-tasks.ts";

export interface FileListSourceOptions {
  readonly examiner: Pick<Examiner, "fileList" | "loadInspection">;
  /** Told of a package whose bytes can't be unpacked, though its inspection says nothing of it. */
  readonly mismatched: (path: TreePath) => Promise<void>;
  readonly log: Log;
}

/** How often a list that can't be read holds up the others, before Contents are made without it. */
const triesPerList = 3;

export class FileListSource {
  readonly #parts: FileListSourceOptions;
  /** By record, how often its list could not be read. */
  readonly #failures = new Map<string, number>();

  constructor(parts: FileListSourceOptions) {
    this.#parts = parts;
  }

  /** What Contents calls a package. @throws what reading throws */
  async locationOf(item: BinaryIndexEntry, signal: AbortSignal): Promise<string | undefined> {
    const inspection = await this.#parts.examiner.loadInspection(item, item.inspectionKey, signal);
    if (inspection.kind !== "binary") return undefined;
    return locationOf(fieldOf(inspection.control, "Package") ?? "", fieldOf(inspection.control, "Section"));
  }

  /**
   * The list of a package's files in its compact form.
   * @returns undefined for a package that Contents must do without
   * @throws StorageUnavailable where trying again later may help
   */
  async listOf(item: BinaryIndexEntry, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const failures = this.#failures.get(item.inspectionKey) ?? 0;
    if (failures >= triesPerList) return undefined;
    try {
      const list = await this.#parts.examiner.fileList(item, item.inspectionKey, signal);
      if (list instanceof Uint8Array) return list;
      this.#giveUp(item, list === undefined ? "nothing reads its data here" : list.text);
      if (list !== undefined) await this.#parts.mismatched(item.path);
      return undefined;
    } catch (thrown) {
      signal.throwIfAborted();
      // Removed or replaced since: the tree is looked at again sooner or later, and then Contents are made anew.
      if (thrown instanceof ContentGone) return undefined;
      if (!(thrown instanceof StorageUnavailable)) throw thrown;
      this.#failures.set(item.inspectionKey, failures + 1);
      if (failures + 1 < triesPerList) throw thrown;
      this.#giveUp(item, codeOf(thrown));
      return undefined;
    }
  }

  #giveUp({ inspectionKey: record, path }: BinaryIndexEntry, why: string): void {
    this.#failures.set(record, triesPerList);
    this.#parts.log.warn({ path, why }, "the files of a package can't be listed: Contents are made without them");
  }
}

/** Gathers lists until they are worth a task. */
export class ListPack {
  readonly #locations: string[] = [];
  readonly #lists: Uint8Array[] = [];
  #sizeBytes = 0;

  /** How long the lists are together, in their compact form. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  add(location: string, list: Uint8Array): void {
    this.#locations.push(location);
    this.#lists.push(list);
    this.#sizeBytes += list.byteLength;
  }

  packed(): ListedPackages {
    // Of its own: a list may be a view of some larger buffer, all of which would go along into the thread.
    const lists = new Uint8Array(this.#sizeBytes);
    let at = 0;
    for (const list of this.#lists) {
      lists.set(list, at);
      at += list.byteLength;
    }
    return { locations: this.#locations, lengths: this.#lists.map(({ byteLength }) => byteLength), lists };
  }
}
