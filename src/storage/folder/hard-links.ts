// Hard links to files of a folder that were read, so that they can be opened after they are deleted, as in Tahoe.
import type { BigIntStats } from "node:fs";
import { constants, promises as fs, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { ContentId } from "../../base/content-id.ts";
import * as descriptors from "./descriptors.ts";

/** A file that is open for reading; the receiver must close the descriptor. */
export interface OpenedFile {
  readonly descriptor: number;
  readonly sizeBytes: number;
}

/**
 * A directory of hard links, named by the keys of their contents. If a link cannot be created (on another file system,
 * or for files of other users), the content is gone after the file is deleted.
 */
export class HardLinks {
  readonly #directory: string;

  /** @param directory used by this server only, on the file system of the folder; created if it is missing */
  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  /**
   * Creates the hard link of a content.
   * @param path the real path of the file
   * @param isExpected distinguishes the file from another one that has replaced it
   */
  async add(content: ContentId, path: string, isExpected: (stat: BigIntStats) => boolean): Promise<void> {
    const target = this.pathOf(content);
    const linked = await fs.link(path, target).then(
      () => true,
      () => false,
    );
    if (linked && !isExpected(await descriptors.lstatOf(target))) await fs.rm(target, { force: true });
  }

  /** Opens a content by its hard link. @returns undefined if there is none, or its file has changed */
  async open(content: ContentId, isExpected: (stat: BigIntStats) => boolean): Promise<OpenedFile | undefined> {
    const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
    const descriptor = await descriptors.open(this.pathOf(content), flags).catch(() => undefined);
    if (descriptor === undefined) return undefined;
    const stat = await descriptors.statOf(descriptor);
    if (isExpected(stat)) return { descriptor, sizeBytes: Number(stat.size) };
    await descriptors.close(descriptor);
    return undefined;
  }

  /** Removes all links except for these contents. */
  async keepOnly(keys: ReadonlySet<string>): Promise<void> {
    for await (const { name } of await fs.opendir(this.#directory)) {
      if (keys.has(name)) continue;
      await fs.rm(join(this.#directory, name), { force: true });
    }
  }

  /** The path of a content's hard link, which may not exist. */
  pathOf({ key }: ContentId): string {
    return join(this.#directory, key);
  }
}
