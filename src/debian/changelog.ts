// The Debian changelog in a binary package.
import { readAr } from "./ar.ts";
import type { Content } from "./byte-reader.ts";
import { ByteReader } from "./byte-reader.ts";
import type { DebLimits } from "./deb.ts";
import { dataMember } from "./deb.ts";
import { decompress } from "./decompress.ts";
import type { TarEntry } from "./tar.ts";

export interface ChangelogLimits extends DebLimits {
  /** The longest changelog, decompressed, in bytes. A longer one is cut. */
  readonly maxChangelogBytes: number;
}

/** How many changelog files are read: a package normally has at most two, and each may be long. */
const maxTexts = 4;

/**
 * Finds the changelog. Reads the .deb to its end, because the caller checks the digests of all bytes.
 * @param packageName names the directory in `usr/share/doc`
 * @returns undefined if there is none, e.g. because the directory is a link to that of another package
 * @throws Malformed; errors of `content` pass through
 * @see Debian Policy 12.7
 */
export async function readChangelog(
  content: Content,
  packageName: string,
  limits: ChangelogLimits,
): Promise<Uint8Array | undefined> {
  let found: Uint8Array | undefined;
  let texts = 0;
  for await (const member of readAr(content, limits)) {
    const directory = `usr/share/doc/${packageName}/`;
    const data = dataMember(member, limits, ({ name, type }) => type === "file" && name.startsWith(directory));
    if (data === undefined) continue;
    for await (const entry of data) {
      const name = entry.name.slice(directory.length);
      // A native package has only `changelog`; in other packages that is the changelog of the upstream author.
      const isDebian = /^changelog\.Debian(\.gz)?$/.test(name);
      if (!(isDebian || (found === undefined && /^changelog(\.gz)?$/.test(name)))) continue;
      if (++texts > maxTexts) break;
      const text = await textOf(entry, limits);
      if (isDebianChangelog(text)) found = text;
      if (isDebian) break;
    }
  }
  return found;
}

/** Cuts the text at the limit: in so long a changelog, the rest is very old. */
async function textOf({ name, content }: TarEntry, { maxChangelogBytes, ...limits }: ChangelogLimits) {
  const plain = decompress(name.endsWith(".gz") ? "gz" : "none", content, {
    maxDecoderBytes: limits.maxDecoderBytes,
    maxDecompressedBytes: limits.maxDataBytes,
    decidedBy: { limit: "maxDataBytes", allowed: limits.maxDataBytes },
  });
  return await new ByteReader(plain).read(maxChangelogBytes);
}

/** @see deb-changelog(5) */
const isDebianChangelog = (text: Uint8Array): boolean =>
  /^\s*[a-z0-9][a-z0-9+.-]* \([^()\s]+\)/i.test(Buffer.from(text.subarray(0, 1024)).toString("latin1"));
