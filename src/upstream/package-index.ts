// Reads the Packages and Sources of another repository: checks their digests, and parses what names the files.
import { createHash } from "node:crypto";
import { LimitExceeded, messageOf } from "../base/errors.ts";
import { isBinaryPackageName, tryParseTreePath } from "../base/names.ts";
import type { Compression } from "../debian/decompress.ts";
import { decompress } from "../debian/decompress.ts";
import { Malformed } from "../debian/malformed.ts";
import { listedFiles } from "../indices/named-files.ts";
import type { ListedIndex, UpstreamRelease } from "./release-file.ts";
import type { RepositoryFiles } from "./repository-files.ts";
import { readWhole } from "./repository-files.ts";
import { UnusableRepository } from "./unusable-repository.ts";

/** A file of a package. */
export interface UpstreamFile {
  /** Relative to the repository's root: names joined by single slashes, none of them `..`. */
  readonly path: string;
  readonly sizeBytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

/** A stanza of an index. */
export interface UpstreamPackage {
  readonly kind: "binary" | "source";
  readonly name: string;
  readonly version: string;
  /** `source` for a source package. */
  readonly architecture: string;
  /** The source package that it is, or that it was built from. */
  readonly source: { readonly name: string; readonly version: string };
  /** For a source package, the .dsc comes last. Empty if `flaw` says why the package cannot be fetched. */
  readonly files: readonly UpstreamFile[];
  /** Why the package cannot be fetched. */
  readonly flaw?: string;
  /** The text of the stanza. */
  readonly stanza: string;
}

/** The largest index, in bytes: the maximum length of a string in V8. */
const maxIndexBytes = 2 ** 29 - 1024;
/** The memory of a decoder, in bytes. */
const maxDecoderBytes = 128 * 2 ** 20;
/** The number of packages in one index. Debian's largest has 65,000. */
const maxPackagesPerIndex = 500_000;

/** The forms of an index, in the order in which they are tried. A server's plain form is often missing. */
const forms: readonly (readonly [suffix: string, compression: Compression])[] = [
  [".xz", "xz"],
  [".gz", "gz"],
  ["", "none"],
  [".bz2", "bz2"],
];

/** The paths of all indices that a Release lists, without their suffixes, relative to its directory. */
export const indexPathsOf = ({ files }: UpstreamRelease): readonly string[] => [
  ...new Set(
    [...files.keys()].flatMap((path) => /^((?:.*\/)?(?:Packages|Sources))(?:\.(?:xz|gz|bz2))?$/.exec(path)?.[1] ?? []),
  ),
];

/**
 * Reads one index.
 * @param path as in `indexPathsOf`
 * @throws UnusableRepository; errors of reading the repository
 */
export async function readPackageIndex(
  files: RepositoryFiles,
  release: UpstreamRelease,
  path: string,
): Promise<readonly UpstreamPackage[]> {
  const text = await indexText(files, release, path);
  const parse = path.endsWith("Sources") ? sourceOf : binaryOf;
  const packages: UpstreamPackage[] = [];
  for (const stanza of stanzasOf(text)) {
    packages.push(parse(stanza));
    if (packages.length > maxPackagesPerIndex)
      throw new LimitExceeded(undefined, maxPackagesPerIndex, `the number of packages in ${path}`);
  }
  return packages;
}

/** One after the other: an array of all stanzas of a hostile index would not fit into the memory. */
function* stanzasOf(text: string): Iterable<string> {
  for (let start = 0; start < text.length; ) {
    const found = text.indexOf("\n\n", start);
    const end = found === -1 ? text.length : found;
    const stanza = text.slice(start, end);
    if (stanza.trim() !== "") yield stanza;
    start = end + 2;
  }
}

async function indexText(files: RepositoryFiles, release: UpstreamRelease, path: string): Promise<string> {
  const missing: string[] = [];
  // Decompressing takes longer than reading a local file.
  const order = files.localFile === undefined ? forms : forms.toSorted(([one], [two]) => one.length - two.length);
  for (const [suffix, compression] of order) {
    const listed = release.files.get(`${path}${suffix}`);
    if (listed === undefined) continue;
    const at = inDirectory(release.directory, `${path}${suffix}`);
    const bytes = await readListed(files, release, at, listed);
    if (bytes === undefined) missing.push(at);
    else return await plainText(bytes, compression, at, release.files.get(path)?.sizeBytes);
  }
  throw new UnusableRepository(
    "upstream/absent",
    missing.join(", ") || inDirectory(release.directory, path),
    "the Release lists this index, but it is not there",
  );
}

async function readListed(
  files: RepositoryFiles,
  { byHash }: UpstreamRelease,
  path: string,
  listed: ListedIndex,
): Promise<Buffer | undefined> {
  if (listed.sizeBytes > maxIndexBytes)
    throw new LimitExceeded(undefined, maxIndexBytes, `the size of ${path} in bytes`);
  const hashed = `${path.slice(0, path.lastIndexOf("/") + 1)}by-hash/SHA256/${listed.sha256}`;
  // A server may publish while it is read; by its hash, the older index stays available.
  const named = byHash && files.localFile === undefined ? [hashed, path] : [path];
  for (const each of named) {
    const bytes = await readWhole(files, each, listed.sizeBytes);
    if (bytes === undefined) continue;
    const digest = createHash("sha256").update(bytes).digest("hex");
    if (bytes.length === listed.sizeBytes && digest === listed.sha256) return bytes;
    throw new UnusableRepository(
      "upstream/mismatch",
      each,
      "its size or SHA256 differs from the one in the Release: try again later, in case it was just being published",
    );
  }
  return undefined;
}

async function plainText(
  bytes: Buffer,
  compression: Compression,
  path: string,
  listedBytes = maxIndexBytes,
): Promise<string> {
  if (compression === "none") return bytes.toString();
  // Decoders need room for one byte even if the index is empty.
  const limits = { maxDecompressedBytes: Math.max(1, Math.min(listedBytes, maxIndexBytes)), maxDecoderBytes };
  const chunks: Uint8Array[] = [];
  try {
    const content = (async function* () {
      yield bytes;
    })();
    for await (const chunk of decompress(compression, content, limits)) chunks.push(chunk);
  } catch (thrown) {
    if (!(thrown instanceof Malformed)) throw thrown;
    const most = listedBytes < maxIndexBytes ? "than the Release lists" : `than ${maxIndexBytes}`;
    const why = thrown.flaw === "limit" ? `it unpacks to more bytes ${most}` : messageOf(thrown);
    throw new UnusableRepository("upstream/malformed", path, why);
  }
  return Buffer.concat(chunks).toString();
}

const inDirectory = (directory: string, path: string): string => (directory === "" ? path : `${directory}/${path}`);

const fieldPattern = (name: string): RegExp => new RegExp(`^${name}:[ \\t]*(.*)$`, "im");
const patterns = {
  package: fieldPattern("Package"),
  version: fieldPattern("Version"),
  architecture: fieldPattern("Architecture"),
  source: fieldPattern("Source"),
  filename: fieldPattern("Filename"),
  size: fieldPattern("Size"),
  sha256: fieldPattern("SHA256"),
  directory: fieldPattern("Directory"),
} as const;
const checksums = /^Checksums-Sha256:[ \t]*\n((?:[ \t].*\n?)*)/im;

const fieldIn = (stanza: string, name: keyof typeof patterns): string => patterns[name].exec(stanza)?.[1]?.trim() ?? "";

function binaryOf(stanza: string): UpstreamPackage {
  const [name, version] = [fieldIn(stanza, "package"), fieldIn(stanza, "version")];
  const [, source = name, sourceVersion = version] =
    /^([^\s()]+)(?:\s*\(([^()]+)\))?/.exec(fieldIn(stanza, "source")) ?? [];
  const common = {
    kind: "binary",
    name,
    version,
    architecture: fieldIn(stanza, "architecture"),
    source: { name: source, version: sourceVersion },
    stanza,
  } as const;
  const file = fileOf(fieldIn(stanza, "filename"), fieldIn(stanza, "size"), fieldIn(stanza, "sha256"));
  if (typeof file === "string") return { ...common, files: [], flaw: file };
  if (!isBinaryPackageName(file.path)) return { ...common, files: [], flaw: "its Filename is not that of a .deb" };
  return { ...common, files: [file] };
}

function sourceOf(stanza: string): UpstreamPackage {
  const [name, version] = [fieldIn(stanza, "package"), fieldIn(stanza, "version")];
  const common = { kind: "source", name, version, architecture: "source", source: { name, version }, stanza } as const;
  const parent = fieldIn(stanza, "directory");
  const files: UpstreamFile[] = [];
  for (const { path, sizeBytes, sha256 } of listedFiles(checksums.exec(stanza)?.[1] ?? "")) {
    const file = fileOf(parent === "" ? path : `${parent}/${path}`, String(sizeBytes), sha256);
    if (typeof file === "string") return { ...common, files: [], flaw: file };
    files.push(file);
  }
  const isDsc = ({ path }: UpstreamFile): boolean => path.endsWith(".dsc");
  if (files.filter(isDsc).length !== 1)
    return { ...common, files: [], flaw: "the index lists no .dsc with a SHA256 for it" };
  return { ...common, files: files.toSorted((one, two) => Number(isDsc(one)) - Number(isDsc(two))) };
}

/** @returns the reason why the file cannot be fetched, or the file */
function fileOf(rawPath: string, size: string, sha256: string): UpstreamFile | string {
  const path = rawPath.replace(/^(?:\.\/+)+/, "").replaceAll(/\/(?:\.\/+)+/g, "/");
  if (path === "" || tryParseTreePath(path) === undefined)
    return `its path ${JSON.stringify(rawPath.slice(0, 200))} is not inside the repository`;
  if (!/^\d{1,15}$/.test(size)) return "the index gives no valid Size for it";
  if (!/^[0-9a-f]{64}$/i.test(sha256)) return "the index gives no SHA256 for it";
  return { path, sizeBytes: Number(size), sha256: sha256.toLowerCase() };
}
