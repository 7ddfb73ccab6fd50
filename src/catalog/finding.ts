// What the catalog keeps in memory of an inspection: enough to place and order a file, not its stanza.
import { createHash } from "node:crypto";
import { descriptionOf } from "../debian/description.ts";
import type { Digests } from "../debian/digests.ts";
import { digestAlgorithms } from "../debian/digests.ts";
import type { Stanza } from "../debian/stanza.ts";
import { fieldOf } from "../debian/stanza.ts";
import type { Inspection, Rejection, SourcePart } from "./inspection.ts";

export interface BinaryFinding {
  readonly kind: "binary";
  readonly package: string;
  readonly version: string;
  /** The source package as `sourceNameOf` has it; undefined where it has the package's own name and version. */
  readonly source?: string;
  readonly architecture: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly stanzaKey: string;
  /** Names the package and its description; undefined where it has none. */
  readonly descriptionKey: string | undefined;
  readonly builtAtSeconds: number;
}

export interface SourceFinding {
  readonly kind: "source";
  readonly package: string;
  readonly version: string;
  readonly sizeBytes: number;
  readonly digests: Digests;
  readonly stanzaKey: string;
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
        ...namesOf(inspection.control),
        architecture: fieldOf(inspection.control, "Architecture") ?? "",
        sizeBytes: inspection.sizeBytes,
        sha256: inspection.digests.sha256,
        stanzaKey: stanzaKeyOf(inspection.control, inspection.digests),
        descriptionKey: descriptionKeyOf(inspection.control),
        builtAtSeconds: inspection.builtAtSeconds,
      };
    case "source":
      return {
        kind: "source",
        package: fieldOf(inspection.dsc, "Source") ?? "",
        version: fieldOf(inspection.dsc, "Version") ?? "",
        sizeBytes: inspection.sizeBytes,
        digests: inspection.digests,
        stanzaKey: stanzaKeyOf(inspection.dsc, inspection.digests),
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

function namesOf(control: Stanza): Pick<BinaryFinding, "package" | "version" | "source"> {
  const name = fieldOf(control, "Package") ?? "";
  const version = fieldOf(control, "Version") ?? "";
  const [, source = name, sourceVersion = version] =
    /^([^\s()]+)(?:\s*\(([^\s()]+)\))?$/.exec(fieldOf(control, "Source")?.trim() ?? "") ?? [];
  const isOwn = source === name && sourceVersion === version;
  return { package: name, version, ...(isOwn ? {} : { source: sourceName(source, sourceVersion) }) };
}

/** A source package as files and changelogs are named after it: `apt_2.6.1`, without the version's epoch. */
export const sourceNameOf = ({ package: name, version, source }: BinaryFinding): string =>
  source ?? sourceName(name, version);

const sourceName = (name: string, version: string): string => `${name}_${version.replace(/^\d+:/, "")}`;

/** Names what an index tells of a file: equal bytes may have been described in different words. */
function stanzaKeyOf(stanza: Stanza, digests: Digests): string {
  const told = [stanza, ...digestAlgorithms.map((algorithm) => digests[algorithm])];
  return createHash("sha256").update(JSON.stringify(told)).digest("base64url");
}

function descriptionKeyOf(control: Stanza): string | undefined {
  const description = descriptionOf(control);
  const told = [fieldOf(control, "Package"), description?.md5];
  return description && createHash("md5").update(JSON.stringify(told)).digest("base64url");
}
