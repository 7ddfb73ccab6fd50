// Puts an index together from segments: sizes, digests and the order of its parts, without holding its bytes.
import type { Hash } from "node:crypto";
import { createHash } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import type { DigestAlgorithm } from "../debian/digests.ts";
import { IndexError } from "./fields.ts";
import type { XzBlockSizes } from "./xz-stitch.ts";
import { paddedBytes, xzStreamEnd, xzStreamHeader } from "./xz-stitch.ts";

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
  readonly segmentIds: readonly string[];
  /** By form, the hash states after the form's opening bytes and after each segment. */
  readonly states: Readonly<Record<IndexForm, readonly HashStates[]>>;
}

type HashStates = readonly Hash[];

/** The event loop gets its turn after so many bytes: some 5 ms of hashing. */
const bytesBetweenTurns = 4 * 1024 * 1024;

/** A gzip member of nothing, for an index of no segments: an empty file would be no gzip file. */
const emptyGzipMember = Buffer.from("1f8b080000000000000303000000000000000000", "hex");

/**
 * @param segments in the order of the index
 * @param read what it gives is looked at before the next is read, and not held
 * @param previous an earlier assembly of the same index: what both begin with is not read again
 * @throws signal.reason when aborted; IndexError when a segment has another size than `segments` says
 */
export async function assemble(
  segments: readonly SegmentSizes[],
  read: SegmentReader,
  algorithms: readonly DigestAlgorithm[],
  previous: AssembledIndex | undefined,
  signal: AbortSignal,
): Promise<AssembledIndex> {
  const known = previous?.algorithms.join() === algorithms.join() ? previous : undefined;
  const different = segments.findIndex((segment, index) => segment.id !== known?.segmentIds[index]);
  const same = known === undefined ? 0 : different === -1 ? segments.length : different;
  const assembleForm = async (form: IndexForm): Promise<{ form: AssembledForm; states: readonly HashStates[] }> => {
    const { opening, closing, sizeOf } = framing(form, segments);
    const states = known?.states[form].slice(0, same + 1) ?? [
      advance(
        algorithms.map((name) => createHash(name)),
        opening,
      ),
    ];
    let unyielded = 0;
    for (const segment of segments.slice(same)) {
      const bytes = read(segment.id, form);
      if (bytes.length !== sizeOf(segment)) throw new IndexError(`segment ${segment.id} is not as long as it was`);
      states.push(advance(states.at(-1) ?? [], bytes));
      unyielded += bytes.length;
      if (unyielded < bytesBetweenTurns) continue;
      unyielded = 0;
      await setImmediate(undefined, { signal });
    }
    const final = advance(states.at(-1) ?? [], closing);
    const parts = partsOf(segments, form);
    return {
      form: {
        sizeBytes: parts.reduce((sum, part) => sum + part.sizeBytes, 0),
        digests: Object.fromEntries(algorithms.map((name, index) => [name, final[index]?.digest("hex")])),
        parts,
      },
      states,
    };
  };
  const plain = await assembleForm("plain");
  const gz = await assembleForm("gz");
  const xz = await assembleForm("xz");
  return {
    forms: { plain: plain.form, gz: gz.form, xz: xz.form },
    algorithms,
    segmentIds: segments.map((segment) => segment.id),
    states: { plain: plain.states, gz: gz.states, xz: xz.states },
  };
}

/** The parts of one form of an index that is made of these segments, in order. */
export function partsOf(segments: readonly SegmentSizes[], form: IndexForm): readonly Part[] {
  const { opening, closing, sizeOf } = framing(form, segments);
  return [
    literal(opening),
    ...segments.map((segment) => ({ kind: "segment", id: segment.id, sizeBytes: sizeOf(segment) }) as const),
    literal(closing),
  ].filter((part) => part.sizeBytes > 0);
}

interface Framing {
  readonly opening: Uint8Array;
  readonly closing: Uint8Array;
  readonly sizeOf: (segment: SegmentSizes) => number;
}

const nothing = new Uint8Array(0);

function framing(form: IndexForm, segments: readonly SegmentSizes[]): Framing {
  switch (form) {
    case "plain":
      return { opening: nothing, closing: nothing, sizeOf: (segment) => segment.uncompressedBytes };
    case "gz":
      return {
        opening: nothing,
        closing: segments.length === 0 ? emptyGzipMember : nothing,
        sizeOf: (segment) => segment.gzBytes,
      };
    case "xz":
      return { opening: xzStreamHeader, closing: xzStreamEnd(segments), sizeOf: paddedBytes };
    default:
      return form satisfies never;
  }
}

const literal = (bytes: Uint8Array): Part => ({ kind: "literal", bytes, sizeBytes: bytes.length });

const advance = (states: HashStates, bytes: Uint8Array): HashStates =>
  states.map((state) => state.copy().update(bytes));
