// The messages between the main thread and the thread of the index.
import type { QueryName } from "../data/package-index.ts";
import type { UploadPlace } from "../data/publications.ts";
import type { SegmentRef } from "./segment-ref.ts";

/** A request to the thread about one repository, whose database is in `file`. */
export type IndexRequest = { readonly file: string } & (
  | {
      readonly kind: "query";
      readonly query: QueryName;
      readonly parameters: readonly unknown[];
    }
  /** Returns the suites of the index. */
  | { readonly kind: "suites" }
  /** Returns the state of a suite. */
  | { readonly kind: "state"; readonly suite: string }
  /** Parses a segment, which `add` uses. Returns the paths of the files in it, below the root of `prefix`. */
  | { readonly kind: "parse"; readonly segment: SegmentRef; readonly bytes: Uint8Array; readonly prefix: string }
  | { readonly kind: "add"; readonly segment: SegmentRef; readonly uploads: readonly UploadPlace[] }
  | {
      readonly kind: "finish";
      readonly suite: string;
      readonly publication: string | undefined;
      readonly kept: readonly SegmentRef[];
    }
  | { readonly kind: "close" }
);

/** The answer to a request with this number. */
export type IndexAnswer = { readonly number: number } & (
  | { readonly result: unknown }
  /** `isReset`: the database was corrupt, and has been replaced by an empty one. */
  | { readonly failure: string; readonly isReset: boolean }
);
