// Reads the changelog of one package in a separate process. Malicious bytes can then neither block the server nor run
// longer than allowed: unlike a thread with a decoder in it, a process can be killed at any moment.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { abortable, onAbort } from "../../base/abort.ts";
import { RepoError } from "../../base/errors.ts";
import type { Content } from "../../debian/byte-reader.ts";
import { chunksOf } from "../../debian/byte-reader.ts";
import type { DebLimits } from "../../debian/deb.ts";
import { through } from "../../debian/through.ts";

/** The configurable limits for changelogs. */
export interface ChangelogLimits {
  /** How long reading one package for its changelog may take. No apt waits longer than half a minute. */
  readonly maxReadingMs: number;
  /** Longer changelogs are truncated. The longest in Debian has about 3 MB. */
  readonly maxChangelogBytes: number;
}

/** The limits that apply if the configuration has no others. */
export const defaultChangelogLimits: ChangelogLimits = {
  maxReadingMs: 30_000,
  maxChangelogBytes: 16 * 1024 ** 2,
};

/** The only argument of the process, as JSON. */
export interface ChangelogTask {
  readonly packageName: string;
  readonly limits: DebLimits & Pick<ChangelogLimits, "maxChangelogBytes">;
}

/** The first byte that the process writes: whether the changelog follows, or the package has no readable one. */
export const found = "+".charCodeAt(0);
export const absent = "-".charCodeAt(0);

/** The process failed or ended too early. */
class ChangelogProcessFailed extends RepoError {
  readonly code = "publishing/changelog-unreadable";
}

/** The heap of the process, in MiB. Decoders have their own memory, limited by `max_decoder_bytes`. */
const maxHeapMebibytes = 128;

// Node 20 cannot run TypeScript. If this file runs from src/ (in tests), the process is started from the build.
const workerPath = fileURLToPath(
  new URL(
    import.meta.url.endsWith(".ts") ? "../../../dist/publishing/serve/changelog-worker.js" : "changelog-worker.js",
    import.meta.url,
  ),
);

/**
 * Reads the changelog of a package in a separate process.
 * @param content a whole .deb; it is read to its end in any case
 * @param signal kills the process at once
 * @returns undefined if the package has no changelog or cannot be read
 * @throws `signal.reason`, errors of `content`, ChangelogProcessFailed
 */
export async function readChangelogInProcess(
  content: Content,
  task: ChangelogTask,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  return await abortable(runWorker(content, task, signal), signal);
}

async function runWorker(content: Content, task: ChangelogTask, signal: AbortSignal): Promise<Uint8Array | undefined> {
  signal.throwIfAborted();
  // The environment is empty, because code that reads malicious bytes must not see the secrets in it.
  const child = spawn(
    process.execPath,
    [`--max-old-space-size=${maxHeapMebibytes}`, workerPath, JSON.stringify(task)],
    { stdio: ["pipe", "pipe", "ignore"], env: {} },
  );
  const ended = new Promise<boolean>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status) => resolve(status === 0));
  });
  // Awaited below; until then its rejection must not count as unhandled.
  ended.catch(() => undefined);
  const removeListener = onAbort(signal, () => child.kill("SIGKILL"));
  try {
    const chunks: Uint8Array[] = [];
    const pipes = { input: child.stdin, output: child.stdout };
    // Bytes that the process does not need are read too, because only a complete package is verified.
    for await (const chunk of through(chunksOf(content), pipes, failed, Number.POSITIVE_INFINITY)) chunks.push(chunk);
    const isWhole = await ended;
    const [kind, text] = [chunks[0]?.[0], Buffer.concat(chunks).subarray(1)];
    if (!isWhole || (kind !== found && kind !== absent)) throw failed(undefined);
    return kind === found ? text : undefined;
  } finally {
    removeListener();
    child.kill("SIGKILL");
  }
}

const failed = (cause: unknown) =>
  new ChangelogProcessFailed("the process that reads changelogs ended too early", { cause });
