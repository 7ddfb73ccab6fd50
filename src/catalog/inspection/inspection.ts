// The result of inspecting one file: everything that an index needs, or the reason why no index lists it.
import type { Digests } from "../../debian/digests.ts";
import type { Flaw } from "../../debian/malformed.ts";
import type { Stanza } from "../../debian/stanza.ts";

interface Measured {
  readonly sizeBytes: number;
  readonly digests: Digests;
}

/** The inspection of a .deb or .udeb, with the control stanza from its control.tar. */
export interface BinaryInspection extends Measured {
  readonly kind: "binary";
  readonly control: Stanza;
  /** The time in the first member's ar header, in seconds since the epoch: a property of the bytes. */
  readonly builtAtSeconds: number;
  /** The cap of the file list that the uploader has provided. A cap gives access, so it must not be shown. */
  readonly contents?: string;
  /** The compressed list of its files, read from the bytes. It is stored separately from the inspection. */
  readonly fileList?: Uint8Array;
}

/** One file that a .dsc lists. */
export interface SourcePart {
  readonly name: string;
  readonly sizeBytes: number;
  /** The digests in the .dsc, by algorithm; at least one. */
  readonly digests: { readonly [algorithm: string]: string };
}

/** The inspection of a .dsc: its stanza (without the OpenPGP armour) and the files that must be beside it. */
export interface SourceInspection extends Measured {
  readonly kind: "source";
  readonly dsc: Stanza;
  readonly parts: readonly SourcePart[];
}

/** The inspection of a file that belongs to a source package: only its size and digests are needed. */
export interface PartInspection extends Measured {
  readonly kind: "part";
}

/** The reason why a file is in no index. `code` is stable, and a label of metrics; `text` contains no secrets. */
export interface Rejection {
  readonly kind: "rejected";
  readonly code: RejectCode;
  readonly text: string;
}

/** A source package that waits for some of its files. It is not an error; the index lists it once it is complete. */
export interface Pending {
  readonly kind: "pending";
  /** The names of the missing files, in the order of the .dsc. */
  readonly missing: readonly string[];
}

export type RejectCode =
  | Flaw
  | "wrong-place"
  | "mismatch"
  | "conflict"
  | "not-owner"
  | "incomplete"
  | "absent"
  | "bad-name"
  | "not-a-file"
  | "unreadable";

export type Inspection = BinaryInspection | SourceInspection | PartInspection | Rejection;

/** An inspection that is not a rejection. */
export type SoundInspection = Exclude<Inspection, Rejection>;

/** The kinds of files that packages consist of: .deb or .udeb, .dsc, and files that a .dsc lists. */
export type PackageKind = "binary" | "source" | "part";
