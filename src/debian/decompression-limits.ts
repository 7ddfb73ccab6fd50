// Limits of decompression.
import { limitFlaw } from "./malformed.ts";

export interface DecompressionLimits {
  /** The largest decompressed size, in bytes. */
  readonly maxDecompressedBytes: number;
  /** How much memory a decoder may use, in bytes: xz -9 needs 65 MiB, and zstd --ultra 128 MiB. */
  readonly maxDecoderBytes: number;
}

/** The limits for the members of a package. */
export interface MemberLimits extends DecompressionLimits {
  /** The largest ratio of decompressed to compressed size, beyond `anyRatioBytes`. */
  readonly maxDataRatio: number;
  /** Up to this decompressed size, in bytes, any ratio is allowed. */
  readonly anyRatioBytes: number;
}

/** The limits of one decompression, and the setting that an error names. */
export interface OutputLimits extends DecompressionLimits {
  /** The setting that `maxDecompressedBytes` comes from; undefined: the setting of that name. */
  readonly decidedBy?: { readonly limit: string; readonly allowed: number };
  /** The largest ratio of output to input at any moment, beyond `aheadBytes`; undefined: any. */
  readonly ratio?: number;
}

/**
 * A member that arrives in pieces may be shorter than its header says, so the ratio applies to the bytes that have
 * arrived. Up to this output size the ratio is ignored, because a package may begin with a long run of zeros:
 * qemu-efi-aarch64 in Debian does.
 */
const aheadBytes = 64 * 2 ** 20;

/**
 * The limits for one member.
 * @param sizeBytes the size of the member in its header
 * @param absolute the limit that does not depend on the size of the member: its name and value
 */
export function outputLimitsOf(
  sizeBytes: number,
  limits: MemberLimits,
  absolute: { readonly limit: string; readonly allowed: number },
): OutputLimits {
  const { maxDecoderBytes, maxDataRatio, anyRatioBytes } = limits;
  const byRatio = Math.max(anyRatioBytes, sizeBytes * maxDataRatio);
  const isByRatio = byRatio < absolute.allowed;
  return {
    maxDecoderBytes,
    maxDecompressedBytes: isByRatio ? byRatio : absolute.allowed,
    decidedBy: isByRatio ? { limit: "maxDataRatio", allowed: maxDataRatio } : absolute,
    ratio: maxDataRatio,
  };
}

/** The allowed output after so much input, in bytes. */
export const allowedOf = ({ maxDecompressedBytes, ratio }: OutputLimits, bytesIn: number): number =>
  ratio === undefined ? maxDecompressedBytes : Math.min(maxDecompressedBytes, Math.max(aheadBytes, ratio * bytesIn));

/**
 * The error for too much output.
 * @param bytesIn how much input has arrived, if the ratio applies
 */
export function tooMuch(limits: OutputLimits, bytesIn = Number.POSITIVE_INFINITY): Error {
  const { maxDecompressedBytes, decidedBy, ratio } = limits;
  const isByRatio = allowedOf(limits, bytesIn) < maxDecompressedBytes;
  const ofWhole = decidedBy ?? { limit: "maxDecompressedBytes", allowed: maxDecompressedBytes };
  const { limit, allowed } = isByRatio && ratio !== undefined ? { limit: "maxDataRatio", allowed: ratio } : ofWhole;
  return limitFlaw(limit, allowed, "the decompressed size of a member");
}
