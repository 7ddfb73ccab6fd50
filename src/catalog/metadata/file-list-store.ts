// The lists of packages' files on disk, apart from their inspections because only Contents asks for them, and what
// uploaders have put in place of them.

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

/** Names what a list means: another form of it gets a new one, and old ones are ignored. */
const schema = "1";

/** Stands for a list that is not to be believed. */
const invalidList = Buffer.alloc(0);

export interface FileListsOptions {
  /** A database of its own, of bytes as they are. */
  readonly lists: Database<Buffer, string>;
  readonly tree: Tree;
  readonly limits: FileListLimits;
  /** Told of each pointer that leads to no list. */
  readonly onMalformed: () => void;
}

/** Lists in their compact form by the ledger's names of the inspections that they belong to. */
export class FileLists {
  readonly #lists: WriteBehind;
  readonly #options: FileListsOptions;

  constructor(options: FileListsOptions) {
    this.#options = options;
    this.#lists = new WriteBehind(options.lists);
  }

  /** @returns undefined where none is known, or the known one was refused */
  get(record: string): Uint8Array | undefined {
    const list = this.#lists.get(`${schema}/${record}`);
    return list === undefined || list.byteLength === 0 ? undefined : list;
  }

  async put(record: string, list: Uint8Array): Promise<void> {
    await this.#lists.put(`${schema}/${record}`, asBuffer(list));
  }

  /** Makes sure that the list that an uploader has put under this name is never asked for again. */
  async markInvalid(record: string): Promise<void> {
    this.#options.onMalformed();
    await this.put(record, invalidList);
  }

  /**
   * The list that a claim points to, as it was found: nothing has looked into it.
   * @returns undefined where it points to none, or to what was refused
   * @throws StorageUnavailable
   */
  async claimed(
    { key: record, inspection }: Claim,
    path: TreePath,
    signal: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    const pointer = inspection.kind === "binary" ? inspection.contents : undefined;
    if (pointer === undefined) return undefined;
    const known = this.#lists.get(`${schema}/${record}`);
    if (known !== undefined) return known.byteLength === 0 ? undefined : known;
    const list = await this.#fetch(pointer, path, signal);
    if (list === undefined) await this.markInvalid(record);
    else await this.put(record, list);
    return list;
  }

  /** Whether two lists name other files; also where one of them is no list. */
  async differ(one: Uint8Array, other: Uint8Array): Promise<boolean> {
    const options = { maxOutputLength: this.#options.limits.maxFileListBytes };
    const plain = (list: Uint8Array) => promisify(gunzip)(list, options).catch(() => undefined);
    const [left, right] = [await plain(one), await plain(other)];
    return left === undefined || right === undefined || !left.equals(right);
  }

  async #fetch(pointer: string, path: TreePath, signal: AbortSignal): Promise<Uint8Array | undefined> {
    try {
      // What is no immutable file's name is nothing to any tree.
      const content = this.#options.tree.open({ path, content: new ContentId(pointer) }, undefined, signal);
      const bytes = await readAtMost(content, this.#options.limits.maxFileListBytes);
      return bytes?.byteLength === 0 ? undefined : bytes;
    } catch (thrown) {
      if (thrown instanceof ContentGone) return undefined;
      throw thrown;
    }
  }
}

/** Lists are kept apart: whoever holds an inspection must not hold its list too. */
export function withoutFileList(inspection: Inspection): Inspection {
  if (inspection.kind !== "binary") return inspection;
  const { fileList: _apart, ...rest } = inspection;
  return rest;
}
