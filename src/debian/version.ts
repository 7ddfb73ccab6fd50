// Debian version numbers: syntax and order.
import { RepoError } from "../base/errors.ts";

/** A version number in its three parts. */
export interface Version {
  readonly epoch: number;
  readonly upstream: string;
  /** "" if there is none, which sorts like "0". */
  readonly revision: string;
}

/** A version number that dpkg refuses, or warns about and refuses to install. */
export class VersionError extends RepoError {
  readonly code = "debian/version";
}

/** The largest epoch that dpkg accepts. */
export const maxEpoch = 2 ** 31 - 1;

/**
 * Parses a version. As in dpkg, white space around it is ignored, and the epoch may have a sign.
 * @throws VersionError
 * @see Debian Policy 5.6.12
 */
export function parseVersion(raw: string): Version {
  const refuse = (why: string) => new VersionError(`${JSON.stringify(raw.slice(0, 80))} is not a version: ${why}`);
  const text = raw.replace(/^[ \t\n\v\f\r]+|[ \t\n\v\f\r]+$/g, "");
  const colon = text.indexOf(":");
  const epochText = text.slice(0, Math.max(0, colon));
  if (colon >= 0 && !/^[+-]?[0-9]+$/.test(epochText)) throw refuse("its epoch is not a number");
  const epoch = Number(epochText) + 0;
  if (epoch < 0 || epoch > maxEpoch) throw refuse(`its epoch is not between 0 and ${maxEpoch}`);
  const rest = text.slice(colon + 1);
  const hyphen = rest.lastIndexOf("-");
  const upstream = hyphen < 0 ? rest : rest.slice(0, hyphen);
  const revision = hyphen < 0 ? "" : rest.slice(hyphen + 1);
  if (hyphen >= 0 && revision === "") throw refuse("nothing follows its last hyphen");
  if (!/^[0-9]/.test(upstream)) throw refuse("it does not start with a digit");
  if (!/^[A-Za-z0-9.+~:-]+$/.test(upstream) || !/^[A-Za-z0-9.+~]*$/.test(revision)) {
    throw refuse("it has a character that no version has");
  }
  return { epoch, upstream, revision };
}

/**
 * Orders two versions as dpkg does.
 * @returns below, equal to or above zero
 * @throws VersionError if either is malformed
 * @see Debian Policy 5.6.12
 */
export function compareVersions(a: string, b: string): number {
  const left = parseVersion(a);
  const right = parseVersion(b);
  return (
    left.epoch - right.epoch || comparePart(left.upstream, right.upstream) || comparePart(left.revision, right.revision)
  );
}

/** Compares alternately: a run of non-digits character by character, then a run of digits as a number. */
function comparePart(a: string, b: string): number {
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    while ((i < a.length && !isDigit(a, i)) || (j < b.length && !isDigit(b, j))) {
      const difference = rank(a, i) - rank(b, j);
      if (difference !== 0) return difference;
      i++;
      j++;
    }
    const left = digitsAt(a, i);
    const right = digitsAt(b, j);
    i += left.length;
    j += right.length;
    const difference = compareDigits(left, right);
    if (difference !== 0) return difference;
  }
  return 0;
}

const isDigit = (text: string, at: number): boolean => text.charCodeAt(at) >= 0x30 && text.charCodeAt(at) <= 0x39;

/** The order of characters: tilde, end of the run (also before a digit), letters, everything else. */
function rank(text: string, at: number): number {
  if (at >= text.length || isDigit(text, at)) return 0;
  const character = text.charAt(at);
  if (character === "~") return -1;
  return /[A-Za-z]/.test(character) ? character.charCodeAt(0) : character.charCodeAt(0) + 256;
}

function digitsAt(text: string, start: number): string {
  let end = start;
  while (isDigit(text, end)) end++;
  return text.slice(start, end);
}

/** Compares numbers of any length: a run of digits may exceed the precision of a double. */
function compareDigits(a: string, b: string): number {
  const left = a.replace(/^0+/, "");
  const right = b.replace(/^0+/, "");
  return left.length - right.length || (left < right ? -1 : left > right ? 1 : 0);
}
