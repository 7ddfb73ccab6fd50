// What the ledger calls what is known of a content: what its bytes tell, and what somebody said of them.
import type { ContentId } from "../base/content-id.ts";
import type { PackageKind } from "./inspection.ts";

// Joined and not written as templates: these are held by each file, and a joined text is in one piece.

/** Of the bytes' own inspection. */
export const recordOf = (kind: PackageKind, content: ContentId): string => [kind, content.key].join("/");

/** Of a claim about them. @param wordsKey names what was said */
export const claimRecordOf = (kind: PackageKind, content: ContentId, wordsKey: string): string =>
  ["claim", kind, content.key, wordsKey].join("/");

/** Under which name the bytes' own inspection is, of what a claim is about. */
export const bytesRecordOf = (record: string): string => /^claim\/([^/]+\/[^/]+)\//.exec(record)?.[1] ?? record;
