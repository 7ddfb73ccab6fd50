// The files in an index or a Release, with their sizes and digests.

export interface NamedFile {
  /**
   * Relative to the root of the repository in an index, and to the suite in a Release. It is unchecked: it may contain
   * `..`.
   */
  readonly path: string;
  readonly sizeBytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

const filename = /^Filename:[ \t]*(.+)$/m;
const size = /^Size:[ \t]*(.*)$/m;
const sha256 = /^SHA256:[ \t]*(.+)$/m;
const directory = /^Directory:[ \t]*(.+)$/m;
const checksums = /^Checksums-Sha256:[ \t]*\n((?: .*\n?)*)/m;

/** Skips files without SHA256, which our own indices do not contain. @param index the text of Packages or Sources */
export function* namedFiles(index: string): Iterable<NamedFile> {
  for (const stanza of index.split(/\n\n+/)) {
    const path = filename.exec(stanza)?.[1];
    const digest = path && sha256.exec(stanza)?.[1];
    if (path && digest) yield { path, sizeBytes: Number(size.exec(stanza)?.[1]), sha256: digest };
    const parent = directory.exec(stanza)?.[1];
    if (parent === undefined) continue;
    for (const part of listedFiles(checksums.exec(stanza)?.[1] ?? "")) {
      yield parent === "." ? part : { ...part, path: `${parent}/${part.path}` };
    }
  }
}

/** @param list the value of Checksums-Sha256, or of SHA256 in a Release */
export function* listedFiles(list: string): Iterable<NamedFile> {
  for (const [, digest = "", bytes, path = ""] of list.matchAll(/^ *([0-9a-f]{64}) +(\d+) +(\S+)$/gm)) {
    yield { path, sizeBytes: Number(bytes), sha256: digest };
  }
}
