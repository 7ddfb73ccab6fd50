// A finding is the short form of an inspection that is kept in memory: enough to put a file into an index and to order
// it, without its stanza. It is also the first line of a record in the inspection store.
import { hash } from "node:crypto";
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

/** The short form of the inspection of a .deb or .udeb. */
export interface BinaryFinding {
  readonly kind: "binary";
  readonly package: string;
  readonly version: string;
  /** The source package in the form of `sourceNameOf`; undefined if it has the package's own name and version. */
  readonly source?: string | undefined;
  readonly architecture: string;
  /** The architecture variant that it is built for, e.g. `amd64v3`; undefined if it runs on every machine. */
  readonly variant?: string | undefined;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** Identifies the stanza and digests that an index shows: equal bytes may have different entry metadata. */
  readonly stanzaKey: string;
  /** The greatest possible length of the stanza: see stanza-bytes.ts. */
  readonly stanzaBytes: number;
  /** Identifies the package's name and description; undefined if it has no description. */
  readonly descriptionKey?: string | undefined;
  /** In seconds since the epoch, from the ar header. */
  readonly builtAtSeconds: number;
}

/** The short form of the inspection of a .dsc. */
export interface SourceFinding {
  readonly kind: "source";
  readonly package: string;
  readonly version: string;
  readonly sizeBytes: number;
  readonly digests: Digests;
  /** Identifies the stanza and digests that an index shows: equal bytes may have different entry metadata. */
  readonly stanzaKey: string;
  /** The greatest possible length of the stanza: see stanza-bytes.ts. */
  readonly stanzaBytes: number;
  readonly parts: readonly SourcePart[];
}

/** The short form of the inspection of a file that a .dsc lists. */
export interface PartFinding {
  readonly kind: "part";
  readonly sizeBytes: number;
  readonly digests: Digests;
}

export type Finding = BinaryFinding | SourceFinding | PartFinding | Rejection;

/** Makes the short form of an inspection. */
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
    source: sourceIfDifferent(name, version, sourceOf(control)),
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

/** Restores a finding that was parsed from JSON. */
export const leanFinding = (finding: Finding): Finding =>
  finding.kind === "binary" ? new LeanBinary(finding) : finding;

/**
 * A finding in little memory, since there is one for each package: common strings are shared, and digests are stored as
 * bytes. Do not spread it: most properties are getters.
 */
class LeanBinary implements BinaryFinding {
  readonly package: string;
  readonly version: string;
  readonly source: string | undefined;
  readonly architecture: string;
  readonly variant: string | undefined;
  readonly sizeBytes: number;
  readonly stanzaBytes: number;
  /** In seconds since the epoch, from the ar header. */
  readonly builtAtSeconds: number;
  /** The bytes of SHA256, stanza key and description key, one character for each byte. */
  readonly #digests: string;

  constructor(finding: BinaryFinding) {
    this.package = finding.package;
    this.version = internString(finding.version);
    this.source = finding.source && internString(finding.source);
    this.architecture = internString(finding.architecture);
    this.variant = finding.variant && internString(finding.variant);
    this.sizeBytes = finding.sizeBytes;
    this.stanzaBytes = finding.stanzaBytes;
    this.builtAtSeconds = finding.builtAtSeconds;
    let end = scratch.write(finding.sha256, "hex");
    end += scratch.write(finding.stanzaKey, end, "base64url");
    end += scratch.write(finding.descriptionKey ?? "", end, "base64url");
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
  /** Valid until the digests of another finding are read. */
  get #bytes(): Buffer {
    scratch.write(this.#digests, "latin1");
    return scratch;
  }

  /** Lists all properties of the interface, including the getters. */
  toJSON(): BinaryFinding {
    const { kind, package: name, version, source, architecture, variant, sizeBytes, builtAtSeconds } = this;
    const { sha256, stanzaKey, stanzaBytes, descriptionKey } = this;
    const stanza = { sha256, stanzaKey, stanzaBytes, descriptionKey };
    return { kind, package: name, version, source, architecture, variant, sizeBytes, builtAtSeconds, ...stanza };
  }
}

const sha256Bytes = 32;

/** A buffer for converting digests; allocating one for each conversion would take twice as long. */
const scratch = Buffer.alloc(3 * sha256Bytes);

function sourceIfDifferent(name: string, version: string, source: SourceName): string | undefined {
  const isOwn = source.name === name && source.version === version;
  return isOwn ? undefined : sourceName(source.name, source.version);
}

/** The source package in the form that file names and changelogs use: `apt_2.6.1`, without the version's epoch. */
export const sourceNameOf = ({ package: name, version, source }: BinaryFinding): string =>
  source ?? sourceName(name, version);

/** The name of the source package that a package was built from, or is. Package names contain no underscore. */
export const sourcePackageOf = (one: PackageWithSource): string =>
  (one.kind === "binary" && one.source?.split("_")[0]) || one.package;

/** A finding or an index entry. */
type PackageWithSource =
  | { readonly kind: "source"; readonly package: string }
  | { readonly kind: "binary"; readonly package: string; readonly source?: string | undefined };

const sourceName = (name: string, version: string): string => [name, version.replace(/^\d+:/, "")].join("_");

/** Identifies what an index shows of a file: for equal bytes, uploaders' metadata may differ. */
function stanzaKeyOf(stanza: Stanza, digests: Digests): string {
  const content = [stanza, ...digestAlgorithms.map((algorithm) => digests[algorithm])];
  return hash("sha256", JSON.stringify(content), "base64url");
}

function descriptionKeyOf(control: Stanza): string | undefined {
  const description = descriptionOf(control);
  const content = [fieldOf(control, "Package"), description?.md5];
  return description && hash("md5", JSON.stringify(content), "base64url");
}
