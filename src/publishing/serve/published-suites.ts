// The interface between the resources of a repository and its suites in service.
import type { Suite, TreePath } from "../../base/names.ts";
import type { IndexEntry } from "../../catalog/suite/index-entry.ts";
import type { Manifest } from "../store/publication.ts";

/** The suites of a repository that are in service. */
export interface PublishedSuites {
  /** @returns undefined for an unknown suite, and for one without a publication */
  currentOf(suite: Suite): Manifest | undefined;
  /** Whether a path is in a directory that could not be listed at its last survey, so that its content is unknown. */
  isUnlisted(path: TreePath): boolean;
  /** Returns the entries of all indices, and a string that changes whenever they change. */
  published(): { readonly state: string; readonly entries: Iterable<IndexEntry> };
}
