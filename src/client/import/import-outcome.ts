// What an import did, for its output.
import type { ErrorCode } from "../../base/error-codes.ts";
import type { PutPackage } from "../upload/put.ts";

export type ImportStep = "read" | "compare" | "store" | "publish" | "ping";

/** A package as APT identifies it, and what became of it. */
export interface ImportedPackage extends Omit<PutPackage, "state"> {
  /**
   * "live": APT sees it. "linked": it is in the tree, but the server has not confirmed that APT sees it. "planned": a
   * dry run. "rejected": it is not in the tree, or the server does not list it.
   */
  readonly state: "live" | "linked" | "planned" | "rejected";
  /** The code of a rejection. */
  readonly code?: string;
}

export type RemovedPackage = Pick<ImportedPackage, "name" | "version" | "architecture" | "path">;

/** A reason to use nothing of the repository. */
export interface ImportProblem {
  readonly code: ErrorCode;
  readonly file: string;
  readonly reason: string;
}

export interface ImportOutcome {
  /**
   * "refused": nothing was changed because of the problems. "rejected": some packages are rejected, the others are
   * imported. "nothing": the tree has everything already.
   */
  readonly status: "live" | "linked" | "rejected" | "refused" | "nothing" | "planned";
  readonly suites: readonly {
    readonly from: string;
    readonly suite: string;
    readonly date: string;
    readonly signedBy: readonly string[];
  }[];
  readonly packages: readonly ImportedPackage[];
  readonly removed: readonly RemovedPackage[];
  /** Packages of earlier imports that the repository no longer lists, and that were not to be removed. */
  readonly gone: readonly RemovedPackage[];
  readonly problems: readonly ImportProblem[];
  /** The bytes of all files that the tree lacked. */
  readonly bytes: number;
  readonly seconds: { readonly [Name in ImportStep]?: number };
}
