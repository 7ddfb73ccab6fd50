// Decompresses the formats that packages use. Truncated and corrupt input is always an error.
import { constants } from "node:buffer";
import { spawn } from "node:child_process";
import type { Duplex } from "node:stream";
import { isMainThread } from "node:worker_threads";
import { createGunzip, gunzipSync } from "node:zlib";
import type { Content } from "./byte-reader.ts";
import { atMost, ByteReader, chunksOf } from "./byte-reader.ts";
import type { DecompressionLimits, OutputLimits } from "./decompression-limits.ts";
import { allowedOf, tooMuch } from "./decompression-limits.ts";
import { firstBzip2Stream, firstZstdFrame, inSlices } from "./first-stream.ts";
import { limitFlaw, Malformed } from "./malformed.ts";
import type { Transforming } from "./through.ts";
import { through } from "./through.ts";
import { decompressWhole } from "./xz-whole.ts";

/** Named after the suffixes of files. */
export type Compression = "none" | "gz" | "xz" | "zst" | "bz2" | "lzma";

/**
 * The program whose rules apply to bytes after the first compressed stream. apt reads all streams of an index. dpkg
 * reads only the first stream of a member (except for gzip) and ignores a few bytes after it.
 */
export type Reader = "apt" | "dpkg";

/**
 * How many bytes after the first stream of a member are ignored. dpkg accepts these in every format. From 64 KiB, which
 * a pipe no longer holds, it refuses the package sometimes, and from 128 KiB always.
 */
const maxTrailingBytes = 48 * 1024;

/**
 * xz is decoded in slices of this many bytes, because the decoder outputs a whole slice at once, up to 7,000 times its
 * size. In the main thread, requests wait meanwhile.
 */
const xzSliceBytes = isMainThread ? 1024 : 4096;
const bytesPerMebibyte = 2 ** 20;

/**
 * @returns the plain bytes, with back-pressure, never more than the limits allow
 * @throws Malformed, at once or while iterating: `bad-compression`, `unsupported-compression` or `limit`; errors of
 *   `content` pass through
 */
export function decompress(
  compression: Compression,
  content: AsyncIterable<Uint8Array>,
  limits: OutputLimits,
  reader?: Reader,
): AsyncIterable<Uint8Array>;
export function decompress(compression: Compression, content: Content, limits: OutputLimits, reader?: Reader): Content;
export function decompress(
  compression: Compression,
  content: Content,
  limits: OutputLimits,
  reader: Reader = "apt",
): Content {
  if (content instanceof Uint8Array) {
    return atMost(decoded(compression, content, limits, reader), limits.maxDecompressedBytes, () => tooMuch(limits));
  }
  // A stream may be shorter than its header says, so the ratio is checked against the bytes that really arrived.
  const fed = { bytes: 0 };
  const plain = decoded(compression, counted(content, fed), limits, reader);
  return atMost(
    plain,
    () => allowedOf(limits, fed.bytes),
    () => tooMuch(limits, fed.bytes),
  );
}

async function* counted(content: AsyncIterable<Uint8Array>, fed: { bytes: number }): AsyncGenerator<Uint8Array> {
  for await (const chunk of content) {
    fed.bytes += chunk.byteLength;
    yield chunk;
  }
}

function decoded(compression: Compression, content: Content, limits: OutputLimits, reader: Reader): Content {
  switch (compression) {
    case "none":
      return content;
    case "gz":
      return isSmallGzip(content) ? gunzipWhole(content, limits) : gunzip(content, limits, reader);
    case "xz":
      return isMainThread ? lzma(chunksOf(content), "streamDecoder", limits, reader) : xz(content, limits, reader);
    case "lzma":
      return lzma(chunksOf(content), "aloneDecoder", limits, reader);
    // A process, because zstd in Node.js (tested with 22.23) accepts a truncated frame.
    case "zst": {
      const command = { command: "zstd", args: ["-dcq", memory(limits)], debianPackage: "zstd" };
      const frames = chunksOf(content);
      return throughCommand(reader === "apt" ? frames : firstZstdFrame(frames, maxTrailingBytes), command);
    }
    // A process, because the decoders in JavaScript output whole blocks without back-pressure.
    case "bz2": {
      const command = { command: "bzip2", args: ["-dc"], debianPackage: "bzip2", maxTrailingBytes };
      const streams = chunksOf(content);
      return throughCommand(reader === "apt" ? streams : firstBzip2Stream(streams, maxTrailingBytes), command);
    }
    default:
      return compression satisfies never;
  }
}

/** A member up to this size, in bytes, is decompressed in one call: to set up a stream would take ten times as long. */
const smallGzipBytes = 2 ** 16;

const isSmallGzip = (content: Content): content is Uint8Array =>
  content instanceof Uint8Array && content.byteLength < smallGzipBytes;

async function* gunzip(content: Content, limits: OutputLimits, reader: Reader): AsyncGenerator<Uint8Array> {
  const bytes = new ByteReader(content);
  // Node.js accepts only NULs after the last gzip member.
  const most = reader === "dpkg" ? maxTrailingBytes : Number.POSITIVE_INFINITY;
  try {
    const start = await bytes.read(smallGzipBytes);
    if (isSmallGzip(start)) yield gunzipWhole(start, limits);
    else yield* through(startingWith(start, bytes), bothEnds(createGunzip()), corrupt("gzip"), most);
  } finally {
    await bytes.close();
  }
}

