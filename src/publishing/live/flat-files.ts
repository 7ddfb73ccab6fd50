// The files of a repository with those of the flat repositories in the same tree: each path goes to the right one.
import type { RepositoryName, TreePath } from "../../base/names.ts";
import { flatPath } from "../../catalog/layout/repository-layout.ts";
import type { Resource } from "../resource.ts";
import type { ClientSession, RequestContext, ServedRepository } from "../served-repository.ts";
import { NotSeenYet } from "../served-repository.ts";
import { renamed } from "./flat-names.ts";

type Files = Pick<ServedRepository, "find" | "findNow">;

/** The files of one flat repository. */
interface Flat {
  readonly at: TreePath;
  readonly repository: Files;
}

/** The generated files of a flat repository. All other files in its directory are files of the tree. */
const generatedFiles = /^(InRelease|Release|Release\.gpg|by-hash\/.+|(Packages|Sources)(\.gz|\.xz|\.diff\/.+)?)$/;

/** The innermost directory first, because it takes precedence. */
export const innermostFirst = <One extends { readonly at: TreePath }>(flats: readonly One[]): readonly One[] =>
  flats.toSorted((a, b) => b.at.length - a.at.length);

export class FlatFiles implements Pick<ServedRepository, "name" | "find" | "findNow"> {
  readonly name: RepositoryName;
  readonly #main: Files;
  readonly #flats: readonly Flat[];

  constructor(name: RepositoryName, main: Files, flats: readonly Flat[]) {
    this.name = name;
    this.#main = main;
    this.#flats = innermostFirst(flats);
  }

  findNow(path: string, session: ClientSession | undefined): Resource | undefined {
    for (const flat of this.#flats) {
      const inFlat = pathIn(flat, path);
      if (inFlat === undefined) continue;
      const found = flat.repository.findNow(inFlat, session);
      // A package in the pool is the same in every repository; other files of a flat one may still be found by waiting.
      if (found !== undefined || !inFlat.startsWith("pool/")) return found;
    }
    return this.#main.findNow(path, session);
  }

  async find(path: string, context: RequestContext): Promise<Resource | undefined> {
    let unknown: NotSeenYet | undefined;
    for (const flat of this.#flats) {
      const inFlat = pathIn(flat, path);
      if (inFlat === undefined) continue;
      const { at, repository } = flat;
      try {
        const found = await repository.find(inFlat, context);
        if (found !== undefined) return found;
      } catch (thrown) {
        renamed(thrown, at);
        if (!(thrown instanceof NotSeenYet)) throw thrown;
        unknown = thrown;
      }
    }
    const found = await this.#main.find(path, context);
    if (found === undefined && unknown !== undefined) throw unknown;
    return found;
  }
}

/** Returns the path in a flat repository at which it may have the file of a path; undefined if it has no such file. */
function pathIn({ at }: Flat, path: string): string | undefined {
  const prefix = at === "" ? "" : `${at}/`;
  if (!path.startsWith(prefix)) return undefined;
  const rest = path.slice(prefix.length);
  if (rest.startsWith("pool/SHA256/")) return rest;
  return generatedFiles.test(rest) ? `${flatPath}/${rest}` : undefined;
}
