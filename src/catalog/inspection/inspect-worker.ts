// The worker's side of inspections: receives content as messages, sends the inspection back.
import { parentPort, workerData } from "node:worker_threads";
import { messageOf } from "../../base/errors.ts";
import { forEachConcurrent } from "../../base/for-each-concurrent.ts";
import type { Content } from "../../debian/byte-reader.ts";
import { readLocalFile } from "../../storage/local-file.ts";
import type { InspectOptions } from "./inspect.ts";
import { inspectContent } from "./inspect.ts";
import type { PackageKind } from "./inspection.ts";
import type { FromWorker, LocalInspectionRequest, LocalInspectionResult, ToWorker } from "./worker-messages.ts";

if (parentPort === null) throw new Error("this file runs as a worker thread only");
const port = parentPort;
const options = workerData as InspectOptions;
const streams = new Map<number, ChunkQueue>();

/** How many files of a batch are inspected concurrently: some wait for a decoder in another process. */
const filesAtOnce = 4;
/**
 * When the file lists of a batch exceed this size, its remaining files are returned unread. The main thread streams
 * them, which limits how many are in memory.
 */
const maxListBytes = 4 * 2 ** 20;

port.on("message", (message: ToWorker) => {
  switch (message.type) {
    case "whole":
      inspect(message.id, message.kind, message.bytes);
      return;
    case "files":
      inspectLocalFiles(message.files).then(
        (files) => post({ type: "read", id: message.id, files }),
        (thrown: unknown) => post({ type: "failed", id: message.id, message: messageOf(thrown) }),
      );
      return;
    case "open": {
      const chunks = new ChunkQueue(message.id);
      streams.set(message.id, chunks);
      inspect(message.id, message.kind, chunks);
      return;
    }
    case "chunk":
      streams.get(message.id)?.push(message.bytes);
      return;
    case "end":
      streams.get(message.id)?.push(undefined);
      return;
    case "abandon":
      streams.get(message.id)?.abandon();
      return;
    case "close":
      port.close();
      return;
    default:
      message satisfies never;
  }
});

function inspect(id: number, kind: PackageKind, content: Content): void {
  inspectContent(kind, content, options)
    .then(
      (inspection) => post({ type: "done", id, inspection }),
      (thrown: unknown) => post({ type: "failed", id, message: messageOf(thrown) }),
    )
    .finally(() => streams.delete(id));
}

async function inspectLocalFiles(
  requests: readonly LocalInspectionRequest[],
): Promise<readonly LocalInspectionResult[]> {
  const files: LocalInspectionResult[] = [];
  let listBytes = 0;
  await forEachConcurrent(requests.entries(), filesAtOnce, async ([index, { kind, location, returnsContent }]) => {
    const startedMs = performance.now();
    const bytes = listBytes > maxListBytes ? undefined : readLocalFile(location);
    const seconds = (performance.now() - startedMs) / 1000;
    // Unexpected errors are reported when the main thread streams the file; here they must not fail the batch.
    const inspection = bytes && (await inspectContent(kind, bytes, options).catch(() => undefined));
    if (inspection?.kind === "binary") listBytes += inspection.fileList?.byteLength ?? 0;
    const content = bytes && returnsContent ? { content: bytes } : {};
    files[index] = { inspection, seconds, bytes: bytes?.byteLength ?? 0, ...content };
  });
  return files;
}

function post(message: FromWorker): void {
  // Nothing here uses the bytes any more, so they are transferred instead of copied.
  const moved = message.type === "read" ? message.files.flatMap(({ content }) => content?.buffer ?? []) : [];
  port.postMessage(message, moved);
}

/** An iterable of the chunks that arrive as messages. The sender waits for credit, which keeps the queue short. */
class ChunkQueue implements AsyncIterable<Uint8Array> {
  readonly #id: number;
  readonly #queue: Array<Uint8Array | undefined> = [];
  #abandoned = false;
  #wake = () => {};

  constructor(id: number) {
    this.#id = id;
  }

  /** @param chunk undefined at the end of the content */
  push(chunk: Uint8Array | undefined): void {
    this.#queue.push(chunk);
    this.#wake();
  }

  abandon(): void {
    this.#abandoned = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      if (this.#abandoned) throw new Error("the inspection was abandoned");
      if (this.#queue.length === 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      const chunk = this.#queue.shift();
      if (chunk === undefined) return;
      post({ type: "consumed", id: this.#id, sizeBytes: chunk.byteLength });
      yield chunk;
    }
  }
}
