// Limits on the sizes and counts that an inspection accepts.
import type { DebLimits } from "../../debian/deb.ts";
import type { DscLimits } from "../../debian/dsc.ts";

/** Every limit of an inspection. Each has a configuration key of the same name. */
export interface InspectLimits extends DebLimits, DscLimits {
  /** The size of a file, because others wait while it is read. */
  readonly maxFileBytes: number;
}

const kibibyte = 2 ** 10;
const mebibyte = 2 ** 20;
const gibibyte = 2 ** 30;

/** Far above the largest values in Debian's own archive, and low enough to keep the server responsive. */
export const defaultInspectLimits: InspectLimits = {
  maxFileBytes: 8 * gibibyte,
  maxArMembers: 16,
  maxControlEntries: 1000,
  maxDecompressedBytes: 64 * mebibyte,
  maxDataEntries: 1_000_000,
  maxDataBytes: 64 * gibibyte,
  // The highest ratio in Debian 12 is 228 (atlc-examples); for data above 1 GiB it is 62 (piglit).
  maxDataRatio: 256,
  anyRatioBytes: 16 * mebibyte,
  maxFileListBytes: 32 * mebibyte,
  maxFileListEntries: 500_000,
  maxDecoderBytes: 128 * mebibyte,
  // The longest stanzas in Debian 12 have 76 kB in Packages, and 398 kB (linux) in Sources.
  maxStanzaBytes: 256 * kibibyte,
  maxSourceStanzaBytes: 768 * kibibyte,
  // The maximum in Debian 12 is 29.
  maxFields: 200,
  maxFieldNameBytes: kibibyte,
  maxDscBytes: 4 * mebibyte,
  maxSourceParts: 1000,
};
