// The worker's side of inspecting: content comes in as messages, an inspection goes back.
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
const streams = new Map<number, Inbox>();

/** How many files of a batch are inspected side by side: some wait for a decoder in a process of its own. */
const filesAtOnce = 4;
/** Once a batch holds so many bytes of file lists, the rest of it is left to streams, of which fewer are open at a time. */
const maxListBytes = 4 * 2 ** 20;

port.on("message", (message: ToWorker) => {
  switch (message.type) {
    case "whole":
      inspect(message.id, message.kind, message.bytes);
      return;
    case "files":
      readAll(message.files).then(
        (files) => say({ type: "read", id: message.id, files }),
        (thrown: unknown) => say({ type: "failed", id: message.id, message: messageOf(thrown) }),
      );
      return;
    case "open": {
      const inbox = new Inbox(message.id);
      streams.set(message.id, inbox);
      inspect(message.id, message.kind, inbox);
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
      (inspection) => say({ type: "done", id, inspection }),
      (thrown: unknown) => say({ type: "failed", id, message: messageOf(thrown) }),
    )
    .finally(() => streams.delete(id));
}

async function readAll(asked: readonly LocalInspectionRequest[]): Promise<readonly LocalInspectionResult[]> {
  const files: LocalInspectionResult[] = [];
  let listBytes = 0;
  await forEachConcurrent(asked.entries(), filesAtOnce, async ([index, { kind, location: place }]) => {
    const begunMs = performance.now();
    const bytes = listBytes > maxListBytes ? undefined : readLocalFile(place);
    const seconds = (performance.now() - begunMs) / 1000;
    // What fails for another reason than the file's is told where its stream is inspected, and holds no other file up.
    const inspection = bytes && (await inspectContent(kind, bytes, options).catch(() => undefined));
    if (inspection?.kind === "binary") listBytes += inspection.fileList?.byteLength ?? 0;
    files[index] = { inspection, seconds, bytes: bytes?.byteLength ?? 0 };
  });
  return files;
}

const say = (message: FromWorker): void => port.postMessage(message);

/** Chunks that arrive as messages, read as a content. The sender keeps the queue short: it waits for credit. */
class Inbox implements AsyncIterable<Uint8Array> {
  readonly #id: number;
  readonly #queue: Array<Uint8Array | undefined> = [];
  #abandoned = false;
  #wake = () => {};

  constructor(id: number) {
    this.#id = id;
  }

  /** Undefined is the end. */
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
      if (this.#abandoned) throw new Error("nobody waits for this inspection any more");
      if (this.#queue.length === 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      const chunk = this.#queue.shift();
      if (chunk === undefined) return;
      say({ type: "taken", id: this.#id, sizeBytes: chunk.byteLength });
      yield chunk;
    }
  }
}
