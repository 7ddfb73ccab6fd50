// How far decompressing goes.

export interface DecompressionLimits {
  /** How much may come out, in bytes. */
  readonly maxDecompressedBytes: number;
  /** How much memory a decoder may take, in bytes: xz -9 and zstd --ultra need 65 and 128 MiB. */
  readonly maxDecoderBytes: number;
}
