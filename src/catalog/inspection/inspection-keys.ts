// What the ledger calls what is known of a content: what its bytes tell, and what somebody said of them. No name holds
// an uploader's text, which may be longer than a key can be.
import type { ContentId } from "../../base/content-id.ts";
import type { PackageKind } from "./inspection.ts";

/** Of the bytes' own inspection. @param contentKey the key of their content id */
export const bytesKey = (kind: PackageKind, contentKey: string): string => `${kind}/${contentKey}`;

/** Of bytes that have no name but their digest. */
export const mutableFileKey = (kind: PackageKind, sha256: string): string => `${kind}/mutable/${sha256}`;

/** Of a claim about them. @param wordsKey names what was said */
export const claimKey = (kind: PackageKind, content: ContentId, wordsKey: string): string =>
  `claim/${kind}/${content.key}/${wordsKey}`;

/** Under which name the bytes' own inspection is, of what a claim is about. */
export const bytesKeyOf = (record: string): string => /^claim\/([^/]+\/[^/]+)\//.exec(record)?.[1] ?? record;
