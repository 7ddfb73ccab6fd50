// Compresses segments in worker threads.
import pLimit from "p-limit";
import { youngHeapMebibytes } from "../../base/worker-heap.ts";
import { CompressionPool } from "./compression-pool.ts";
import type { XzBlock } from "./xz-stitch.ts";

/**
 * A segment in the compressed forms, which are concatenated to files. Equal plain bytes give equal bytes on every
 * machine.
 */
export interface CompressedSegment {
  /** One whole gzip member, without time or name. */
  readonly gz: Uint8Array;
  readonly xz: XzBlock;
  /** The number of line feeds in the plain bytes: a pdiff needs the line number of the next segment. */
  readonly lines: number;
}

/** The kind of text in a segment: stanzas, or sorted paths. */
export type SegmentKind = "stanzas" | "paths";

/** Compresses segments, several at once. */
export interface Compressor {
  /**
   * @param plain one segment, at least one byte; it is copied, so the caller may continue to use it
   * @throws signal.reason when aborted before it starts
   */
  compress(plain: Uint8Array, signal: AbortSignal, kind?: SegmentKind): Promise<CompressedSegment>;
  /** Starts all threads, because many segments will follow. */
  wake(): void;
  /** Ends the threads when their running tasks have ended. */
  close(): Promise<void>;
}

/** How long an idle thread beyond the first is kept, in milliseconds. */
const idleThreadMs = 10_000;

/** @param threads the maximum. One always runs: to start it would take longer than to compress one segment */
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
    compress(plain, signal, kind = "stanzas") {
      // An abort removes waiting tasks. A running one continues, because a new thread costs more than its result.
      return limit(async () => {
        signal.throwIfAborted();
        return await pool.compress<CompressedSegment>(taskOf[kind], plain);
      });
    },
    wake() {
      // Each task occupies one thread, so the next one goes to another thread.
      for (let thread = 0; thread < threads; thread++) {
        pool.compress(taskOf.stanzas, Buffer.from("\n")).catch(() => undefined);
      }
    },
    close: () => pool.close(),
  };
}

const taskOf: Readonly<Record<SegmentKind, string>> = { stanzas: "compressSegment", paths: "compressPaths" };

/** Node.js 20 cannot run TypeScript: if this file runs from src/ (in tests), the worker is that in dist/. */
function workerUrl(): URL {
  return import.meta.url.endsWith(".ts")
    ? new URL("../../../dist/indices/compression/compress-worker.js", import.meta.url)
    : new URL("./compress-worker.js", import.meta.url);
}
