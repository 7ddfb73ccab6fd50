// Compares what was fetched with the size and the SHA256 in the index.
import { createHash } from "node:crypto";
import type { Inspection } from "../../catalog/inspection/inspection.ts";
import type { RepositoryFiles } from "../../upstream/repository-files.ts";
import { UnusableRepository } from "../../upstream/unusable-repository.ts";
import type { WantedFile } from "./import-target.ts";

/** Opens a file of the repository. The stream ends at most one byte after its listed size. @throws UnusableRepository */
export async function openListed(
  source: RepositoryFiles,
  { path, sizeBytes }: WantedFile,
): Promise<AsyncIterable<Uint8Array>> {
  const content = await source.open(path, sizeBytes + 1);
  if (content === undefined)
    throw new UnusableRepository("upstream/absent", path, "an index lists this file, but it is not there");
  return content;
}

/**
 * @param digestOf reads the digest of the bytes, if the inspection stopped before the end
 * @throws UnusableRepository if the bytes are not the listed ones
 */
export async function checkListed(
  { path, sizeBytes, sha256 }: WantedFile,
  inspection: Inspection,
  digestOf: () => Promise<string>,
): Promise<void> {
  const isListed =
    inspection.kind === "rejected"
      ? (await digestOf()) === sha256
      : inspection.sizeBytes === sizeBytes && inspection.digests.sha256 === sha256;
  if (!isListed)
    throw new UnusableRepository("upstream/mismatch", path, "its size or SHA256 differs from the one in the index");
}

export async function digestOf(content: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of content) hash.update(chunk);
  return hash.digest("hex");
}
