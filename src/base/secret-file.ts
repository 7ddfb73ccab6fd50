// Files that contain one secret each. An existing secret is never replaced.
import { randomBytes } from "node:crypto";
import type { Stats } from "node:fs";
import { readFile } from "node:fs/promises";
import { messageOf, RepoError, systemCodeOf } from "./errors.ts";
import { createFile, replaceFile } from "./replace-file.ts";
import { Secret } from "./secret.ts";

const privateMode = { mode: 0o600 };
const othersMayRead = 0o077;
/**
 * The mode of a credential that systemd passes to a service. It belongs to root, and an access control list allows the
 * service to read it; the mode then shows what that list allows at most as the bits of the group, which is root's.
 */
const credentialMode = 0o440;
const root = 0;

/** Whether users other than the owner may read or change a file. @param stats as stat(2) gives them */
export function isOpenToOthers({ mode, uid, gid }: Pick<Stats, "mode" | "uid" | "gid">): boolean {
  const isCredential = uid === root && gid === root && (mode & 0o777) === credentialMode;
  return !isCredential && (mode & othersMayRead) !== 0;
}

/** A file that should contain a secret cannot be read or is empty. */
class SecretFileError extends RepoError {
  readonly code = "state/secret-file";
}

/**
 * Reads the secret in a file. If there is no such file, creates it with a new secret.
 * @throws SecretFileError for a file that cannot be used: a new secret in it would lock out everyone who uses the old
 *   one
 */
export async function openSecretFile(file: string, make: () => Promise<Secret>): Promise<Secret> {
  const text = await readFile(file, "utf8").catch((thrown: unknown) => {
    if (systemCodeOf(thrown) === "ENOENT") return undefined;
    throw new SecretFileError(`cannot read ${file}: ${messageOf(thrown)}`);
  });
  if (text === undefined) {
    const secret = await make();
    const isOurs = await createFile(file, `${secret.reveal()}\n`, privateMode);
    // Another process has just created the file, and its secret may be in use already.
    return isOurs ? secret : await openSecretFile(file, make);
  }
  if (text.trim() === "") throw new SecretFileError(`${file} is empty: put its secret back, or remove it`);
  return new Secret(text.trim());
}

const tokenBytes = 24;

/** @returns a random token for pings */
export const makeToken = async (): Promise<Secret> => new Secret(randomBytes(tokenBytes).toString("base64url"));

/**
 * Writes a secret to a file, atomically. Other users cannot read the file at any moment.
 * @param prefix a text before the secret on its line
 */
export async function writeSecretFile(file: string, secret: Secret, prefix = ""): Promise<void> {
  await replaceFile(file, `${prefix}${secret.reveal()}\n`, privateMode);
}
