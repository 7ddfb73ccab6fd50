// Lines for a terminal or a pipe.
import { once } from "node:events";
import { clearLine, cursorTo } from "node:readline";

const mebibyte = 2 ** 20;
/** A progress line is written again no sooner than after this. */
const progressEveryMs = 100;

/** Names in a tree are their uploaders' words: what a terminal would act on is spelt out. */
export const printable = (text: string): string =>
  text.replace(/[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu, (odd) => `\\u{${odd.codePointAt(0)?.toString(16)}}`);

/** Waits where the reader is slower than we are, so that memory does not hold what it has not read. */
export async function print(line: string): Promise<void> {
  if (!process.stdout.write(`${line}\n`)) await once(process.stdout, "drain");
}

/** Tells at once, and not when the patience is over, that a server does not answer. */
export const complainOfWaiting = (url: string, reason: string): void => complain(`waiting for ${url} (${reason})`);

export function complain(text: string): void {
  process.stderr.write(`tahoe-apt: ${text}\n`);
}

/**
 * Shows on standard error how much of some bytes is done, in one line that is written over and disappears at the end.
 * Shows nothing unless standard error is a terminal.
 */
export function progressLine(title: string): (doneBytes: number, totalBytes: number) => void {
  const screen = process.stderr;
  const beganMs = performance.now();
  let shownMs = Number.NEGATIVE_INFINITY;
  return (doneBytes, totalBytes) => {
    const nowMs = performance.now();
    const isDone = doneBytes >= totalBytes;
    if (!screen.isTTY || doneBytes <= 0 || (nowMs - shownMs < progressEveryMs && !isDone)) return;
    shownMs = nowMs;
    cursorTo(screen, 0);
    clearLine(screen, 0);
    if (isDone) return;
    const secondsLeft = (((nowMs - beganMs) / 1000) * (totalBytes - doneBytes)) / Math.max(1, doneBytes);
    const [done, total] = [doneBytes, totalBytes].map((bytes) => (bytes / mebibyte).toFixed(1));
    screen.write(`${title} ${done}/${total} MiB, ${Math.ceil(secondsLeft)} s left`);
  };
}
