// What the catalog keeps in memory of an inspection: enough to place and order a file, not its stanza.
import type { Digests } from "../debian/digests.ts";
import { fieldOf } from "../debian/stanza.ts";
import type { Inspection, Rejection, SourcePart } from "./inspection.ts";

export interface BinaryFinding {
  readonly kind: "binary";
  readonly package: string;
  readonly version: string;
  readonly architecture: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly builtAtSeconds: number;
}

export interface SourceFinding {
  readonly kind: "source";
  readonly package: string;
  readonly version: string;
  readonly sizeBytes: number;
  readonly digests: Digests;
  readonly parts: readonly SourcePart[];
}

export interface PartFinding {
  readonly kind: "part";
  readonly sizeBytes: number;
  readonly digests: Digests;
}

export type Finding = BinaryFinding | SourceFinding | PartFinding | Rejection;

/** The finding of an inspection. */
export function findingOf(inspection: Inspection): Finding {
  switch (inspection.kind) {
    case "binary":
      return {
        kind: "binary",
        package: fieldOf(inspection.control, "Package") ?? "",
        version: fieldOf(inspection.control, "Version") ?? "",
        architecture: fieldOf(inspection.control, "Architecture") ?? "",
        sizeBytes: inspection.sizeBytes,
        sha256: inspection.digests.sha256,
        builtAtSeconds: inspection.builtAtSeconds,
      };
    case "source":
      return {
        kind: "source",
        package: fieldOf(inspection.dsc, "Source") ?? "",
        version: fieldOf(inspection.dsc, "Version") ?? "",
        sizeBytes: inspection.sizeBytes,
        digests: inspection.digests,
        parts: inspection.parts,
      };
    case "part":
      return { kind: "part", sizeBytes: inspection.sizeBytes, digests: inspection.digests };
    case "rejected":
      return inspection;
    default:
      return inspection satisfies never;
  }
}
