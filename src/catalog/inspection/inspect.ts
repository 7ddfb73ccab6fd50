// Inspects one file: reads it once and tells what an index needs to know of it.

import { isBinaryPackageName } from "../../base/names.ts";
import type { Content } from "../../debian/byte-reader.ts";
import { atMost, ByteReader } from "../../debian/byte-reader.ts";
import { readDeb } from "../../debian/deb.ts";
import type { DigestAlgorithm } from "../../debian/digests.ts";
import { digesting, RunningDigests } from "../../debian/digests.ts";
import { readDsc } from "../../debian/dsc.ts";
import { beyondLimit, Malformed } from "../../debian/malformed.ts";
import type { InspectLimits } from "./inspect-limits.ts";
import type { Inspection, PackageKind, SoundInspection } from "./inspection.ts";
import { checkStanzaBytes } from "./stanza-bytes.ts";

export interface InspectOptions {
  readonly limits: InspectLimits;
  /** The digests wanted; SHA256 is always made. */
  readonly algorithms: readonly DigestAlgorithm[];
  /** Whether the files of binary packages are listed, which takes decompressing all of each. */
  readonly fileLists?: boolean;
}

/** The kind that a file's name announces. No name announces a part: the .dsc beside it does. */
export function packageKindOf(name: string): PackageKind | undefined {
  if (isBinaryPackageName(name)) return "binary";
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
    const { maxFileBytes } = options.limits;
    const tooLarge = () => beyondLimit("maxFileBytes", maxFileBytes, "the size of the file");
    const inspection = await inspectAs(kind, atMost(content, maxFileBytes, tooLarge), options);
    checkStanzaBytes(inspection, options.limits);
    return inspection;
  } catch (thrown) {
    if (thrown instanceof Malformed) return { kind: "rejected", code: thrown.flaw, text: thrown.message };
    throw thrown;
  }
}

async function inspectAs(kind: PackageKind, content: Content, options: InspectOptions): Promise<SoundInspection> {
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
