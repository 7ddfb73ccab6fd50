// Every byte that a suite serves at one moment, as a manifest of segments. Immutable.
import type { IndexDirectory } from "../catalog/layout.ts";
import type { IndexForm, SegmentSizes } from "../indices/assemble.ts";
import { indexForms } from "../indices/assemble.ts";
import type { PublicationSummary } from "./served.ts";

/** One form of one index, as Release lists it. */
export interface PublishedForm {
  readonly sizeBytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

/** One index: the segments that make it up, in order, and what they come to. */
export interface PublishedIndex {
  readonly directory: IndexDirectory;
  readonly name: "Packages" | "Sources";
  readonly segments: readonly SegmentSizes[];
  readonly forms: Readonly<Record<IndexForm, PublishedForm>>;
}

/** A publication as it is kept on disk. */
export interface Manifest extends PublicationSummary {
  /** Hex SHA256 over all that Release says but for its dates, and over the key that signs it: equal states need no new publication. */
  readonly state: string;
  readonly components: readonly string[];
  readonly architectures: readonly string[];
  readonly binaryPackages: number;
  readonly sourcePackages: number;
  readonly indices: readonly PublishedIndex[];
  readonly release: string;
  readonly inRelease: string;
  readonly releaseGpg: string;
}

/** What is behind a path of a publication. */
export type PublishedFile =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "index"; readonly index: PublishedIndex; readonly form: IndexForm };

/** The forms of every index. */
export const everyForm: readonly IndexForm[] = ["plain", "gz", "xz"];

/** Names a publication by its Date, e.g. `20261122T134500Z`: sortable, and unique because Date only moves forward. */
export function publicationId(dateSeconds: number): string {
  return `${new Date(dateSeconds * 1000).toISOString().slice(0, 19).replaceAll(/[-:]/g, "")}Z`;
}

/** Where an index stands below its suite, e.g. `main/binary-amd64/Packages.xz`. */
export const indexPath = (index: Pick<PublishedIndex, "directory" | "name">, form: IndexForm): string =>
  `${index.directory}/${index.name}${indexForms[form]}`;

/**
 * Finds a file by its name.
 * @param path below the suite's directory, e.g. `InRelease`
 */
export function publishedFile(manifest: Manifest, path: string): PublishedFile | undefined {
  switch (path) {
    case "InRelease":
      return { kind: "text", text: manifest.inRelease };
    case "Release":
      return { kind: "text", text: manifest.release };
    case "Release.gpg":
      return { kind: "text", text: manifest.releaseGpg };
    default:
      for (const index of manifest.indices) {
        if (!path.startsWith(`${index.directory}/`)) continue;
        const form = everyForm.find((candidate) => path === indexPath(index, candidate));
        if (form !== undefined) return { kind: "index", index, form };
      }
      return undefined;
  }
}

/** A reference by hash, e.g. `main/binary-amd64/by-hash/SHA256/…`. */
export interface HashReference {
  readonly directory: string;
  readonly sha256: string;
}

const byHash = /^(.+)\/by-hash\/SHA256\/([0-9a-f]{64})$/;

/** @returns undefined for a path that is no reference by hash */
export function hashReference(path: string): HashReference | undefined {
  const [, directory, sha256] = byHash.exec(path) ?? [];
  return directory === undefined || sha256 === undefined ? undefined : { directory, sha256 };
}

/** Finds the index whose form has this hash. */
export function fileByHash(manifest: Manifest, reference: HashReference): PublishedFile | undefined {
  for (const index of manifest.indices) {
    if (index.directory !== reference.directory) continue;
    const form = everyForm.find((candidate) => index.forms[candidate].sha256 === reference.sha256);
    if (form !== undefined) return { kind: "index", index, form };
  }
  return undefined;
}
