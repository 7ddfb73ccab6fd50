// Tahoe's directory capabilities (caps), as secrets with a type for each kind.
import { RepoError } from "../../base/errors.ts";
import { Secret } from "../../base/secret.ts";

/** The text is not a cap of the required kind. The message does not contain it. */
export class CapError extends RepoError {
  readonly code = "storage/bad-cap";
}

/**
 * Allows to read a directory and everything below it. Only `storage/tahoe/`, and code that stores caps in files, may
 * reveal it.
 */
export class ReadCap extends Secret {
  readonly kind = "read-cap";
}

/** Allows to change a directory and everything below it. */
export class WriteCap extends Secret {
  readonly kind = "write-cap";
}

const mutable = "[a-z2-7]{26}:[a-z2-7]{52}(?::\\d{1,10}){0,2}";
const readCap = new RegExp(
  `^URI:(?:DIR2-(?:MDMF-)?RO:${mutable}|DIR2-CHK:[a-z2-7]{26}:[a-z2-7]{52}:\\d{1,3}:\\d{1,3}:\\d{1,16}|DIR2-LIT:[a-z2-7]*)$`,
);
const writeCap = new RegExp(`^URI:DIR2(?:-MDMF)?:${mutable}$`);

/**
 * Parses a directory's read cap: `URI:DIR2-RO:…`, `URI:DIR2-MDMF-RO:…`, `URI:DIR2-CHK:…` or `URI:DIR2-LIT:…`.
 * @param raw surrounding white space is ignored, e.g. the line end of a file
 * @throws CapError, also for a write cap, which a server does not need
 */
export function parseReadCap(raw: string): ReadCap {
  const cap = raw.trim();
  if (readCap.test(cap)) return new ReadCap(cap);
  if (writeCap.test(cap)) {
    throw new CapError(
      "this is a write cap, but a read cap is sufficient. `tahoe ls --json ALIAS: | python3 -c " +
        `'import json, sys; print(json.load(sys.stdin)[1]["ro_uri"])'\` prints the read cap of the same directory`,
    );
  }
  if (cap.startsWith("URI:")) throw new CapError("this is a cap, but not a complete read cap of a directory");
  throw new CapError("this is not a cap: a directory's read cap begins with URI:DIR2-RO:");
}

/** Parses a directory's write cap: `URI:DIR2:…` or `URI:DIR2-MDMF:…`. @throws CapError */
export function parseWriteCap(raw: string): WriteCap {
  const cap = raw.trim();
  if (!writeCap.test(cap)) throw new CapError("this is not a write cap of a directory, which begins with URI:DIR2:");
  return new WriteCap(cap);
}

const immutableFile =
  /^URI:(?:CHK:[a-z2-7]{26}:[a-z2-7]{52}:\d{1,3}:\d{1,3}:(?<size>\d{1,16})|LIT:(?<literal>[a-z2-7]*))$/;

/** The size in bytes that an immutable file's cap contains; undefined for all other texts. */
export function immutableFileBytes(cap: string): number | undefined {
  const groups = immutableFile.exec(cap)?.groups;
  if (groups === undefined) return undefined;
  return groups.size === undefined ? Math.floor(((groups.literal ?? "").length * 5) / 8) : Number(groups.size);
}
