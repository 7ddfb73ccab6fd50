// How long a package's stanza is in an index: a bound, known before it is rendered.
import { beyondText } from "../../base/errors.ts";
import { formatStanza } from "../../debian/deb822.ts";
import { digestAlgorithms } from "../../debian/digests.ts";
import { beyondLimit } from "../../debian/malformed.ts";
import type { Stanza } from "../../debian/stanza.ts";
import type { InspectLimits } from "./inspect-limits.ts";
import type { Rejection, SoundInspection, SourcePart } from "./inspection.ts";

/** apt 2.6 fails over an index with a stanza of 1 MiB, and apt 3 does not find what stands behind one. */
const aptStanzaBytes = 2 ** 20;
/** What no bound below counts, in bytes: the longest path inside a tree, in Filename or Directory, and a field's name. */
const pathBytes = 4096;
/** Whatever the configuration says, no stanza is longer. */
const mostStanzaBytes = aptStanzaBytes - pathBytes;

/** Size, all digests and the digest of a description, each with its field's name. */
const measuredBytes = 512;
/** The name of a list's field, and of a list's line its blanks, its size and its line feed. */
const listBytes = 32;
const listLineBytes = 24;
const digestDigits = { md5: 32, sha1: 40, sha256: 64, sha512: 128 } as const;

/** Whoever checks an inspection makes a finding of it too, mostly in the same thread: its stanza is measured once. */
const measured = new WeakMap<Stanza, number>();

/**
 * How long a stanza is at most, whatever digests are configured, but for the path in Filename or Directory. In bytes.
 * Equal stanzas and names of parts give equal numbers on every machine.
 */
export function stanzaBytesOf(
  inspection:
    | { readonly kind: "binary"; readonly control: Stanza }
    | { readonly kind: "source"; readonly dsc: Stanza; readonly parts: readonly SourcePart[] },
): number {
  const stanza = inspection.kind === "binary" ? inspection.control : inspection.dsc;
  const bytes = measured.get(stanza) ?? measure(inspection);
  measured.set(stanza, bytes);
  return bytes;
}

function measure(inspection: Parameters<typeof stanzaBytesOf>[0]): number {
  if (inspection.kind === "binary") return Buffer.byteLength(formatStanza(inspection.control)) + measuredBytes;
  const { dsc, parts } = inspection;
  const own = dsc.filter(([name]) => !/^(files|checksums-.*)$/i.test(name));
  // The .dsc itself stands in each list, under a name that is not known here: pathBytes has room for it.
  const names = parts.reduce((sum, { name }) => sum + Buffer.byteLength(name) + listLineBytes, listLineBytes);
  const lists = digestAlgorithms.map((algorithm) => listBytes + names + (parts.length + 1) * digestDigits[algorithm]);
  return lists.reduce((sum, bytes) => sum + bytes, Buffer.byteLength(formatStanza(own)));
}

const what = "the size of its stanza in an index";

/** The limit on the stanzas of one kind of package: its name and value. */
const stanzaLimitOf = (kind: "binary" | "source", limits: StanzaByteLimits) => {
  const limit = kind === "binary" ? "maxStanzaBytes" : "maxSourceStanzaBytes";
  return { limit, allowed: Math.min(limits[limit], mostStanzaBytes) };
};

export type StanzaByteLimits = Pick<InspectLimits, "maxStanzaBytes" | "maxSourceStanzaBytes">;

/** Why an index may not have this package; undefined for one that it may have. */
export function stanzaRejection(
  { kind, stanzaBytes }: { readonly kind: "binary" | "source"; readonly stanzaBytes: number },
  limits: StanzaByteLimits,
): Rejection | undefined {
  const { limit, allowed } = stanzaLimitOf(kind, limits);
  if (stanzaBytes <= allowed) return undefined;
  return { kind: "rejected", code: "limit", text: beyondText(limit, allowed, what) };
}

/** @throws Malformed `limit` for a package whose stanza in an index could be longer than is allowed */
export function checkStanzaBytes(inspection: SoundInspection, limits: StanzaByteLimits): void {
  if (inspection.kind === "part") return;
  const { limit, allowed } = stanzaLimitOf(inspection.kind, limits);
  if (stanzaBytesOf(inspection) > allowed) throw beyondLimit(limit, allowed, what);
}
