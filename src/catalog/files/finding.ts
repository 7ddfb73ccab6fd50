// What memory and the first line of a record keep of an inspection: enough to place and order a file, not its stanza.
import { createHash } from "node:crypto";
import { internString } from "../../base/intern-string.ts";
import { variantOf } from "../../debian/control.ts";
import { descriptionOf } from "../../debian/description.ts";
import type { Digests } from "../../debian/digests.ts";
import { digestAlgorithms } from "../../debian/digests.ts";
import { packageNameOf } from "../../debian/package-name.ts";
import type { SourceName } from "../../debian/source-field.ts";
import { sourceOf } from "../../debian/source-field.ts";
import type { Stanza } from "../../debian/stanza.ts";
import { fieldOf } from "../../debian/stanza.ts";
import type { BinaryInspection, Inspection, Rejection, SourcePart } from "../inspection/inspection.ts";
import { stanzaBytesOf } from "../inspection/stanza-bytes.ts";

export interface BinaryFinding {
  readonly kind: "binary";
  readonly package: string;
  readonly version: string;
  /** The source package as `sourceNameOf` has it; undefined where it has the package's own name and version. */
  readonly source?: string | undefined;
  readonly architecture: string;
  /** The variant of its architecture that it is built for, e.g. `amd64v3`; undefined: every machine of the architecture. */
  readonly variant?: string | undefined;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly stanzaKey: string;
  /** See stanza-bytes.ts. */
  readonly stanzaBytes: number;
  /** Names the package and its description; undefined where it has none. */
  readonly descriptionKey?: string | undefined;
  readonly builtAtSeconds: number;
}

export interface SourceFinding {
  readonly kind: "source";
  readonly package: string;
  readonly version: string;
  readonly sizeBytes: number;
  readonly digests: Digests;
  readonly stanzaKey: string;
  /** See stanza-bytes.ts. */
  readonly stanzaBytes: number;
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
      return binaryFinding(inspection);
    case "source":
      return {
        kind: "source",
        package: fieldOf(inspection.dsc, "Source") ?? "",
        version: internString(fieldOf(inspection.dsc, "Version") ?? ""),
        sizeBytes: inspection.sizeBytes,
        digests: inspection.digests,
        stanzaKey: stanzaKeyOf(inspection.dsc, inspection.digests),
        stanzaBytes: stanzaBytesOf(inspection),
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

function binaryFinding({ control, sizeBytes, digests, builtAtSeconds }: BinaryInspection): BinaryFinding {
  const name = packageNameOf(control);
  const version = fieldOf(control, "Version") ?? "";
  return new LeanBinary({
    kind: "binary",
    package: name,
    version,
    source: foreignSource(name, version, sourceOf(control)),
    architecture: fieldOf(control, "Architecture") ?? "",
    variant: variantOf(control),
    sizeBytes,
    sha256: digests.sha256,
    stanzaKey: stanzaKeyOf(control, digests),
    stanzaBytes: stanzaBytesOf({ kind: "binary", control }),
    descriptionKey: descriptionKeyOf(control),
    builtAtSeconds,
  });
}

/** A finding as it was before it was written as JSON. */
export const leanFinding = (finding: Finding): Finding =>
  finding.kind === "binary" ? new LeanBinary(finding) : finding;

/**
 * There are as many of these as packages: texts that others have too are shared, and digests are short. Never to be
 * spread: most fields are getters.
 */
class LeanBinary implements BinaryFinding {
  readonly package: string;
  readonly version: string;
  readonly source: string | undefined;
  readonly architecture: string;
  readonly variant: string | undefined;
  readonly sizeBytes: number;
  readonly stanzaBytes: number;
  readonly builtAtSeconds: number;
  /** The bytes of SHA256, stanza key and description key, a character each. */
  readonly #digests: string;

  constructor(told: BinaryFinding) {
    this.package = told.package;
    this.version = internString(told.version);
    this.source = told.source && internString(told.source);
    this.architecture = internString(told.architecture);
    this.variant = told.variant && internString(told.variant);
    this.sizeBytes = told.sizeBytes;
    this.stanzaBytes = told.stanzaBytes;
    this.builtAtSeconds = told.builtAtSeconds;
    let end = scratch.write(told.sha256, "hex");
    end += scratch.write(told.stanzaKey, end, "base64url");
    end += scratch.write(told.descriptionKey ?? "", end, "base64url");
    this.#digests = scratch.toString("latin1", 0, end);
  }

  get kind(): "binary" {
    return "binary";
  }
  get sha256(): string {
    return this.#bytes.toString("hex", 0, sha256Bytes);
  }
  get stanzaKey(): string {
    return this.#bytes.toString("base64url", sha256Bytes, 2 * sha256Bytes);
  }
  get descriptionKey(): string | undefined {
    return this.#bytes.toString("base64url", 2 * sha256Bytes, this.#digests.length) || undefined;
  }
  /** They hold until the next finding's are asked for. */
  get #bytes(): Buffer {
    scratch.write(this.#digests, "latin1");
    return scratch;
  }

  /** All of it by its own name, as the interface has it. */
  toJSON(): BinaryFinding {
    const { kind, package: name, version, source, architecture, variant, sizeBytes, builtAtSeconds } = this;
    const { sha256, stanzaKey, stanzaBytes, descriptionKey } = this;
    const stanza = { sha256, stanzaKey, stanzaBytes, descriptionKey };
    return { kind, package: name, version, source, architecture, variant, sizeBytes, builtAtSeconds, ...stanza };
  }
}

const sha256Bytes = 32;

/** Where digests are turned from one form into another: with a buffer for each, that would take twice as long. */
const scratch = Buffer.alloc(3 * sha256Bytes);

function foreignSource(name: string, version: string, source: SourceName): string | undefined {
  const isOwn = source.name === name && source.version === version;
  return isOwn ? undefined : sourceName(source.name, source.version);
}

/** A source package as files and changelogs are named after it: `apt_2.6.1`, without the version's epoch. */
export const sourceNameOf = ({ package: name, version, source }: BinaryFinding): string =>
  source ?? sourceName(name, version);

/** The source package that a package was built from, or is. No name has an underscore in it. */
export const sourcePackageOf = (one: OfSource): string =>
  (one.kind === "binary" && one.source?.split("_")[0]) || one.package;

/** A finding or an item. */
type OfSource =
  | { readonly kind: "source"; readonly package: string }
  | { readonly kind: "binary"; readonly package: string; readonly source?: string | undefined };

const sourceName = (name: string, version: string): string => [name, version.replace(/^\d+:/, "")].join("_");

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
