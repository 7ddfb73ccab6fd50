// The targets of exports: a site of plain files in a local directory, and the tree itself.
import { mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { RootDatabase } from "lmdb";
import type { Clock } from "../base/clock.ts";
import { ContentId } from "../base/content-id.ts";
import { RepoError } from "../base/errors.ts";
import type { RepositoryName, StateName, TreePath } from "../base/names.ts";
import { isWithin, parseTreePath, pathNames, rootPath } from "../base/names.ts";
import { createFile, replaceFile } from "../base/replace-file.ts";
import { written } from "../base/state-errors.ts";
import type { Bundle } from "../client/bundle.ts";
import { WriteGateways } from "../client/write-gateways.ts";
import type { TreeConfiguration } from "../config/configuration.ts";
import { exportSite } from "../export/export-site.ts";
import type { Uploads, WritableTree } from "../export/publish-to-tree.ts";
import { publishIntoTree } from "../export/publish-to-tree.ts";
import type { Repository } from "../publishing/live/repository.ts";
import type { WriteCap } from "../storage/tahoe/caps.ts";
import type { WebapiWriter } from "../storage/tahoe/webapi-writer.ts";

/** The bundle has no write cap for a directory that an index belongs to. */
class NoWriteCap extends RepoError {
  readonly code = "publishing/no-write-cap";
}

/** The name under which the state keeps a repository that is published into its tree. No repository can have it. */
export const publishedName = (name: RepositoryName): StateName => `${name}/published`;

/** The directory of the site belongs to another repository. */
class ForeignSite extends RepoError {
  readonly code = "publishing/foreign-site";
}

/** The file in a site that names its repository: an export removes every file that its repository does not have. */
const ownerFile = ".generations/repository.json";

/** @throws ForeignSite */
async function claimSite(directory: string, name: RepositoryName, tree: TreeConfiguration): Promise<void> {
  const file = join(directory, ownerFile);
  // String() of a cap is its fingerprint.
  const owner = `${JSON.stringify({ repository: name, tree: tree.kind === "folder" ? tree.directory : String(tree.readCap) })}\n`;
  await mkdir(dirname(file), { recursive: true });
  if (await createFile(file, owner)) return;
  const known = await readFile(file, "utf8");
  if (known !== owner)
    throw new ForeignSite(
      `${directory} belongs to another repository: ${known.trim()}, and not ${owner.trim()}; give each repository a directory ` +
        `of its own, or remove ${file} if the other is not exported there any more`,
    );
}

/** Updates a site. @returns the changes; undefined if there are none @throws ForeignSite */
export async function exportTo(
  repository: Repository,
  options: {
    readonly directory: string;
    readonly tree: TreeConfiguration;
    readonly keepSeconds: number;
    readonly now: Clock;
    readonly signal: AbortSignal;
  },
): Promise<object | undefined> {
  await claimSite(options.directory, repository.name, options.tree);
  const outcome = await exportSite(repository, options);
  await replaceFile(join(options.directory, "key.asc"), repository.key.armored);
  return outcome.switched.length === 0 ? undefined : outcome;
}

/**
 * Refreshes a repository and writes its indices into its tree: first those of packages, then the deferred files.
 * @param repository a repository with the placement "tree"
 * @returns the changes; undefined if there are none
 * @throws NoWriteCap, StorageUnavailable
 */
export async function publishTo(
  repository: Repository,
  { tree, uploads }: { readonly tree: WritableTree; readonly uploads: Uploads },
  signal: AbortSignal,
): Promise<object | undefined> {
  const find = (path: string, context: { readonly signal: AbortSignal }) => repository.find(path, context);
  const sum = { uploaded: 0, linked: 0, unlinked: 0 };
  const done = new Set<string>();
  const publishAll = async (): Promise<void> => {
    for (const manifest of repository.publications()) {
      if (done.has(`${manifest.suite} ${manifest.id}`)) continue;
      const outcome = await publishIntoTree(manifest, { tree, uploads, find }, signal);
      done.add(`${manifest.suite} ${manifest.id}`);
      sum.uploaded += outcome.uploaded;
      sum.linked += outcome.linked;
      sum.unlinked += outcome.unlinked;
    }
  };
  await repository.ping(rootPath, signal);
  await publishAll();
  await repository.deferredSettled();
  await publishAll();
  return sum.linked + sum.unlinked === 0 ? undefined : sum;
}

/** Another replica publishes now. */
class NotPublisher extends RepoError {
  readonly code = "cluster/lease-lost";
}

/** The same tree, which is only written while this replica publishes. @throws NotPublisher */
export function writtenWhile(isPublisher: () => boolean, tree: WritableTree): WritableTree {
  const check = (): void => {
    if (!isPublisher()) throw new NotPublisher("another replica publishes into the tree now");
  };
  return {
    list: (path, signal) => tree.list(path, signal),
    upload: (body, signal) => tree.upload(body, signal),
    link: async (path, links, signal) => {
      check();
      await tree.link(path, links, signal);
    },
    unlink: async (path, signal) => {
      check();
      await tree.unlink(path, signal);
    },
  };
}

/** The caps of uploaded files, in the private state directory. */
export function uploadsIn(root: RootDatabase, name: RepositoryName): Uploads {
  const caps = root.openDB<string, string>({ name: `${name}/uploads` });
  return {
    get(sha256) {
      const cap = caps.get(sha256);
      return cap === undefined ? undefined : new ContentId(cap);
    },
    async put(sha256, content) {
      await written(() => caps.put(sha256, content.reveal()));
    },
  };
}

/** The part of a tree for which a bundle has write caps. */
export function writableTree({ gateways: urls, gatewayCa, directories, name }: Bundle): WritableTree {
  const gateways = new WriteGateways(urls, gatewayCa);
  const caps = new Map<TreePath, WriteCap>();
  const capOf = async (path: TreePath, writer: WebapiWriter, signal: AbortSignal): Promise<WriteCap> => {
    const known = caps.get(path);
    if (known !== undefined) return known;
    const above = directories.find((directory) => isWithin(path, directory.path));
    if (above === undefined)
      throw new NoWriteCap(`the bundle of ${name} has no write cap for ${path}, where an index goes`);
    const below = parseTreePath(pathNames(path).slice(pathNames(above.path).length).join("/"));
    const cap = await writer.makeDirectory(above.cap, below, signal);
    caps.set(path, cap);
    return cap;
  };
  return {
    list: (path, signal) =>
      gateways.retry(async (writer) => await writer.list(await capOf(path, writer, signal), signal), signal),
    upload: (body, signal) => gateways.retry((writer) => writer.upload(body, signal), signal),
    link: (path, contents, signal) =>
      gateways.retry(async (writer) => {
        const links = new Map([...contents].map(([child, content]) => [child, { content, metadata: undefined }]));
        await writer.link(await capOf(path, writer, signal), links, signal);
      }, signal),
    unlink: (path, signal) =>
      gateways.retry(async (writer) => {
        const names = pathNames(path);
        const directory = await capOf(parseTreePath(names.slice(0, -1).join("/")), writer, signal);
        await writer.unlink(directory, parseTreePath(names.at(-1) ?? ""), signal);
      }, signal),
  };
}
