// How far decompressing goes.
import { limitFlaw } from "./malformed.ts";

export interface DecompressionLimits {
  /** How much may come out, in bytes. */
  readonly maxDecompressedBytes: number;
  /** How much memory a decoder may take, in bytes: xz -9 and zstd --ultra need 65 and 128 MiB. */
  readonly maxDecoderBytes: number;
}

/** What a package's members may become when they are decompressed. */
export interface MemberLimits extends DecompressionLimits {
  /** How many times as long as it is a member may become, once it is longer than `anyRatioBytes`. */
  readonly maxDataRatio: number;
  /** So many bytes may come out of however few. */
  readonly anyRatioBytes: number;
}

/** The limits of one decompression, and what is said where too much comes out. */
export interface OutputLimits extends DecompressionLimits {
  /** The limit that decided `maxDecompressedBytes`; undefined: it is the configured one itself. */
  readonly decidedBy?: { readonly limit: string; readonly allowed: number };
  /** How many times as much as went in may have come out at any moment, beyond `aheadBytes`; undefined: anything. */
  readonly ratio?: number;
}

/**
 * A member that comes in pieces may be shorter than its header says. Then this much may come out of it before what went in
 * counts, so that a package may begin with a long run of zeros: Debian's qemu-efi-aarch64 does.
 */
const aheadBytes = 64 * 2 ** 20;

/**
 * The limits on what one member becomes.
 * @param sizeBytes the member's size as its header says
 * @param absolute the limit that holds however long the member is: its name and value
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

/** How much may have come out once so much went in, in bytes. */
export const allowedOf = ({ maxDecompressedBytes, ratio }: OutputLimits, bytesIn: number): number =>
  ratio === undefined ? maxDecompressedBytes : Math.min(maxDecompressedBytes, Math.max(aheadBytes, ratio * bytesIn));

/**
 * What is thrown when more comes out than may.
 * @param bytesIn how much went in, where that counts
 */
export function tooMuch(limits: OutputLimits, bytesIn = Number.POSITIVE_INFINITY): Error {
  const { maxDecompressedBytes, decidedBy, ratio } = limits;
  const isByRatio = allowedOf(limits, bytesIn) < maxDecompressedBytes;
  const ofWhole = decidedBy ?? { limit: "maxDecompressedBytes", allowed: maxDecompressedBytes };
  const { limit, allowed } = isByRatio && ratio !== undefined ? { limit: "maxDataRatio", allowed: ratio } : ofWhole;
  return limitFlaw(limit, allowed, "what a member decompresses to");
}
