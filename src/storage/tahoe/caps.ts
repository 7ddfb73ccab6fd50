// Tahoe's capabilities as secrets that know what they allow.
import { RepoError } from "../../base/errors.ts";
import { Secret } from "../../base/secret.ts";

/** Not a cap of the kind that is needed here. Never shows what was given. */
export class CapError extends RepoError {
  readonly code = "storage/bad-cap";
}

/** Lets its holder read a directory and all below it. Only `storage/tahoe/` and what keeps caps in files reveal it. */
export class ReadCap extends Secret {
  readonly kind = "read-cap";
}

/** Lets its holder change a directory and all below it. */
export class WriteCap extends Secret {
  readonly kind = "write-cap";
}

const mutable = "[a-z2-7]{26}:[a-z2-7]{52}(?::\\d{1,10}){0,2}";
const readCap = new RegExp(
  `^URI:(?:DIR2-(?:MDMF-)?RO:${mutable}|DIR2-CHK:[a-z2-7]{26}:[a-z2-7]{52}:\\d{1,3}:\\d{1,3}:\\d{1,16}|DIR2-LIT:[a-z2-7]*)$`,
);
const writeCap = new RegExp(`^URI:DIR2(?:-MDMF)?:${mutable}$`);

/**
 * A directory's read cap: `URI:DIR2-RO:…`, `URI:DIR2-MDMF-RO:…`, `URI:DIR2-CHK:…` or `URI:DIR2-LIT:…`.
 * @param raw white space around it is ignored, so that a file's last line end does no harm
 * @throws CapError also for a write cap, which a server has no need to hold
 */
export function parseReadCap(raw: string): ReadCap {
  const cap = raw.trim();
  if (readCap.test(cap)) return new ReadCap(cap);
  if (writeCap.test(cap)) {
    throw new CapError(
      "this is a write cap, and reading is all that is needed. `tahoe ls --json ALIAS: | python3 -c " +
        `'import json, sys; print(json.load(sys.stdin)[1]["ro_uri"])'\` prints the read cap of the same directory`,
    );
  }
  if (cap.startsWith("URI:")) throw new CapError("this is a cap, but not the whole read cap of a directory");
  throw new CapError("this is no cap: a directory's read cap begins with URI:DIR2-RO:");
}

/** A directory's write cap: `URI:DIR2:…` or `URI:DIR2-MDMF:…`. @throws CapError */
export function parseWriteCap(raw: string): WriteCap {
  const cap = raw.trim();
  if (!writeCap.test(cap)) throw new CapError("this is no write cap of a directory: that begins with URI:DIR2:");
  return new WriteCap(cap);
}

const immutableFile =
  /^URI:(?:CHK:[a-z2-7]{26}:[a-z2-7]{52}:\d{1,3}:\d{1,3}:(?<size>\d{1,16})|LIT:(?<literal>[a-z2-7]*))$/;

/** The size in bytes that an immutable file's cap tells; undefined for anything else than such a cap. */
export function immutableFileBytes(cap: string): number | undefined {
  const groups = immutableFile.exec(cap)?.groups;
  if (groups === undefined) return undefined;
  return groups.size === undefined ? Math.floor(((groups.literal ?? "").length * 5) / 8) : Number(groups.size);
}
