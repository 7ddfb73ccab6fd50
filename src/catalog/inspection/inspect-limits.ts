// How much of a package an inspection is willing to read and to hold.
import type { DebLimits } from "../../debian/deb.ts";
import type { DscLimits } from "../../debian/dsc.ts";

/** Every limit of an inspection. Configurable. */
export interface InspectLimits extends DebLimits, DscLimits {
  /** Of a whole file: while one is read, others wait. */
  readonly maxFileBytes: number;
}

const kibibyte = 2 ** 10;
const mebibyte = 2 ** 20;
const gibibyte = 2 ** 30;

/** Far above what Debian's own archive needs, far below what would hurt. */
export const defaultInspectLimits: InspectLimits = {
  maxFileBytes: 8 * gibibyte,
  maxArMembers: 16,
  maxControlEntries: 1000,
  maxDecompressedBytes: 64 * mebibyte,
  maxDataEntries: 1_000_000,
  maxDataBytes: 64 * gibibyte,
  // In Debian 12 the largest is 228 (atlc-examples); beyond 1 GiB it is 62 (piglit).
  maxDataRatio: 256,
  anyRatioBytes: 16 * mebibyte,
  maxFileListBytes: 32 * mebibyte,
  maxFileListEntries: 500_000,
  maxDecoderBytes: 128 * mebibyte,
  // The longest of Debian 12 has 76 kB in Packages, and 398 kB (linux) in Sources.
  maxStanzaBytes: 256 * kibibyte,
  maxSourceStanzaBytes: 768 * kibibyte,
  // At most 29 in Debian 12.
  maxFields: 200,
  maxFieldNameBytes: kibibyte,
  maxDscBytes: 4 * mebibyte,
  maxSourceParts: 1000,
};
