// The file of the signing key: it is read, or created when the repository is served for the first time.

import { mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import type { Clock } from "../base/clock.ts";
import { messageOf, RepoError, systemCodeOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { createFile } from "../base/replace-file.ts";
import { Secret } from "../base/secret.ts";
import { isOpenToOthers } from "../base/secret-file.ts";
import { createSigningKey } from "./openpgp-signer.ts";

/** A key file cannot be read or written, or is empty. */
export class KeyFileError extends RepoError {
  readonly code = "signing/key-file";
}

/** Much more than any armoured key. */
export const maxKeyFileBytes = 1024 * 1024;

export interface KeyFileOptions {
  readonly log: Log;
}

/**
 * Reads an armoured private key. Logs a warning if other users may read it, which may be intended.
 * @throws KeyFileError
 */
export async function readKeyFile(path: string, { log }: KeyFileOptions): Promise<Secret> {
  const key = await readIfThere(path, log);
  if (key === undefined) throw new KeyFileError(`there is no signing key at ${path}`);
  return key;
}

/**
 * Reads the key, or creates one that only the owner can read. Concurrent calls get the same key, and a crash leaves no
 * key or a whole one.
 * @param options.name the name of the repository, which becomes the user id of a new key
 * @throws KeyFileError
 */
export async function openKeyFile(
  path: string,
  { name, now, log }: KeyFileOptions & { readonly name: string; readonly now: Clock },
): Promise<Secret> {
  const known = await readIfThere(path, log);
  if (known !== undefined) return known;
  const made = await createSigningKey({ name, now });
  await writeOnce(path, made);
  log.info({ path }, "created a signing key: keep a copy of it, because clients trust only this key");
  return await readKeyFile(path, { log });
}

async function readIfThere(path: string, log: Log): Promise<Secret | undefined> {
  try {
    const file = await open(path, "r");
    try {
      const stats = await file.stat();
      const { size } = stats;
      if (size === 0) throw new KeyFileError(`${path} is empty: put the key back, or remove it to have a new one made`);
      if (size > maxKeyFileBytes) throw new KeyFileError(`${path} is beyond maxKeyFileBytes = ${maxKeyFileBytes}`);
      if (isOpenToOthers(stats)) log.warn({ path }, "others may read the signing key: chmod 600");
      return new Secret(await file.readFile("utf8"));
    } finally {
      await file.close();
    }
  } catch (thrown) {
    if (systemCodeOf(thrown) === "ENOENT") return undefined;
    throw thrown instanceof KeyFileError ? thrown : new KeyFileError(`cannot read ${path}: ${messageOf(thrown)}`);
  }
}

/** Never replaces an existing key. */
async function writeOnce(path: string, key: Secret): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await createFile(path, key.reveal(), { mode: 0o600 });
  } catch (thrown) {
    throw new KeyFileError(`cannot write ${path}: ${messageOf(thrown)}`);
  }
}
