// Keys of the inspection store. Inspections of bytes and claims from metadata have different keys. No key contains an
// uploader's text, which may be longer than the database allows.
import type { ContentId } from "../../base/content-id.ts";
import type { PackageKind } from "./inspection.ts";

/** Every kind of package file. */
export const packageKinds: readonly PackageKind[] = ["binary", "source", "part"];

/** The key of the inspection of an immutable content. @param contentKey the key of its content id */
export const bytesKey = (kind: PackageKind, contentKey: string): string => `${kind}/${contentKey}`;

/** The key of the inspection of a mutable file, which has no content id. */
export const mutableFileKey = (kind: PackageKind, sha256: string): string => `${kind}/mutable/${sha256}`;

/** The key of a claim about a content. @param metadataKey identifies the metadata */
export const claimKey = (kind: PackageKind, content: ContentId, metadataKey: string): string =>
  `claim/${kind}/${content.key}/${metadataKey}`;

/** The key of the inspection of the bytes that a claim is about; the same key for an inspection of bytes. */
export const bytesKeyOf = (key: string): string => /^claim\/([^/]+\/[^/]+)\//.exec(key)?.[1] ?? key;
