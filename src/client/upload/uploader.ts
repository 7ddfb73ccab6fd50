// Uploads files through the gateways, and links all files of a directory in one write.
import { createReadStream } from "node:fs";
import type { ContentId } from "../../base/content-id.ts";
import { RepoError } from "../../base/errors.ts";
import { forEachConcurrent } from "../../base/for-each-concurrent.ts";
import { defaultInspectLimits } from "../../catalog/inspection/inspect-limits.ts";
import type { EntryMetadata } from "../../catalog/metadata/entry-metadata.ts";
import { entryMetadataOf, metadataKey, parseEntryMetadata } from "../../catalog/metadata/entry-metadata.ts";
import { RunningDigests } from "../../debian/digests.ts";
import type { Link } from "../../storage/tahoe/webapi-writer.ts";
import type { Entry } from "../../storage/tree.ts";
import type { WriteGateways } from "../write-gateways.ts";
import type { DirectoryUpload } from "./assign-directories.ts";
import { nameTakenProblem } from "./assign-directories.ts";
import type { LinkChange } from "./link-with-recheck.ts";
import type { LocalFile, Problem } from "./local-files.ts";

/** A file was modified between its check and its upload. */
class FileChanged extends RepoError {
  readonly code = "builder/file-changed";
}

/** The new link of each file that is not yet in its directory. */
export type Links = ReadonlyMap<LocalFile, Link>;

const concurrentUploads = 4;

export class Uploader {
  readonly #gateways: WriteGateways;
  readonly #signal: AbortSignal;
  /** Called with the number of newly uploaded bytes (negative if an upload starts again) and the total. */
  readonly #uploaded: (bytes: number, totalBytes: number) => void;

  constructor(gateways: WriteGateways, uploaded: (bytes: number, totalBytes: number) => void, signal: AbortSignal) {
    this.#gateways = gateways;
    this.#uploaded = uploaded;
    this.#signal = signal;
  }

  /** Uploads the files that are not in their directories yet. @throws StorageUnavailable, FileChanged */
  async upload(uploads: readonly DirectoryUpload[]): Promise<Links> {
    const missing = uploads.flatMap(({ files, entries }) =>
      files.filter((file) => !isLinked(entries.get(file.name), file)),
    );
    const totalBytes = missing.reduce((total, { inspection }) => total + inspection.sizeBytes, 0);
    const links = new Map<LocalFile, Link>();
    await forEachConcurrent(missing, concurrentUploads, async (file) => {
      const { inspection } = file;
      const list = inspection.kind === "binary" ? inspection.fileList : undefined;
      const contents =
        list && (await this.#gateways.retry((writer) => writer.contentOf(list, this.#signal), this.#signal));
      const content = await this.#uploadFile(file, totalBytes);
      const metadata = entryMetadataOf(inspection);
      links.set(file, { content, metadata: contents ? { ...metadata, contents: contents.reveal() } : metadata });
    });
    return links;
  }

  async #uploadFile({ path, inspection }: LocalFile, totalBytes: number): Promise<ContentId> {
    let reported = 0;
    const report = this.#uploaded;
    return await this.#gateways.retry(async (writer) => {
      report(-reported, totalBytes);
      reported = 0;
      const running = new RunningDigests([]);
      async function* content(): AsyncGenerator<Uint8Array> {
        const chunks: AsyncIterable<Uint8Array> = createReadStream(path);
        for await (const chunk of chunks) {
          running.update(chunk);
          yield chunk;
          reported += chunk.byteLength;
          report(chunk.byteLength, totalBytes);
        }
      }
      const uploaded = await writer.upload(content(), this.#signal);
      if (running.finish().digests.sha256 !== inspection.digests.sha256) {
        throw new FileChanged(`${path} was modified while it was uploaded`);
      }
      return uploaded;
    }, this.#signal);
  }

  /**
   * Sets all missing links of a directory in one write; writes nothing if none is missing.
   * @param alsoLinked links that the same write sets, by name
   */
  async link(
    { directory, files }: Pick<DirectoryUpload, "directory" | "files">,
    links: Links,
    alsoLinked: ReadonlyMap<string, Link> = new Map(),
  ): Promise<LinkChange> {
    return await this.#gateways.retry(async (writer) => {
      const entries = await writer.list(directory.cap, this.#signal);
      const missing = new Map<string, Link>();
      for (const [name, link] of alsoLinked) {
        const entry = entries.get(name);
        if (entry?.kind !== "file" || entry.content?.key !== link.content.key) missing.set(name, link);
      }
      for (const file of files) {
        const link = links.get(file);
        if (link !== undefined && !isLinked(entries.get(file.name), file)) missing.set(file.name, link);
      }
      if (missing.size > 0) await writer.link(directory.cap, missing, this.#signal);
      return { before: entries, after: new Set([...entries.keys(), ...missing.keys()]) };
    }, this.#signal);
  }
}

/** Finds entries without metadata, under names to be linked, that have different bytes than the uploaded files. */
export function findConflicts({ files, entries, directory }: DirectoryUpload, links: Links): readonly Problem[] {
  return files.flatMap((file) => {
    const [entry, link] = [entries.get(file.name), links.get(file)];
    if (entry?.kind !== "file" || link === undefined || entry.content?.key === link.content.key) return [];
    const metadata = parseEntryMetadata(entry.metadata, defaultInspectLimits);
    return metadata?.sha256 === file.inspection.digests.sha256 ? [] : [nameTakenProblem(directory, file)];
  });
}

/** Whether an entry has the same metadata as this file, apart from the content id of the list of its files. */
function isLinked(entry: Entry | undefined, { inspection }: LocalFile): boolean {
  if (entry?.kind !== "file" || entry.content === undefined) return false;
  const metadata = parseEntryMetadata(entry.metadata, defaultInspectLimits);
  return metadata !== undefined && keyWithoutContents(metadata) === keyWithoutContents(entryMetadataOf(inspection));
}

function keyWithoutContents(metadata: EntryMetadata): string {
  const { contents: _, ...rest } = metadata;
  return metadataKey(rest);
}
