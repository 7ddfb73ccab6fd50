// Inspects one file in a single pass over its bytes.

import { isBinaryPackageName } from "../../base/names.ts";
import type { Content } from "../../debian/byte-reader.ts";
import { atMost, ByteReader } from "../../debian/byte-reader.ts";
import { readDeb } from "../../debian/deb.ts";
import type { DigestAlgorithm } from "../../debian/digests.ts";
import { digesting, RunningDigests } from "../../debian/digests.ts";
import { readDsc } from "../../debian/dsc.ts";
import { limitFlaw, Malformed } from "../../debian/malformed.ts";
import type { InspectLimits } from "./inspect-limits.ts";
import type { Inspection, PackageKind, SoundInspection } from "./inspection.ts";
import { checkStanzaBytes } from "./stanza-bytes.ts";

/** Options of all inspections of a repository. */
export interface InspectOptions {
  readonly limits: InspectLimits;
  /** The digests to compute; SHA256 is always included. */
  readonly algorithms: readonly DigestAlgorithm[];
  /** Whether to list the files of binary packages, which requires decompressing all data. */
  readonly fileLists?: boolean;
}

/** The kind that a file name announces; undefined for others, including parts, which only a .dsc identifies. */
export function packageKindOf(name: string): PackageKind | undefined {
  if (isBinaryPackageName(name)) return "binary";
  if (name.endsWith(".dsc")) return "source";
  return undefined;
}

/**
 * Inspects a content. It is read once, to its end or to the first flaw.
 * @returns a rejection for a bad package, which is a result and not an error
 * @throws errors of `content`, unchanged
 */
export async function inspectContent(
  kind: PackageKind,
  content: Content,
  options: InspectOptions,
): Promise<Inspection> {
  try {
    const { maxFileBytes } = options.limits;
    const tooLarge = () => limitFlaw("maxFileBytes", maxFileBytes, "the size of the file");
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
