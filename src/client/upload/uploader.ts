// The bytes of an upload, and the one write in which a directory comes to hold them.
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
import type { Parcel } from "./assign-directories.ts";
import { otherBytes } from "./assign-directories.ts";
import type { Linked } from "./link-with-recheck.ts";
import type { LocalFile, Problem } from "./local-files.ts";

/** A file was written to between its check and its upload. */
class FileChanged extends RepoError {
  readonly code = "builder/file-changed";
}

/** The link that a file is to have, for each that does not stand in its directory yet. */
export type Links = ReadonlyMap<LocalFile, Link>;

const concurrentUploads = 4;

export class Uploader {
  readonly #gateways: WriteGateways;
  readonly #signal: AbortSignal;
  /** Told of so many bytes more, of so many in all; of fewer than none where an upload begins again. */
  readonly #uploaded: (bytes: number, totalBytes: number) => void;

  constructor(gateways: WriteGateways, uploaded: (bytes: number, totalBytes: number) => void, signal: AbortSignal) {
    this.#gateways = gateways;
    this.#uploaded = uploaded;
    this.#signal = signal;
  }

  /** Uploads what is not in its directory yet. @throws StorageUnavailable, FileChanged */
  async upload(parcels: readonly Parcel[]): Promise<Links> {
    const missing = parcels.flatMap(({ files, entries }) =>
      files.filter((file) => !stands(entries.get(file.name), file)),
    );
    const totalBytes = missing.reduce((total, { inspection }) => total + inspection.sizeBytes, 0);
    const links = new Map<LocalFile, Link>();
    await forEachConcurrent(missing, concurrentUploads, async (file) => {
      const { inspection } = file;
      const list = inspection.kind === "binary" ? inspection.fileList : undefined;
      const contents =
        list && (await this.#gateways.change((writer) => writer.upload(list, this.#signal), this.#signal));
      const content = await this.#uploadFile(file, totalBytes);
      const metadata = entryMetadataOf(inspection);
      links.set(file, { content, metadata: contents ? { ...metadata, contents: contents.reveal() } : metadata });
    });
    return links;
  }

  async #uploadFile({ path, inspection }: LocalFile, totalBytes: number): Promise<ContentId> {
    let counted = 0;
    const told = this.#uploaded;
    return await this.#gateways.change(async (writer) => {
      told(-counted, totalBytes);
      counted = 0;
      const running = new RunningDigests([]);
      async function* content(): AsyncGenerator<Uint8Array> {
        const chunks: AsyncIterable<Uint8Array> = createReadStream(path);
        for await (const chunk of chunks) {
          running.update(chunk);
          yield chunk;
          counted += chunk.byteLength;
          told(chunk.byteLength, totalBytes);
        }
      }
      const uploaded = await writer.upload(content(), this.#signal);
      if (running.finish().digests.sha256 !== inspection.digests.sha256) {
        throw new FileChanged(`${path} was written to while it was uploaded`);
      }
      return uploaded;
    }, this.#signal);
  }

  /** All of a directory's links in one write, and none where all stand. */
  async link({ directory, files }: Parcel, links: Links): Promise<Linked> {
    return await this.#gateways.change(async (writer) => {
      const entries = await writer.list(directory.cap, this.#signal);
      const missing = new Map<string, Link>();
      for (const file of files) {
        const link = links.get(file);
        if (link !== undefined && !stands(entries.get(file.name), file)) missing.set(file.name, link);
      }
      if (missing.size > 0) await writer.link(directory.cap, missing, this.#signal);
      return { found: entries, left: new Set([...entries.keys(), ...missing.keys()]) };
    }, this.#signal);
  }
}

/** What stood under a name without a word on its bytes, and turned out to hold others than were uploaded for it. */
export function differing({ files, entries, directory }: Parcel, links: Links): readonly Problem[] {
  return files.flatMap((file) => {
    const [entry, link] = [entries.get(file.name), links.get(file)];
    if (entry?.kind !== "file" || link === undefined || entry.content?.key === link.content.key) return [];
    const said = parseEntryMetadata(entry.metadata, defaultInspectLimits);
    return said?.sha256 === file.inspection.digests.sha256 ? [] : [otherBytes(directory, file)];
  });
}

/** Whether an entry is this file, with all that is to be said of it: but for the pointer to the list of its files. */
function stands(entry: Entry | undefined, { inspection }: LocalFile): boolean {
  if (entry?.kind !== "file" || entry.content === undefined) return false;
  const said = parseEntryMetadata(entry.metadata, defaultInspectLimits);
  return said !== undefined && wordsOf(said) === wordsOf(entryMetadataOf(inspection));
}

function wordsOf(metadata: EntryMetadata): string {
  const { contents: _, ...rest } = metadata;
  return metadataKey(rest);
}
