// What an index needs to know of one file, or why it takes nothing from it.
import type { Digests } from "../../debian/digests.ts";
import type { Flaw } from "../../debian/malformed.ts";
import type { Stanza } from "../../debian/stanza.ts";

interface Measured {
  readonly sizeBytes: number;
  readonly digests: Digests;
}

/** A .deb: its control stanza as it stands in control.tar. */
export interface BinaryInspection extends Measured {
  readonly kind: "binary";
  readonly control: Stanza;
  /** The time in the first member's ar header, in seconds since the epoch: a property of the bytes. */
  readonly builtAtSeconds: number;
  /** Where its uploader has put the list of its files. A cap is authority: never to be shown. */
  readonly contents?: string;
  /** The list of its files in its compact form, as it comes out of the bytes: the ledger keeps it apart. */
  readonly fileList?: Uint8Array;
}

/** One file that a .dsc names. */
export interface SourcePart {
  readonly name: string;
  readonly sizeBytes: number;
  /** As the .dsc gives them; at least one algorithm. */
  readonly digests: { readonly [algorithm: string]: string };
}

/** A .dsc: its stanza (without the OpenPGP armour) and the files that must be beside it. */
export interface SourceInspection extends Measured {
  readonly kind: "source";
  readonly dsc: Stanza;
  readonly parts: readonly SourcePart[];
}

/** A file that belongs to a source package: only its size and digests count. */
export interface PartInspection extends Measured {
  readonly kind: "part";
}

/** Why a file is in no index. `code` is stable and a metric's label; `text` is for people and names no secret. */
export interface Rejection {
  readonly kind: "rejected";
  readonly code: RejectCode;
  readonly text: string;
}

/** A source package of whose files some are not there yet: nothing is wrong with it, and it enters the index when it is whole. */
export interface Pending {
  readonly kind: "pending";
  /** The names of the files that are not there, in the order of the .dsc. */
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

/** An inspection that came to its end well. */
export type SoundInspection = Exclude<Inspection, Rejection>;

/** What kind of package file a name announces; undefined for files that no index names by themselves. */
export type PackageKind = "binary" | "source" | "part";
