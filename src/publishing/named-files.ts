// The files that an index names, with their sizes and digests.

export interface NamedFile {
  /** Below the repository's root. */
  readonly path: string;
  readonly sizeBytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

const field = (stanza: string, name: string): string | undefined =>
  new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(stanza)?.[1];

/** @param index the text of Packages or Sources; what has no SHA256 is passed over */
export function* namedFiles(index: string): Iterable<NamedFile> {
  for (const stanza of index.split(/\n\n+/)) {
    const filename = field(stanza, "Filename");
    const sha256 = field(stanza, "SHA256");
    if (filename !== undefined && sha256 !== undefined) {
      yield { path: filename, sizeBytes: Number(field(stanza, "Size")), sha256 };
    }
    const directory = field(stanza, "Directory");
    const [, list = ""] = /^Checksums-Sha256:[ \t]*\n((?: .*\n?)*)/m.exec(stanza) ?? [];
    if (directory === undefined) continue;
    for (const [, digest = "", size, name] of list.matchAll(/^ ([0-9a-f]{64}) +(\d+) (\S+)$/gm)) {
      yield {
        path: directory === "." ? String(name) : `${directory}/${name}`,
        sizeBytes: Number(size),
        sha256: digest,
      };
    }
  }
}
