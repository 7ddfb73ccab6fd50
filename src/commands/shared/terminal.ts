// Prints lines, warnings and progress to a terminal or a pipe.
import { once } from "node:events";
import { clearLine, cursorTo } from "node:readline";
import { createInterface } from "node:readline/promises";

const mebibyte = 2 ** 20;
/** The minimum time between two updates of the progress line. */
const progressEveryMs = 100;

/** Escapes control characters: uploaders choose names in a tree, and a terminal would interpret such characters. */
export const printable = (text: string): string =>
  text.replace(/[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu, (odd) => `\\u{${odd.codePointAt(0)?.toString(16)}}`);

/** Prints a line; if the reader is slow, waits, so that output does not accumulate in memory. */
export async function print(line: string): Promise<void> {
  if (!process.stdout.write(`${line}\n`)) await once(process.stdout, "drain");
}

/** Warns immediately, not only after the timeout, that a server does not respond. */
export const warnWaiting = (url: string, reason: string): void => warn(`waiting for ${url} (${reason})`);

export function warn(text: string): void {
  process.stderr.write(`tahoe-apt: ${text}\n`);
}

/**
 * Asks for a line of text.
 * @returns the answer without surrounding blanks; "" at the end of the input, or if there is no terminal to ask on
 */
export async function ask(question: string, signal: AbortSignal): Promise<string> {
  const { stdin: input, stderr: output } = process;
  if (!input.isTTY || !output.isTTY) return "";
  // Otherwise the interface, and not the process, would get Ctrl-C.
  const lines = createInterface({ input, output, terminal: false });
  const ended = new AbortController();
  lines.once("close", () => ended.abort());
  try {
    return (await lines.question(question, { signal: AbortSignal.any([signal, ended.signal]) })).trim();
  } catch (thrown) {
    signal.throwIfAborted();
    if (ended.signal.aborted) return "";
    throw thrown;
  } finally {
    lines.close();
  }
}

/**
 * Shows progress in one line on standard error, which is updated in place and removed at the end. Shows nothing unless
 * standard error is a terminal.
 */
function progressLine(title: string): (doneBytes: number, totalBytes: number) => void {
  const terminal = process.stderr;
  const startedMs = performance.now();
  let shownMs = Number.NEGATIVE_INFINITY;
  return (doneBytes, totalBytes) => {
    const nowMs = performance.now();
    const isDone = doneBytes >= totalBytes;
    if (!terminal.isTTY || doneBytes <= 0 || (nowMs - shownMs < progressEveryMs && !isDone)) return;
    shownMs = nowMs;
    cursorTo(terminal, 0);
    clearLine(terminal, 0);
    if (isDone) return;
    const secondsLeft = (((nowMs - startedMs) / 1000) * (totalBytes - doneBytes)) / Math.max(1, doneBytes);
    const [done, total] = [doneBytes, totalBytes].map((bytes) => (bytes / mebibyte).toFixed(1));
    terminal.write(`${title} ${done}/${total} MiB, ${Math.ceil(secondsLeft)} s left`);
  };
}

/** Shows on standard error when each step of a command has ended, and, on a terminal, the progress in bytes. */
export function showSteps<Step extends string>(title: string, texts: Readonly<Record<Step, string>>) {
  const showProgress = progressLine(title);
  let doneBytes = 0;
  return {
    /** @param bytes more than before; negative if something begins again */
    progressed: (bytes: number, totalBytes: number): void => {
      doneBytes += bytes;
      showProgress(doneBytes, totalBytes);
    },
    finished: (step: Step, seconds: number): void => {
      warn(`${texts[step]} in ${seconds.toFixed(2)} s`);
    },
    note: warn,
    waiting: warnWaiting,
  };
}
