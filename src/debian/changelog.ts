// The Debian changelog that a binary package carries.
import { readAr } from "./ar.ts";
import type { Content } from "./byte-reader.ts";
import { ByteReader } from "./byte-reader.ts";
import type { DebLimits } from "./deb.ts";
import { dataMember } from "./deb.ts";
import { decompress } from "./decompress.ts";
import type { TarEntry } from "./tar.ts";

export interface ChangelogLimits extends DebLimits {
  /** How long a changelog may be, decompressed, in bytes. */
  readonly maxChangelogBytes: number;
}

/** How many files of such a name are looked into: two may be there, and each may be long. */
const maxTexts = 4;

/**
 * Reads a .deb to its end, for who gives it may count on that.
 * @param packageName its files are below the directory of documentation of this name
 * @returns undefined where there is none, be it that the directory is a link to another package's
 * @throws Malformed; what `content` throws passes by
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
      // A native package has but the second; of the others' it is that of their author.
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

/** Beyond the limit it is cut, which in so long a text is far in the past. */
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
