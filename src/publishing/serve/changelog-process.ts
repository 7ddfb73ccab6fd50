// Reads the changelog of one package in a process of its own: hostile bytes can neither hold the server up nor outlive
// their time, since a process, unlike a thread with a decoder in it, can be ended at any moment.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { abortable, onAbort } from "../../base/abort.ts";
import { RepoError } from "../../base/errors.ts";
import type { Content } from "../../debian/byte-reader.ts";
import { chunksOf } from "../../debian/byte-reader.ts";
import type { DebLimits } from "../../debian/deb.ts";
import { through } from "../../debian/through.ts";

/** Configurable. */
export interface ChangelogLimits {
  /** How long reading one package for its changelog may take. Beyond half a minute no apt waits for it. */
  readonly maxReadingMs: number;
  /** A longer changelog is cut. Debian's longest has some 3 MB. */
  readonly maxChangelogBytes: number;
}

export const defaultChangelogLimits: ChangelogLimits = {
  maxReadingMs: 30_000,
  maxChangelogBytes: 16 * 1024 ** 2,
};

/** What the process is told, as JSON, in its one argument. */
export interface ChangelogTask {
  readonly packageName: string;
  readonly limits: DebLimits & Pick<ChangelogLimits, "maxChangelogBytes">;
}

/** The first byte that the process writes: whether the changelog follows, or the package has none that can be read. */
export const found = "+".charCodeAt(0);
export const absent = "-".charCodeAt(0);

/** The process ended otherwise than it should. */
class ChangelogProcessFailed extends RepoError {
  readonly code = "publishing/changelog-unreadable";
}

/** Its heap, in MiB. Decoders have their own memory, bounded by `max_decoder_bytes`. */
const maxHeapMebibytes = 128;

// Node 20 runs no TypeScript: where this file itself runs from src/ (in tests), the process comes from the build.
const workerPath = fileURLToPath(
  new URL(
    import.meta.url.endsWith(".ts") ? "../../../dist/publishing/serve/changelog-worker.js" : "changelog-worker.js",
    import.meta.url,
  ),
);

/**
 * @param content a whole .deb, read to its end whatever is found in it
 * @param signal ends the process at once
 * @returns undefined where the package has no changelog, or can't be read
 * @throws `signal.reason`; what `content` throws; ChangelogProcessFailed
 */
export async function readChangelogApart(
  content: Content,
  task: ChangelogTask,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  return await abortable(answerOf(content, task, signal), signal);
}

async function answerOf(content: Content, task: ChangelogTask, signal: AbortSignal): Promise<Uint8Array | undefined> {
  signal.throwIfAborted();
  // An empty environment, because what reads hostile bytes needs no secret that stands there.
  const child = spawn(
    process.execPath,
    [`--max-old-space-size=${maxHeapMebibytes}`, workerPath, JSON.stringify(task)],
    { stdio: ["pipe", "pipe", "ignore"], env: {} },
  );
  const ended = new Promise<boolean>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status) => resolve(status === 0));
  });
  // It is awaited below; until then its failure must not count as unhandled.
  ended.catch(() => undefined);
  const forget = onAbort(signal, () => child.kill("SIGKILL"));
  try {
    const chunks: Uint8Array[] = [];
    const pipes = { input: child.stdin, output: child.stdout };
    // What the process leaves unread still has to be read, since only the whole of a package is known to be genuine.
    for await (const chunk of through(chunksOf(content), pipes, failed, Number.POSITIVE_INFINITY)) chunks.push(chunk);
    const isWhole = await ended;
    const [kind, answer] = [chunks[0]?.[0], Buffer.concat(chunks).subarray(1)];
    if (!isWhole || (kind !== found && kind !== absent)) throw failed(undefined);
    return kind === found ? answer : undefined;
  } finally {
    forget();
    child.kill("SIGKILL");
  }
}

const failed = (cause: unknown) =>
  new ChangelogProcessFailed("the process that reads a package for its changelog has ended too early", { cause });
