// Publishes the files of a publication in the tree itself, so that any gateway can serve them with the read cap.
import { createHash } from "node:crypto";
import pLimit from "p-limit";
import type { ContentId } from "../base/content-id.ts";
import { RepoError } from "../base/errors.ts";
import type { Suite, TreePath } from "../base/names.ts";
import { joinPath, lastName, parentPath, parseTreePath } from "../base/names.ts";
import { suitePath } from "../catalog/layout/repository-layout.ts";
import type { Resource } from "../publishing/resource.ts";
import type { Manifest } from "../publishing/store/publication.ts";
import type { Entry } from "../storage/tree.ts";
import type { SiteFile } from "./site-files.ts";
import { siteFiles } from "./site-files.ts";

/** Writable directories of a tree. All calls are retried after transient failures. */
export interface WritableTree {
  /** Lists a directory; creates it if it is missing. */
  list(directory: TreePath, signal: AbortSignal): Promise<ReadonlyMap<string, Entry>>;
  /** Uploads immutable bytes; equal bytes have equal content ids. */
  upload(body: Uint8Array | AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<ContentId>;
  /** Sets links of one directory in one write. */
  link(directory: TreePath, links: ReadonlyMap<string, ContentId>, signal: AbortSignal): Promise<void>;
  unlink(path: TreePath, signal: AbortSignal): Promise<void>;
}

/** The contents that were uploaded to the grid, by SHA256, so that they are not uploaded again. */
export interface Uploads {
  get(sha256: string): ContentId | undefined;
  put(sha256: string, content: ContentId): Promise<void>;
}

/** Collaborators of `publishIntoTree`. */
export interface TreePublishOptions {
  readonly tree: WritableTree;
  readonly uploads: Uploads;
  /** Finds a file of the repository; undefined for a by-hash path that no stored publication lists. */
  readonly find: (path: string, context: { readonly signal: AbortSignal }) => Promise<Resource | undefined>;
}

/** The changes in the tree. */
export interface TreePublishOutcome {
  readonly suite: Suite;
  readonly uploaded: number;
  readonly linked: number;
  readonly unlinked: number;
}

/** A file that must be published is not available. */
class PublishIncomplete extends RepoError {
  readonly code = "publishing/publish-incomplete";
}

/** The number of concurrent uploads. */
const concurrentUploads = 4;
/** The maximum size of signed files, which are in memory. */
const maxSignedBytes = 32 * 1024 * 1024;

/**
 * Links a publication so that readers find a consistent repository at all times. The order is: by-hash names, beside
 * the old ones; plain names of indices; the signed files, in one write; then by-hash names that no stored publication
 * lists are unlinked. If it is interrupted, the next call completes it.
 * @throws PublishIncomplete, StorageUnavailable
 */
export async function publishIntoTree(
  manifest: Manifest,
  { tree, uploads, find }: TreePublishOptions,
  signal: AbortSignal,
): Promise<TreePublishOutcome> {
  const { suite } = manifest;
  const base = suitePath(suite);
  const limit = pLimit(concurrentUploads);
  let uploaded = 0;
  let linked = 0;

  const contentOf = async ({ path, sha256 }: SiteFile): Promise<ContentId> => {
    const resource = await find(`${base}/${path}`, { signal });
    if (resource === undefined) throw new PublishIncomplete(`${base}/${path} is not available`);
    const body = await resource.read({ start: 0, end: resource.sizeBytes }, signal);
    const name = sha256 ?? hashOf(body);
    const known = uploads.get(name);
    if (known !== undefined) return known;
    const content = await tree.upload(body, signal);
    uploaded += 1;
    await uploads.put(name, content);
    return content;
  };
  const files = await Promise.all(
    [...siteFiles(manifest)].map(async (file) => {
      const known = file.sha256 === undefined ? undefined : uploads.get(file.sha256);
      return { ...file, content: known ?? (await limit(() => contentOf(file))) };
    }),
  );

  const byDirectory = new Map<TreePath, Map<string, ContentId>>();
  const addLink = (path: string, content: ContentId): void => {
    const whole = parseTreePath(`${base}/${path}`);
    const links = byDirectory.get(parentPath(whole)) ?? new Map<string, ContentId>();
    byDirectory.set(parentPath(whole), links.set(lastName(whole), content));
  };
  /** Sets the new links of a directory. @returns the names that existed before */
  const writeLinks = async (directory: TreePath): Promise<readonly string[]> => {
    const present = await tree.list(directory, signal);
    const links = new Map(
      [...(byDirectory.get(directory) ?? [])].filter(([name, content]) => !isLinked(present.get(name), content)),
    );
    byDirectory.delete(directory);
    if (links.size > 0) await tree.link(directory, links, signal);
    linked += links.size;
    return [...present.keys()];
  };

  for (const { byHash, content } of files) for (const path of byHash) addLink(path, content);
  const before = new Map<TreePath, readonly string[]>();
  for (const directory of Array.from(byDirectory.keys())) before.set(directory, await writeLinks(directory));
  for (const { path, sha256, content } of files) if (sha256 !== undefined) addLink(path, content);
  for (const directory of Array.from(byDirectory.keys())) await writeLinks(directory);
  for (const { path, sha256, content } of files) if (sha256 === undefined) addLink(path, content);
  await writeLinks(base);

  let unlinked = 0;
  for (const [directory, names] of before) {
    for (const name of names) {
      if ((await find(`${directory}/${name}`, { signal })) !== undefined) continue;
      await tree.unlink(joinPath(directory, name), signal);
      unlinked += 1;
    }
  }
  return { suite, uploaded, linked, unlinked };
}

const isLinked = (entry: Entry | undefined, content: ContentId): boolean =>
  entry?.kind === "file" && entry.content?.key === content.key;

/** The SHA256 of a signed file. */
function hashOf(body: Uint8Array | AsyncIterable<Uint8Array>): string {
  if (!(body instanceof Uint8Array) || body.length > maxSignedBytes)
    throw new PublishIncomplete("a signed file is too large");
  return createHash("sha256").update(body).digest("hex");
}
