// Puts an index together from segments: sizes, digests and the order of its parts, without holding its bytes.
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

/** What is needed of a compressed segment to place it. */
export interface SegmentSizes extends XzBlockSizes {
  /** Names the segment's bytes: equal ids, equal bytes in every form. */
  readonly id: string;
  readonly gzBytes: number;
  /** How many line feeds it holds. */
  readonly lines: number;
}

/** A segment that is being rendered and compressed. */
export interface SegmentInMaking {
  readonly id: string;
  /** How many plain bytes it has; resolves when they can be read. */
  readonly rendered: Promise<number>;
  /** Resolves when all its forms can be read. */
  readonly made: Promise<SegmentSizes>;
}

/** Reads one segment's bytes in one form, from wherever they are kept. */
export type SegmentReader = (segmentId: string, form: IndexForm) => Uint8Array;

/** A run of an index's bytes: a stored segment's, or a few of the index's own. */
export type Part =
  | { readonly kind: "segment"; readonly id: string; readonly sizeBytes: number }
  | { readonly kind: "literal"; readonly bytes: Uint8Array; readonly sizeBytes: number };

/** One form of an index, ready to be listed and served. */
export interface AssembledForm {
  readonly sizeBytes: number;
  readonly digests: { readonly [Algorithm in DigestAlgorithm]?: string };
  /** In order; together they are the file. */
  readonly parts: readonly Part[];
}

/** An index in all its forms, and what lets the next one be hashed from its first difference on. */
export interface AssembledIndex {
  readonly forms: Readonly<Record<IndexForm, AssembledForm>>;
  readonly algorithms: readonly DigestAlgorithm[];
  readonly segments: readonly SegmentSizes[];
  /** By form, the hash states after the form's opening bytes and after each segment. */
  readonly states: Readonly<Record<IndexForm, readonly HashStates[]>>;
}

type HashStates = readonly Hash[];

/** A gzip member of nothing, for an index of no segments: an empty file would be no gzip file. */
const emptyGzipMember = Buffer.from("1f8b080000000000000303000000000000000000", "hex");

/**
 * Hashes the plain form while segments of it are still being compressed: of a change in the middle of a large index,
 * hashing what follows takes as long as compressing what changed.
 * @param asked in the order of the index
 * @param read what it gives is looked at before the next is read, and not held
 * @param previous an earlier assembly of the same index: what both begin with is not read again
 * @param yieldNow awaited after each segment
 * @throws what giving way throws; IndexError when a segment has another size than was said; what making one throws
 */
export async function assemble(
  asked: readonly (SegmentSizes | SegmentInMaking)[],
  read: SegmentReader,
  algorithms: readonly DigestAlgorithm[],
  previous: AssembledIndex | undefined,
  yieldNow: YieldFunction,
): Promise<AssembledIndex> {
  const known = previous?.algorithms.join() === algorithms.join() ? previous : undefined;
  const different = asked.findIndex(({ id }, index) => id !== known?.segments[index]?.id);
  const same = known === undefined ? 0 : different === -1 ? asked.length : different;
  const hashed = async (form: IndexForm): Promise<readonly HashStates[]> => {
    const begun = algorithms.map((name) => createHash(name));
    const states = known?.states[form].slice(0, same + 1) ?? [advance(begun, openings[form])];
    for (const segment of asked.slice(same)) {
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
  const segments = await Promise.all(asked.map(sizesOf));
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

const sizesOf = async (segment: SegmentSizes | SegmentInMaking): Promise<SegmentSizes> =>
  "made" in segment ? await segment.made : segment;

/** The parts of one form of an index that is made of these segments, in order. */
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
