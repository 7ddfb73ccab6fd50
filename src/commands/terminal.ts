// Lines for a terminal or a pipe.
import { once } from "node:events";

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
