// Writes the fields of a stanza, for Packages, Sources and Release.
import { RepoError } from "../base/errors.ts";
import { formatStanza } from "../debian/deb822.ts";
import type { DigestAlgorithm } from "../debian/digests.ts";

/** A value that would be read as something else in an index, or a missing digest. */
export class IndexError extends RepoError {
  readonly code = "indices/unwritable";
}

/** The field of each digest algorithm in Packages and in Release. */
export const packagesDigestField: Readonly<Record<DigestAlgorithm, string>> = {
  md5: "MD5sum",
  sha1: "SHA1",
  sha256: "SHA256",
  sha512: "SHA512",
};

/** @throws IndexError if the value would end its field, and so could forge another field or a whole stanza */
export function writeField(name: string, value: string): string {
  if (/\r|\n(?![ \t])|\n[ \t]*(?=\n|$)/.test(value)) throw new IndexError(`the field ${name} has a broken line`);
  return formatStanza([[name, value]]);
}

/** @throws IndexError if there is no digest of this algorithm */
export function digestOf(
  digests: { readonly [Algorithm in DigestAlgorithm]?: string },
  algorithm: DigestAlgorithm,
  whose: string,
): string {
  const digest = digests[algorithm];
  if (digest === undefined) throw new IndexError(`${whose} has no ${algorithm}`);
  return digest;
}