function gunzipWhole(bytes: Uint8Array, limits: OutputLimits): Uint8Array {
  try {
    return gunzipSync(bytes, { maxOutputLength: Math.min(limits.maxDecompressedBytes, constants.MAX_LENGTH) });
  } catch (thrown) {
    if (thrown instanceof RangeError) throw tooMuch(limits);
    throw corrupt("gzip")(thrown);
  }
}

async function* startingWith(start: Uint8Array, rest: ByteReader): AsyncGenerator<Uint8Array> {
  let chunk: Uint8Array | undefined = start;
  while (chunk !== undefined) {
    yield chunk;
    chunk = await rest.some(Number.POSITIVE_INFINITY);
  }
}

const corrupt = (format: string) => (thrown: unknown) =>
  new Malformed("bad-compression", `its ${format} data are truncated or corrupt`, { cause: thrown });

/** A member up to this size, in bytes, is read into memory before it is decompressed. */
const maxWholeXzBytes = 8 * 2 ** 20;

async function* xz(content: Content, limits: OutputLimits, reader: Reader): AsyncGenerator<Uint8Array> {
  const bytes = new ByteReader(content);
  try {
    const start = await bytes.read(maxWholeXzBytes);
    const pieces = start.byteLength < maxWholeXzBytes ? await decompressWhole(start, limits) : undefined;
    if (pieces === undefined) yield* lzma(startingWith(start, bytes), "streamDecoder", limits, reader);
    else yield* explained(pieces, corrupt("xz"));
  } finally {
    await bytes.close();
  }
}

function* explained(pieces: Iterable<Uint8Array>, explain: (thrown: unknown) => Error): Generator<Uint8Array> {
  try {
    yield* pieces;
  } catch (thrown) {
    throw explain(thrown);
  }
}

async function* lzma(
  content: AsyncIterable<Uint8Array>,
  decoder: "streamDecoder" | "aloneDecoder",
  { maxDecoderBytes }: DecompressionLimits,
  reader: Reader,
): AsyncGenerator<Uint8Array> {
  // Loaded on first use: loading takes longer than a hundred packages.
  const { default: library } = await import("lzma-native");
  // Synchronous in a worker: it costs less, and a worker that ends leaves no decoder behind. The main thread must
  // answer requests meanwhile.
  const options = { memlimit: Math.max(maxDecoderBytes, bytesPerMebibyte), synchronous: !isMainThread };
  const stream = library.createStream(decoder, options);
  if (reader === "dpkg") endWithFirstStream(stream);
  const slices = inSlices(content, xzSliceBytes);
  yield* through(slices, bothEnds(stream), xzError(maxDecoderBytes), reader === "dpkg" ? maxTrailingBytes : 0);
}

const bothEnds = (stream: Duplex): Transforming => ({ input: stream, output: stream });

/** lzma-native calls `_restart` of its native object to begin the next stream; without it, the decoder ends. */
function endWithFirstStream(stream: object): void {
  const native: unknown = Reflect.get(stream, "nativeStream");
  if (typeof native === "object" && native !== null) Reflect.deleteProperty(native, "_restart");
}

const xzError = (maxDecoderBytes: number) => (thrown: unknown) =>
  thrown instanceof Error && thrown.name === "LZMA_MEMLIMIT_ERROR"
    ? limitFlaw("maxDecoderBytes", maxDecoderBytes, "the memory to decompress a member")
    : corrupt("xz")(thrown);

const memory = (limits: DecompressionLimits): string =>
  `--memory=${Math.max(1, Math.floor(limits.maxDecoderBytes / bytesPerMebibyte))}MB`;

interface Command {
  readonly command: string;
  readonly args: readonly string[];
  /** The package that contains the command, for the message if it is missing. */
  readonly debianPackage: string;
  /** How many bytes of its input it may leave unread. */
  readonly maxTrailingBytes?: number;
}

/** A decoder reads hostile bytes, so its environment contains no variables of ours, and no caps. */
const commandEnvironment = { PATH: "/usr/local/bin:/usr/bin:/bin", LC_ALL: "C" };

async function* throughCommand(content: AsyncIterable<Uint8Array>, wanted: Command): AsyncGenerator<Uint8Array> {
  const child = spawn(wanted.command, wanted.args, { stdio: ["pipe", "pipe", "ignore"], env: commandEnvironment });
  const ended = new Promise<void>((resolve, reject) => {
    // A lack of processes or memory on this machine is not a flaw of the package, and stays an error.
    child.on("error", (cause) => reject("code" in cause && cause.code === "ENOENT" ? missing(wanted, cause) : cause));
    child.on("close", (status, signal) => {
      if (signal !== null) reject(new Error(`${wanted.command} was ended by ${signal}`));
      else if (status === 0) resolve();
      else reject(corrupt(wanted.command)(undefined));
    });
  });
  // It is awaited below; until then a rejection must not count as unhandled.
  ended.catch(() => undefined);
  try {
    // The exit status of the command tells more than a broken pipe.
    yield* through(
      content,
      { input: child.stdin, output: child.stdout },
      (thrown) => new PipeBroke(thrown),
      wanted.maxTrailingBytes,
    );
    await ended;
  } catch (thrown) {
    if (!(thrown instanceof PipeBroke)) throw thrown;
    await ended;
    throw corrupt(wanted.command)(thrown.cause);
  } finally {
    child.kill("SIGKILL");
  }
}

const missing = ({ command, debianPackage }: Command, cause: Error) =>
  new Malformed(
    "unsupported-compression",
    `this server lacks ${command} to read it: install the Debian package ${debianPackage}`,
    { cause },
  );

class PipeBroke extends Error {
  constructor(cause: unknown) {
    super("a pipe to a decoder broke", { cause });
  }
}
