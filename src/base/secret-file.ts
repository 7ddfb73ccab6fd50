// Secrets in files of their own: made once, never replaced by mistake.
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { messageOf, RepoError, systemCodeOf } from "./errors.ts";
import { createFile, replaceFile } from "./replace-file.ts";
import { Secret } from "./secret.ts";

const privateMode = { mode: 0o600 };
const othersMayRead = 0o077;

/** Whether users other than the owner may read or change a file. @param mode as stat(2) gives it */
export const isOpenToOthers = (mode: number): boolean => (mode & othersMayRead) !== 0;

/** A file that should hold a secret and can't be read or is empty. */
class SecretFileError extends RepoError {
  readonly code = "state/secret-file";
}

/**
 * The secret in a file; where there is no such file, it is made and kept there.
 * @throws SecretFileError for a file that can't be used: to put another secret there would lock out who knows the old one
 */
export async function openSecretFile(file: string, make: () => Promise<Secret>): Promise<Secret> {
  const text = await readFile(file, "utf8").catch((thrown: unknown) => {
    if (systemCodeOf(thrown) === "ENOENT") return undefined;
    throw new SecretFileError(`cannot read ${file}: ${messageOf(thrown)}`);
  });
  if (text === undefined) {
    const secret = await make();
    const isOurs = await createFile(file, `${secret.reveal()}\n`, privateMode);
    // Somebody else has just made one, and may have told it to others.
    return isOurs ? secret : await openSecretFile(file, make);
  }
  if (text.trim() === "") throw new SecretFileError(`${file} is empty: put its secret back, or remove it`);
  return new Secret(text.trim());
}

const tokenBytes = 24;

/** A token for pings that nobody can guess. */
export const makeToken = async (): Promise<Secret> => new Secret(randomBytes(tokenBytes).toString("base64url"));

/**
 * Written whole or not at all, and at no moment readable by others.
 * @param prefix stands before the secret on its line
 */
export async function writeSecretFile(file: string, secret: Secret, prefix = ""): Promise<void> {
  await replaceFile(file, `${prefix}${secret.reveal()}\n`, privateMode);
}
