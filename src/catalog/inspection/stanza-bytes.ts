// An upper bound for the length of a package's stanza in an index, which can be computed before rendering it.

import { limitMessage } from "../../base/errors.ts";
import { formatStanza } from "../../debian/deb822.ts";
import { digestAlgorithms, digestDigits } from "../../debian/digests.ts";
import { limitFlaw } from "../../debian/malformed.ts";
import type { Stanza } from "../../debian/stanza.ts";
import type { InspectLimits } from "./inspect-limits.ts";
import type { Rejection, SoundInspection, SourcePart } from "./inspection.ts";

/** apt 2.6 rejects an index with a stanza of 1 MiB, and apt 3 ignores the stanzas that follow it. */
const aptStanzaBytes = 2 ** 20;
/**
 * Allowance in bytes for everything that the bound does not count: the longest path of a tree (in Filename or
 * Directory) and the name of its field.
 */
const pathBytes = 4096;
/** The absolute limit for a stanza, whatever the configuration says. */
const maxPossibleStanzaBytes = aptStanzaBytes - pathBytes;

/** Size, all digests and Description-md5, with the names of their fields. */
const measuredBytes = 512;
/** The name of a Files or Checksums field; and for each of its lines the spaces, the size and the line feed. */
const listBytes = 32;
const listLineBytes = 24;

/** A cache: an inspection is checked and then turned into a finding, mostly in the same thread. */
const measured = new WeakMap<Stanza, number>();

/**
 * The maximum length in bytes of a package's stanza without the path in Filename or Directory, whatever digests are
 * configured. It depends on the stanza and the names of the parts only, so it is the same on every machine.
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
  // Each list contains the .dsc itself too. Its name is not known here; `pathBytes` covers it.
  const names = parts.reduce((sum, { name }) => sum + Buffer.byteLength(name) + listLineBytes, listLineBytes);
  const lists = digestAlgorithms.map((algorithm) => listBytes + names + (parts.length + 1) * digestDigits[algorithm]);
  return lists.reduce((sum, bytes) => sum + bytes, Buffer.byteLength(formatStanza(own)));
}

const what = "the size of its stanza in an index";

/** The name and value of the limit for one kind of package. */
const stanzaLimitOf = (kind: "binary" | "source", limits: StanzaByteLimits) => {
  const limit = kind === "binary" ? "maxStanzaBytes" : "maxSourceStanzaBytes";
  return { limit, allowed: Math.min(limits[limit], maxPossibleStanzaBytes) };
};

export type StanzaByteLimits = Pick<InspectLimits, "maxStanzaBytes" | "maxSourceStanzaBytes">;

/** @returns the reason why an index cannot list the package; undefined if it can */
export function stanzaRejection(
  { kind, stanzaBytes }: { readonly kind: "binary" | "source"; readonly stanzaBytes: number },
  limits: StanzaByteLimits,
): Rejection | undefined {
  const { limit, allowed } = stanzaLimitOf(kind, limits);
  if (stanzaBytes <= allowed) return undefined;
  return { kind: "rejected", code: "limit", text: limitMessage(limit, allowed, what) };
}

/** @throws Malformed `limit` for a package whose stanza may exceed the limit */
export function checkStanzaBytes(inspection: SoundInspection, limits: StanzaByteLimits): void {
  if (inspection.kind === "part") return;
  const { limit, allowed } = stanzaLimitOf(inspection.kind, limits);
  if (stanzaBytesOf(inspection) > allowed) throw limitFlaw(limit, allowed, what);
}
