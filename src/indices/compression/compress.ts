// Compresses segments off the main thread.
import pLimit from "p-limit";
import { youngHeapMebibytes } from "../../base/worker-heap.ts";
import { CompressionPool } from "./compression-pool.ts";
import type { XzBlock } from "./xz-stitch.ts";

/** One segment in the forms that are concatenated. Equal plain bytes give equal bytes on every machine. */
export interface CompressedSegment {
  /** One whole gzip member, without time or name. */
  readonly gz: Uint8Array;
  readonly xz: XzBlock;
  /** How many line feeds the plain bytes hold: so a pdiff knows where what follows begins, without reading them. */
  readonly lines: number;
}

/** What a segment is made of: stanzas, or lines that begin as the one before does. */
export type Texture = "stanzas" | "paths";

/** Compresses segments, several at once. */
export interface Compressor {
  /**
   * @param plain one segment, at least one byte; not transferred, so the caller may go on using it
   * @throws signal.reason when aborted before its turn
   */
  compress(plain: Uint8Array, signal: AbortSignal, texture?: Texture): Promise<CompressedSegment>;
  /** Tells that many segments are about to come, so that every thread is ready for them. */
  wake(): void;
  /** Ends the threads, once they have done what they are at. */
  close(): Promise<void>;
}

/** How long an idle thread beyond the first is kept, in milliseconds. */
const idleThreadMs = 10_000;

/** @param threads at most so many run, and one always: starting it would cost a single upload more than its segment */
export function createCompressor({ threads }: { readonly threads: number }): Compressor {
  const pool = new CompressionPool({
    filename: workerUrl().href,
    minThreads: 1,
    maxThreads: threads,
    idleTimeout: idleThreadMs,
    resourceLimits: { maxYoungGenerationSizeMb: youngHeapMebibytes },
  });
  const limit = pLimit(threads);
  return {
    compress(plain, signal, texture = "stanzas") {
      // Aborting empties the queue; a running thread is left alone, because ending it costs more than its result.
      return limit(async () => {
        signal.throwIfAborted();
        return await pool.compress<CompressedSegment>(taskOf[texture], plain);
      });
    },
    wake() {
      // Each is busy with one, so that the next goes to another.
      for (let thread = 0; thread < threads; thread++) {
        pool.compress(taskOf.stanzas, Buffer.from("\n")).catch(() => undefined);
      }
    },
    close: () => pool.close(),
  };
}

const taskOf: Readonly<Record<Texture, string>> = { stanzas: "compressSegment", paths: "compressPaths" };

/** Node 20 runs no TypeScript: where this file runs from src/ (in tests), the thread comes from dist/. */
function workerUrl(): URL {
  return import.meta.url.endsWith(".ts")
    ? new URL("../../../dist/indices/compression/compress-worker.js", import.meta.url)
    : new URL("./compress-worker.js", import.meta.url);
}
