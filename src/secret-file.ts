// Secrets in files of their own.
import { chmod, rename, writeFile } from "node:fs/promises";
import type { Secret } from "./base/secret.ts";

/**
 * Written whole or not at all, and at no moment readable by others.
 * @param prefix stands before the secret on its line
 */
export async function writeSecretFile(file: string, secret: Secret, prefix = ""): Promise<void> {
  const unfinished = `${file}.unfinished`;
  await writeFile(unfinished, `${prefix}${secret.reveal()}\n`, { mode: 0o600 });
  await chmod(unfinished, 0o600);
  await rename(unfinished, file);
}
