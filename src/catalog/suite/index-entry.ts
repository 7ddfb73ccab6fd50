// One entry of an index: a package that a suite holds, placed and ordered.
import { createHash } from "node:crypto";
import type { Architecture, Component, TreePath } from "../../base/names.ts";
import type { Digests } from "../../debian/digests.ts";
import type { Stanza } from "../../debian/stanza.ts";
import { isKnownTime } from "../../storage/link-times.ts";
import type { FileEntry } from "../../storage/tree.ts";

interface IndexEntryBase {
  readonly path: TreePath;
  /** Orders the item: see indices/order.ts. In ms since the epoch. */
  readonly linkedAtMs: number;
  /** Lower-case hex SHA256 over path, content and what the index tells of it. */
  readonly identity: string;
  readonly component: Component;
  readonly package: string;
  /** As Debian orders versions: see debian/version.ts. */
  readonly version: string;
  readonly entry: FileEntry;
  /** The ledger's name of the inspection that holds the stanza. */
  readonly inspectionKey: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** Names what the index tells of the file: the same bytes may have been described in other words. */
  readonly stanzaKey: string;
  /** How long its stanza is at most, in bytes: see stanza-bytes.ts. */
  readonly stanzaBytes: number;
  /** Fields that the index is to have in place of the package's own; undefined where there are none. */
  readonly overrides?: Stanza;
}

export interface BinaryIndexEntry extends IndexEntryBase {
  readonly kind: "binary";
  /** The source package, e.g. `apt_2.6.1` without an epoch; undefined where it has the package's own name and version. */
  readonly source: string | undefined;
  /** The package's own: `all` is listed in every architecture's index. */
  readonly architecture: Architecture;
  /** The variant of its architecture that it is built for; undefined: every machine of the architecture. */
  readonly variant: Architecture | undefined;
  readonly builtAtSeconds: number;
  /** Equal in packages of one name and description, whatever their version; undefined where it has none. */
  readonly descriptionKey: string | undefined;
  /** A .udeb: it stands in debian-installer's index, and in no other. */
  readonly forInstaller: boolean;
}

/** One file of a source package, found beside its .dsc. */
export interface SourceIndexEntryPart {
  readonly path: TreePath;
  readonly entry: FileEntry;
  readonly sizeBytes: number;
  readonly digests: Digests;
}

export interface SourceIndexEntry extends IndexEntryBase {
  readonly kind: "source";
  readonly parts: readonly SourceIndexEntryPart[];
}

export type IndexEntry = BinaryIndexEntry | SourceIndexEntry;

/** A suite takes one item of each key: a package, version, architecture and variant in a component. */
export function uniqueKeyOf(item: IndexEntry): string {
  const kind =
    item.kind === "source" ? "source" : `${item.variant ?? item.architecture} ${item.forInstaller ? "udeb" : "deb"}`;
  return [item.component, item.package, item.version, kind].join(" ");
}

/** Orders items by their first links, unknown times last, then by path. Alike on every machine. */
export function firstLinkedFirst(a: IndexEntry, b: IndexEntry): number {
  const [isKnown, isOtherKnown] = [isKnownTime(a.linkedAtMs), isKnownTime(b.linkedAtMs)];
  if (isKnown !== isOtherKnown) return isKnown ? -1 : 1;
  if (isKnown && a.linkedAtMs !== b.linkedAtMs) return a.linkedAtMs - b.linkedAtMs;
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0;
}

/** The identity of a path under which lies what these digests name. */
export function entryIdentityOf(path: TreePath, ...digests: readonly string[]): string {
  return createHash("sha256")
    .update([path, ...digests].join("\0"))
    .digest("hex");
}
