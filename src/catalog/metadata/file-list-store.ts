// The file lists of packages on disk, including lists that uploaders have provided. They are separate from inspections
// because only Contents indices need them.
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import type { Database } from "lmdb";
import { asBuffer } from "../../base/as-buffer.ts";
import { ContentId } from "../../base/content-id.ts";
import type { TreePath } from "../../base/names.ts";
import { readAtMost } from "../../base/read-at-most.ts";
import type { FileListLimits } from "../../debian/file-list.ts";
import type { Tree } from "../../storage/tree.ts";
import { ContentGone } from "../../storage/tree.ts";
import type { Inspection } from "../inspection/inspection.ts";
import { WriteBehind } from "../store/write-behind.ts";
import type { Claim } from "./claims.ts";

/** The version of the lists' format. Lists of other versions are ignored. */
const schema = "1";

/** Replaces an uploader's list that is invalid. */
const invalidList = Buffer.alloc(0);

/** The collaborators and settings of `FileLists`. */
export interface FileListsOptions {
  /** A separate database with binary values. */
  readonly lists: Database<Buffer, string>;
  readonly tree: Tree;
  readonly limits: FileListLimits;
  /** Called for each cap in metadata that leads to no valid list. */
  readonly onMalformed: () => void;
}

/** Compressed file lists, by the keys of their packages' inspections. */
export class FileLists {
  readonly #lists: WriteBehind;
  readonly #options: FileListsOptions;

  constructor(options: FileListsOptions) {
    this.#options = options;
    this.#lists = new WriteBehind(options.lists);
  }

  /** @returns undefined if no list is stored, or it was marked invalid */
  get(key: string): Uint8Array | undefined {
    const list = this.#lists.get(`${schema}/${key}`);
    return list === undefined || list.byteLength === 0 ? undefined : list;
  }

  /** Stores a list. */
  async put(key: string, list: Uint8Array): Promise<void> {
    await this.#lists.put(`${schema}/${key}`, asBuffer(list));
  }

  /** Records that the uploader's list of this key is invalid, so that it is never fetched again. */
  async markInvalid(key: string): Promise<void> {
    this.#options.onMalformed();
    await this.put(key, invalidList);
  }

  /**
   * Gets the list that a claim points to. Its content is not checked.
   * @returns undefined if there is none, or it is invalid
   * @throws StorageUnavailable
   */
  async claimed({ key, inspection }: Claim, path: TreePath, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const pointer = inspection.kind === "binary" ? inspection.contents : undefined;
    if (pointer === undefined) return undefined;
    const known = this.#lists.get(`${schema}/${key}`);
    if (known !== undefined) return known.byteLength === 0 ? undefined : known;
    const list = await this.#fetch(pointer, path, signal);
    if (list === undefined) await this.markInvalid(key);
    else await this.put(key, list);
    return list;
  }

  /** Whether two lists contain different files, or one of them cannot be decompressed. */
  async differ(one: Uint8Array, other: Uint8Array): Promise<boolean> {
    const options = { maxOutputLength: this.#options.limits.maxFileListBytes };
    const plain = (list: Uint8Array) => promisify(gunzip)(list, options).catch(() => undefined);
    const [left, right] = [await plain(one), await plain(other)];
    return left === undefined || right === undefined || !left.equals(right);
  }

  async #fetch(pointer: string, path: TreePath, signal: AbortSignal): Promise<Uint8Array | undefined> {
    try {
      // Every tree throws ContentGone for a content id that is not an immutable cap.
      const content = this.#options.tree.open({ path, content: new ContentId(pointer) }, undefined, signal);
      const bytes = await readAtMost(content, this.#options.limits.maxFileListBytes);
      return bytes?.byteLength === 0 ? undefined : bytes;
    } catch (thrown) {
      if (thrown instanceof ContentGone) return undefined;
      throw thrown;
    }
  }
}

/** Removes the file list from an inspection, so that it can be freed while the inspection is in use. */
export function withoutFileList(inspection: Inspection): Inspection {
  if (inspection.kind !== "binary") return inspection;
  const { fileList: _apart, ...rest } = inspection;
  return rest;
}
