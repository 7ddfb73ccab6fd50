// The current publications of a repository and of the flat repositories in its tree, by public names of suites.
import type { Suite, TreePath } from "../../base/names.ts";
import { parentPath } from "../../base/names.ts";
import { realPathOf } from "../../catalog/layout/flat-tree.ts";
import { publicSuiteName } from "../../publishing/live/flat-names.ts";
import type { Repository } from "../../publishing/live/repository.ts";
import type { Manifest } from "../../publishing/store/publication.ts";

/** A repository, or a flat repository in its tree. */
export interface RepositoryPart {
  readonly repository: Repository;
  /** The directory of a flat repository; undefined for the suites below `dists`. */
  readonly at?: TreePath;
}

/** What the stanzas of a segment describe: packages, source packages, or their long descriptions (Translation-en). */
export const segmentKinds = ["translation", "binary", "source"] as const;

/** A segment of Packages, Sources or Translation-en. */
export interface ListedSegment {
  readonly id: string;
  readonly component: string;
  readonly kind: (typeof segmentKinds)[number];
  readonly isForInstaller: boolean;
}

/** The current publication of a suite. */
export interface CurrentSuite extends RepositoryPart {
  readonly publicName: string;
  readonly suite: Suite;
  readonly manifest: Manifest;
}

/** When a listed file was uploaded, and where it is. */
export interface UploadPlace {
  /** The directory in the tree; "" if unknown. */
  readonly directory: string;
  /** In ms since the epoch; 0 if unknown. */
  readonly uploadedMs: number;
}

export class Publications {
  readonly #parts: readonly RepositoryPart[];

  constructor(parts: readonly RepositoryPart[]) {
    this.#parts = parts;
  }

  /** The parts with the path prefix of their public paths. */
  get parts(): readonly RepositoryPart[] {
    return this.#parts;
  }

  *current(): Iterable<CurrentSuite> {
    for (const part of this.#parts) {
      for (const manifest of part.repository.publications()) {
        const { suite } = manifest;
        yield { ...part, publicName: publicSuiteName({ suite, ...part }), suite, manifest };
      }
    }
  }

  /** @param publicName of a suite */
  find(publicName: string): CurrentSuite | undefined {
    for (const suite of this.current()) if (suite.publicName === publicName) return suite;
    return undefined;
  }
}

/** When and where the file of a row was uploaded. @param path as in the index, below the part's root */
export function uploadOf({ repository, at }: RepositoryPart, path: string): UploadPlace {
  const upload = repository.uploadOf(path);
  if (upload === undefined) return { directory: "", uploadedMs: 0 };
  const real = at === undefined ? upload.path : realPathOf(upload.path, at);
  return { directory: parentPath(real), uploadedMs: upload.uploadedMs };
}

/** The segments of all Packages, Sources and Translation-en of a publication; those of Translation-en first. */
export function listedSegments({ indices }: Manifest): readonly ListedSegment[] {
  const listed = indices.flatMap(({ directory, name, segments }) => {
    const kind = kindOfIndex[name];
    if (kind === undefined) return [];
    const component = directory.replace(/(^|\/)(debian-installer\/)?[^/]+$/, "");
    const place = { component, kind, isForInstaller: directory.includes("/debian-installer/") };
    return segments.map(({ id }) => ({ id, ...place }));
  });
  return listed.toSorted((a, b) => segmentKinds.indexOf(a.kind) - segmentKinds.indexOf(b.kind));
}

const kindOfIndex: Readonly<Record<string, ListedSegment["kind"]>> = {
  Packages: "binary",
  Sources: "source",
  "Translation-en": "translation",
};

/** The path of a file below the root of the repository. @param path below the root of the part */
export const publicPath = ({ at }: Pick<RepositoryPart, "at">, path: string): string =>
  at === undefined || at === "" ? path : `${at}/${path}`;
