// Assembles an index from segments: its sizes, digests and parts, without its bytes in memory.
import type { Hash } from "node:crypto";
import { createHash } from "node:crypto";
import type { YieldFunction } from "../base/yield-to-event-loop.ts";
import type { DigestAlgorithm } from "../debian/digests.ts";
import type { XzBlockSizes } from "./compression/xz-stitch.ts";
import { paddedBytes, xzStreamEnd, xzStreamHeader } from "./compression/xz-stitch.ts";
import { IndexError } from "./fields.ts";

/** The forms of an index, with the suffix of their file names. */
export const indexForms = { plain: "", gz: ".gz", xz: ".xz" } as const;
export type IndexForm = keyof typeof indexForms;

/** The properties of a compressed segment that the assembly of an index needs. */
export interface SegmentSizes extends XzBlockSizes {
  /** Identifies the bytes: equal ids mean equal bytes in every form. */
  readonly id: string;
  readonly gzBytes: number;
  /** The number of line feeds. */
  readonly lines: number;
}

/** A segment that is being rendered and compressed. */
export interface PendingSegment {
  readonly id: string;
  /** The number of plain bytes; resolves when they can be read. */
  readonly rendered: Promise<number>;
  /** Resolves when all forms can be read. */
  readonly made: Promise<SegmentSizes>;
}

/** Reads the bytes of a segment in one form from their store. */
export type SegmentReader = (segmentId: string, form: IndexForm) => Uint8Array;

/** A part of an index file: a stored segment, or a few bytes of its own. */
export type Part =
  | { readonly kind: "segment"; readonly id: string; readonly sizeBytes: number }
  | { readonly kind: "literal"; readonly bytes: Uint8Array; readonly sizeBytes: number };

/** One form of an index that can be listed and served. */
export interface AssembledForm {
  readonly sizeBytes: number;
  readonly digests: { readonly [Algorithm in DigestAlgorithm]?: string };
  /** Concatenated, they are the file. */
  readonly parts: readonly Part[];
}

/** An index in all forms, with the hash states that let the next one be hashed from its first difference on. */
export interface AssembledIndex {
  readonly forms: Readonly<Record<IndexForm, AssembledForm>>;
  readonly algorithms: readonly DigestAlgorithm[];
  readonly segments: readonly SegmentSizes[];
  /** By form, the hash states after the first bytes of the form and after each segment. */
  readonly states: Readonly<Record<IndexForm, readonly HashStates[]>>;
}

type HashStates = readonly Hash[];

/** An empty gzip member, for an index without segments: an empty file is not valid gzip. */
const emptyGzipMember = Buffer.from("1f8b080000000000000303000000000000000000", "hex");

/**
 * Assembles an index. Hashes the plain form while segments are still being compressed: after a change in the middle of
 * a large index, hashing the rest takes as long as compressing the change.
 * @param pending the segments in the order of the index
 * @param read the result is used before the next call, and not kept
 * @param previous an earlier assembly of the same index: common first segments are not read again
 * @param yieldNow awaited after each segment
 * @throws IndexError if a segment does not have the expected size; what `yieldNow` and making a segment throw
 */
export async function assemble(
  pending: readonly (SegmentSizes | PendingSegment)[],
  read: SegmentReader,
  algorithms: readonly DigestAlgorithm[],
  previous: AssembledIndex | undefined,
  yieldNow: YieldFunction,
): Promise<AssembledIndex> {
  const known = previous?.algorithms.join() === algorithms.join() ? previous : undefined;
  const different = pending.findIndex(({ id }, index) => id !== known?.segments[index]?.id);
  const same = known === undefined ? 0 : different === -1 ? pending.length : different;
  const hashed = async (form: IndexForm): Promise<readonly HashStates[]> => {
    const begun = algorithms.map((name) => createHash(name));
    const states = known?.states[form].slice(0, same + 1) ?? [advance(begun, openings[form])];
    for (const segment of pending.slice(same)) {
      const isAhead = form === "plain" && "rendered" in segment;
      const sizeBytes = isAhead ? await segment.rendered : sizeIn(form, await sizesOf(segment));
      const bytes = read(segment.id, form);
      if (bytes.length !== sizeBytes) throw new IndexError(`segment ${segment.id} is not as long as it was`);
      states.push(advance(states.at(-1) ?? [], bytes));
      await yieldNow();
    }
    return states;
  };
  const states = { plain: await hashed("plain"), gz: await hashed("gz"), xz: await hashed("xz") };
  const segments = await Promise.all(pending.map(sizesOf));
  const assembled = (form: IndexForm): AssembledForm => {
    const closing = closingOf(form, segments);
    const final = advance(states[form].at(-1) ?? [], closing);
    const parts = partsBetween(segments, form, closing);
    return {
      sizeBytes: parts.reduce((sum, part) => sum + part.sizeBytes, 0),
      digests: Object.fromEntries(algorithms.map((name, index) => [name, final[index]?.digest("hex")])),
      parts,
    };
  };
  const forms = { plain: assembled("plain"), gz: assembled("gz"), xz: assembled("xz") };
  return { forms, algorithms, segments, states };
}

const sizesOf = async (segment: SegmentSizes | PendingSegment): Promise<SegmentSizes> =>
  "made" in segment ? await segment.made : segment;

/** The parts of one form of an index with these segments, in order. */
export const partsOf = (segments: readonly SegmentSizes[], form: IndexForm): readonly Part[] =>
  partsBetween(segments, form, closingOf(form, segments));

function partsBetween(segments: readonly SegmentSizes[], form: IndexForm, closing: Uint8Array): readonly Part[] {
  return [
    literal(openings[form]),
    ...segments.map((segment) => ({ kind: "segment", id: segment.id, sizeBytes: sizeIn(form, segment) }) as const),
    literal(closing),
  ].filter((part) => part.sizeBytes > 0);
}

const nothing = new Uint8Array(0);

const openings: Readonly<Record<IndexForm, Uint8Array>> = { plain: nothing, gz: nothing, xz: xzStreamHeader };

function closingOf(form: IndexForm, segments: readonly SegmentSizes[]): Uint8Array {
  if (form === "xz") return xzStreamEnd(segments);
  return form === "gz" && segments.length === 0 ? emptyGzipMember : nothing;
}

function sizeIn(form: IndexForm, segment: SegmentSizes): number {
  switch (form) {
    case "plain":
      return segment.uncompressedBytes;
    case "gz":
      return segment.gzBytes;
    case "xz":
      return paddedBytes(segment);
    default:
      return form satisfies never;
  }
}

const literal = (bytes: Uint8Array): Part => ({ kind: "literal", bytes, sizeBytes: bytes.length });

const advance = (states: HashStates, bytes: Uint8Array): HashStates =>
  states.map((state) => state.copy().update(bytes));
