// Inspects one file: reads it once and tells what an index needs to know of it.

import type { Content } from "../debian/byte-reader.ts";
import { ByteReader } from "../debian/byte-reader.ts";
import { readDeb } from "../debian/deb.ts";
import type { DigestAlgorithm } from "../debian/digests.ts";
import { digesting, RunningDigests } from "../debian/digests.ts";
import { readDsc } from "../debian/dsc.ts";
import { beyondLimit, Malformed } from "../debian/malformed.ts";
import type { InspectLimits } from "./inspect-limits.ts";
import type { Inspection, PackageKind } from "./inspection.ts";

export interface InspectOptions {
  readonly limits: InspectLimits;
  /** The digests wanted; SHA256 is always made. */
  readonly algorithms: readonly DigestAlgorithm[];
  /** Whether the files of binary packages are listed, which takes decompressing all of each. */
  readonly fileLists?: boolean;
}

/** The kind that a file's name announces. No name announces a part: the .dsc beside it does. */
export function packageKindOf(name: string): PackageKind | undefined {
  if (/\.u?deb$/.test(name)) return "binary";
  if (name.endsWith(".dsc")) return "source";
  return undefined;
}

/**
 * Reads the content to its end, once; after a flaw no further.
 * @returns a rejection for a bad package: that is a result, not an error
 * @throws what `content` throws, untouched
 */
export async function inspectContent(
  kind: PackageKind,
  content: Content,
  options: InspectOptions,
): Promise<Inspection> {
  try {
    return await inspectAs(kind, atMost(content, options.limits.maxFileBytes), options);
  } catch (thrown) {
    if (thrown instanceof Malformed) return { kind: "rejected", code: thrown.flaw, text: thrown.message };
    throw thrown;
  }
}

function atMost(content: Content, maxFileBytes: number): Content {
  if (!(content instanceof Uint8Array)) return chunksAtMost(content, maxFileBytes);
  if (content.byteLength > maxFileBytes) throw tooLarge(maxFileBytes);
  return content;
}

async function* chunksAtMost(content: AsyncIterable<Uint8Array>, maxFileBytes: number): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of content) {
    bytes += chunk.byteLength;
    if (bytes > maxFileBytes) throw tooLarge(maxFileBytes);
    yield chunk;
  }
}

const tooLarge = (maxFileBytes: number) => beyondLimit("maxFileBytes", maxFileBytes, "the size of the file");

async function inspectAs(kind: PackageKind, content: Content, options: InspectOptions): Promise<Inspection> {
  const { limits, algorithms } = options;
  switch (kind) {
    case "binary":
      return { kind, ...(await readDeb(content, options)) };
    case "source": {
      const { stanza, ...measured } = await readDsc(content, limits, algorithms);
      return { kind, dsc: stanza, ...measured };
    }
    case "part": {
      const running = new RunningDigests(algorithms);
      await new ByteReader(digesting(content, running)).drain();
      return { kind, ...running.finish() };
    }
    default:
      return kind satisfies never;
  }
}
