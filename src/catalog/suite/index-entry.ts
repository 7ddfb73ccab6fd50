// One entry of an index: a package with its component and its position in the order.
import { hash } from "node:crypto";
import type { Architecture, Component, TreePath } from "../../base/names.ts";
import type { Digests } from "../../debian/digests.ts";
import type { Stanza } from "../../debian/stanza.ts";
import { isKnownTime } from "../../storage/link-times.ts";
import type { FileEntry } from "../../storage/tree.ts";

interface IndexEntryBase {
  readonly path: TreePath;
  /** The time of the first link, in ms since the epoch; determines the order (see indices/order.ts). */
  readonly linkedAtMs: number;
  /** Lower-case hex SHA256 of path, content and stanza. */
  readonly identity: string;
  readonly component: Component;
  readonly package: string;
  /** A Debian version: see debian/version.ts. */
  readonly version: string;
  readonly entry: FileEntry;
  /** The key in the inspection store of the inspection with the stanza. */
  readonly inspectionKey: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** Identifies the stanza and digests that the index shows: equal bytes may have different entry metadata. */
  readonly stanzaKey: string;
  /** The maximum length of its stanza in bytes: see stanza-bytes.ts. */
  readonly stanzaBytes: number;
  /** Fields that replace the package's own in the index; undefined if there are none. */
  readonly overrides?: Stanza;
}

/** A package in a Packages index. */
export interface BinaryIndexEntry extends IndexEntryBase {
  readonly kind: "binary";
  /** The source package, e.g. `apt_2.6.1` without an epoch; undefined if it has the package's own name and version. */
  readonly source: string | undefined;
  /** The architecture of the package; packages for `all` are listed in every architecture's index. */
  readonly architecture: Architecture;
  /** The architecture variant that it is built for; undefined if it runs on every machine of the architecture. */
  readonly variant: Architecture | undefined;
  readonly builtAtSeconds: number;
  /** Equal for all versions of a package with the same description; undefined if it has no description. */
  readonly descriptionKey: string | undefined;
  /** Whether it is a .udeb, which only the index of debian-installer lists. */
  readonly forInstaller: boolean;
}

/** One file of a source package, in the directory of its .dsc. */
export interface SourceIndexEntryPart {
  readonly path: TreePath;
  readonly entry: FileEntry;
  readonly sizeBytes: number;
  readonly digests: Digests;
}

/** A package in a Sources index. */
export interface SourceIndexEntry extends IndexEntryBase {
  readonly kind: "source";
  readonly parts: readonly SourceIndexEntryPart[];
}

export type IndexEntry = BinaryIndexEntry | SourceIndexEntry;

/** Component, package, version, architecture and variant: a suite lists one entry for each combination. */
export function uniqueKeyOf(entry: IndexEntry): string {
  const kind =
    entry.kind === "source"
      ? "source"
      : `${entry.variant ?? entry.architecture} ${entry.forInstaller ? "udeb" : "deb"}`;
  return [entry.component, entry.package, entry.version, kind].join(" ");
}

/** Orders entries by their first links, unknown times last, then by path. It is the same on every machine. */
export function firstLinkedFirst(a: IndexEntry, b: IndexEntry): number {
  const [isKnown, isOtherKnown] = [isKnownTime(a.linkedAtMs), isKnownTime(b.linkedAtMs)];
  if (isKnown !== isOtherKnown) return isKnown ? -1 : 1;
  if (isKnown && a.linkedAtMs !== b.linkedAtMs) return a.linkedAtMs - b.linkedAtMs;
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0;
}

/** The identity of an entry. @param digests of its files and stanza */
export function entryIdentityOf(path: TreePath, ...digests: readonly string[]): string {
  return Buffer.from(entryIdentityBytesOf(path, digests), "latin1").toString("hex");
}

/** The bytes of an identity, one character for each byte, which needs less memory than hex digits. */
export function entryIdentityBytesOf(path: TreePath, digests: readonly string[]): string {
  return hash("sha256", [path, ...digests].join("\0"), "binary");
}
