// Hard links to what was read of a folder, so that its bytes outlive their names there, as they do in Tahoe.
import type { BigIntStats } from "node:fs";
import { constants, promises as fs, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { ContentId } from "../../base/content-id.ts";
import * as descriptors from "./descriptors.ts";

/** A file that is open for reading; who has it closes the descriptor. */
export interface OpenedFile {
  readonly descriptor: number;
  readonly sizeBytes: number;
}

/**
 * A directory of hard links by the key of their content. Where the file system or its rules allow none (another file
 * system, somebody else's file), nothing is kept, and what is unlinked is gone.
 */
export class HardLinks {
  readonly #directory: string;

  /** @param directory the server's own, made if it is not there; on the folder's file system */
  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  /**
   * @param path where the file truly lies, without links
   * @param isExpected tells the wanted file from one that has taken its place meanwhile
   */
  async add(content: ContentId, path: string, isExpected: (stat: BigIntStats) => boolean): Promise<void> {
    const target = this.pathOf(content);
    const linked = await fs.link(path, target).then(
      () => true,
      () => false,
    );
    if (linked && !isExpected(await descriptors.lstatOf(target))) await fs.rm(target, { force: true });
  }

  /** @returns undefined if these bytes were not kept or are no more what they were */
  async open(content: ContentId, isExpected: (stat: BigIntStats) => boolean): Promise<OpenedFile | undefined> {
    const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
    const descriptor = await descriptors.open(this.pathOf(content), flags).catch(() => undefined);
    if (descriptor === undefined) return undefined;
    const stat = await descriptors.statOf(descriptor);
    if (isExpected(stat)) return { descriptor, sizeBytes: Number(stat.size) };
    await descriptors.close(descriptor);
    return undefined;
  }

  /** Drops every other link. */
  async keepOnly(keys: ReadonlySet<string>): Promise<void> {
    for await (const { name } of await fs.opendir(this.#directory)) {
      if (keys.has(name)) continue;
      await fs.rm(join(this.#directory, name), { force: true });
    }
  }

  /** Where its link is or would be. */
  pathOf({ key }: ContentId): string {
    return join(this.#directory, key);
  }
}
