// Undoes the compressions that packages use. Truncated and corrupt input is always an error.
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

/** Named as the suffixes are. */
export type Compression = "none" | "gz" | "xz" | "zst" | "bz2" | "lzma";

/**
 * Whose rules hold for what follows the first compressed stream. apt reads an index to its end, stream after stream. dpkg
 * ends a member with its first stream (but for gzip) and ignores a little of what follows.
 */
export type Reader = "apt" | "dpkg";

/**
 * How many bytes behind a member's first stream are ignored. dpkg takes these in every form; from 64 KiB on, which a pipe
 * of its own no longer holds, it refuses the package now and then, and from 128 KiB on always.
 */
const maxTrailingBytes = 48 * 1024;

/**
 * xz is fed in slices of this many bytes, because its decoder puts out all of a slice at once: up to 7,000 times it. In
 * the main thread requests wait that long.
 */
const xzSliceBytes = isMainThread ? 1024 : 4096;
const bytesPerMebibyte = 2 ** 20;

/**
 * @returns the plain bytes, with back-pressure, never more than the limits allow
 * @throws Malformed, at once or while iterating: `bad-compression`, `unsupported-compression` or `limit`; what `content`
 *   throws passes by
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
  // What does not lie at hand may be shorter than it is said to be.
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
    // A process, because Node's own zstd (tried in 22.23) takes a truncated frame for a whole one.
    case "zst": {
      const command = { command: "zstd", args: ["-dcq", memory(limits)], debianPackage: "zstd" };
      const frames = chunksOf(content);
      return throughCommand(reader === "apt" ? frames : firstZstdFrame(frames, maxTrailingBytes), command);
    }
    // A process, because the decoders in JavaScript put out whole blocks without back-pressure.
    case "bz2": {
      const command = { command: "bzip2", args: ["-dc"], debianPackage: "bzip2", maxTrailingBytes };
      const streams = chunksOf(content);
      return throughCommand(reader === "apt" ? streams : firstBzip2Stream(streams, maxTrailingBytes), command);
    }
    default:
      return compression satisfies never;
  }
}

/** A member up to this size, in bytes, is decompressed in one call: setting a stream up would take ten times as long. */
const smallGzipBytes = 2 ** 16;

const isSmallGzip = (content: Content): content is Uint8Array =>
  content instanceof Uint8Array && content.byteLength < smallGzipBytes;

async function* gunzip(content: Content, limits: OutputLimits, reader: Reader): AsyncGenerator<Uint8Array> {
  const bytes = new ByteReader(content);
  // For Node, only NULs can follow the last gzip member.
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

/** A member up to this size, in bytes, is at hand whole before it is decompressed. */
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
  // Not before there is something to do: it takes longer to load than a hundred packages.
  const { default: library } = await import("lzma-native");
  // Synchronous in a worker: it costs less, and a worker that is ended leaves no decoder behind. The main thread has
  // requests to answer meanwhile.
  const options = { memlimit: Math.max(maxDecoderBytes, bytesPerMebibyte), synchronous: !isMainThread };
  const stream = library.createStream(decoder, options);
  if (reader === "dpkg") endWithFirstStream(stream);
  const slices = inSlices(content, xzSliceBytes);
  yield* through(slices, bothEnds(stream), xzError(maxDecoderBytes), reader === "dpkg" ? maxTrailingBytes : 0);
}

const bothEnds = (stream: Duplex): Transforming => ({ input: stream, output: stream });

/** lzma-native calls this method of its native object at the end of a stream to begin the next; without it, it ends. */
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
  /** What brings the command, for the message when it is missing. */
  readonly debianPackage: string;
  /** How much of its input it may leave unread. */
  readonly maxTrailingBytes?: number;
}

/** Nothing of ours, least of all a cap, is in the environment of a decoder that reads hostile bytes. */
const commandEnvironment = { PATH: "/usr/local/bin:/usr/bin:/bin", LC_ALL: "C" };

async function* throughCommand(content: AsyncIterable<Uint8Array>, wanted: Command): AsyncGenerator<Uint8Array> {
  const child = spawn(wanted.command, wanted.args, { stdio: ["pipe", "pipe", "ignore"], env: commandEnvironment });
  const ended = new Promise<void>((resolve, reject) => {
    // What the machine is short of (processes, memory) is no flaw of the package, and stays an error.
    child.on("error", (cause) => reject("code" in cause && cause.code === "ENOENT" ? missing(wanted, cause) : cause));
    child.on("close", (status, signal) => {
      if (signal !== null) reject(new Error(`${wanted.command} was ended by ${signal}`));
      else if (status === 0) resolve();
      else reject(corrupt(wanted.command)(undefined));
    });
  });
  // It is awaited below; until then its failure must not count as unhandled.
  ended.catch(() => undefined);
  try {
    // How the command ends says more than a pipe that broke.
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
    `this server has no ${command} to read it with: install the Debian package ${debianPackage}`,
    { cause },
  );

class PipeBroke extends Error {
  constructor(cause: unknown) {
    super("a pipe to a decoder broke", { cause });
  }
}
