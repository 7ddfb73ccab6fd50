// The strings of the field (suites, components, paths, …), parsed once at the border into brands.
import { RepoError } from "./errors.ts";

declare const brand: unique symbol;
type Brand<Kind extends string> = string & { readonly [brand]: Kind };

/** A directory below `dists`, e.g. `sid`, or several, e.g. `bookworm/updates`. */
export type Suite = Brand<"Suite">;
/** A directory below a suite, e.g. `main`, or several, e.g. `updates/main`. */
export type Component = Brand<"Component">;
/** A Debian architecture as in `binary-ARCH`, e.g. `amd64` or `all`. */
export type Architecture = Brand<"Architecture">;
/** The name under which a repository is mounted at `/NAME/`. */
export type RepositoryName = Brand<"RepositoryName">;
/** A path inside a tree: names joined by `/`, without a leading or trailing one; the root is "". */
export type TreePath = Brand<"TreePath">;

/** A name or path that is not of the form the field allows. */
export class NameError extends RepoError {
  readonly code = "name/malformed";
}

/** The longest name of one directory entry, in bytes (POSIX NAME_MAX). */
const maxNameBytes = 255;
/** The longest path inside a tree, in bytes. */
const maxPathBytes = 2048;
/** How many bytes of UTF-8 a unit of a string can become. */
const maxUtf8BytesPerUnit = 3;

const words = /^[a-z0-9][a-z0-9.+~_-]*(\/[a-z0-9][a-z0-9.+~_-]*)*$/i;
const architecture = /^[a-z0-9][a-z0-9-]*$/;
const repositoryName = /^[a-z0-9][a-z0-9._-]{0,63}$/i;
const reserved: ReadonlySet<string> = new Set(["metrics", "healthz", "readyz", "-"]);

function parse<Kind extends string>(raw: string, what: string, allowed: RegExp): Brand<Kind> {
  if (raw.length > maxNameBytes || !allowed.test(raw)) {
    throw new NameError(`${JSON.stringify(raw.slice(0, 80))} is not a ${what}`);
  }
  return raw as Brand<Kind>;
}

/** Stands for the one suite of a flat repository; no client sees it. */
export const flatSuite = "~flat" as Suite;

/** @throws NameError also for the internal name of a flat repository's suite */
export const parseSuite = (raw: string): Suite => parse<"Suite">(raw, "suite name", words);
/** For what we have written down ourselves. @throws NameError */
export const parseInternalSuite = (raw: string): Suite => (raw === flatSuite ? flatSuite : parseSuite(raw));
/** @throws NameError */
export const parseComponent = (raw: string): Component => parse<"Component">(raw, "component name", words);
/** @throws NameError @see Debian Policy 11.1 */
export const parseArchitecture = (raw: string): Architecture =>
  parse<"Architecture">(raw, "architecture name", architecture);
/** Whether it stands for several architectures, or for none, so that no package is built for it. @see Debian Policy 11.1.1 */
export const namesNoMachine = (architecture: Architecture): boolean =>
  architecture === "source" || architecture.split("-").includes("any");
/** The architecture of a variant: `amd64` of `amd64v3`; undefined for what is not named as a variant is. */
export const baseOfVariant = (architecture: Architecture): Architecture | undefined =>
  /^(?!(?:.+-)?riscv64$)(.+)v[0-9][a-z0-9]*$/.exec(architecture)?.[1] as Architecture | undefined;

/** @throws NameError also for `metrics`, `healthz`, `readyz` and `-`, which are the server's own. */
export function parseRepositoryName(raw: string): RepositoryName {
  if (reserved.has(raw)) throw new NameError(`${raw} is the server's own and no repository's name`);
  return parse<"RepositoryName">(raw, "repository name", repositoryName);
}

/** Whether this is a name that one entry of a directory may have: no `/`, control character, half a character, `.` or `..`. */
export function isEntryName(raw: string): boolean {
  return raw !== "" && raw !== "." && raw !== ".." && !forbiddenInNames.test(raw) && byteLength(raw) <= maxNameBytes;
}

/** A lone surrogate has no form in UTF-8, and so none in a URL. */
const forbiddenInNames = /[/\u0000-\u001f\u007f]|\p{Surrogate}/u;

/** Whether any entry's name fits behind the path of this directory. */
export const hasRoomForNames = (directory: TreePath): boolean =>
  byteLength(directory) + 1 + maxNameBytes <= maxPathBytes;

/** The root of a tree. */
export const rootPath = "" as TreePath;

/**
 * @param raw names joined by single slashes, "" for the root
 * @throws NameError for empty names, `.`, `..`, control characters and over-long paths
 */
export function parseTreePath(raw: string): TreePath {
  if (raw === "") return rootPath;
  if (byteLength(raw) > maxPathBytes || !raw.split("/").every(isEntryName)) {
    throw new NameError(`${JSON.stringify(raw.slice(0, 80))} is not a path inside a tree`);
  }
  return raw as TreePath;
}

/** @throws NameError if `name` is not an entry's name */
export function joinPath(directory: TreePath, name: string): TreePath {
  // A template would hold on to its parts beside the whole.
  const path = directory === "" ? name : [directory, name].join("/");
  // The directory is a path already: over the files of a large one, looking at its names again takes a while.
  const isShort = path.length * maxUtf8BytesPerUnit <= maxPathBytes;
  return isShort && isEntryName(name) ? (path as TreePath) : parseTreePath(path);
}

/** The names on the way from the root, [] for the root itself. */
export const pathNames = (path: TreePath): readonly string[] => (path === "" ? [] : path.split("/"));

/** The last name, "" for the root. */
export const lastName = (path: TreePath): string => path.slice(path.lastIndexOf("/") + 1);

/** Whether a file's name announces a binary package: Ubuntu calls those of its automatic debug symbols .ddeb. */
export const announcesBinary = (name: string): boolean => /\.[du]?deb$/.test(name);

/** The directory that holds this path; the root's is the root. */
export const parentPath = (path: TreePath): TreePath => path.slice(0, Math.max(0, path.lastIndexOf("/"))) as TreePath;

/** Whether `path` is `directory` itself or anything below it. */
export const isWithin = (path: TreePath, directory: TreePath): boolean =>
  directory === "" || path === directory || path.startsWith(`${directory}/`);

/** The path itself, or the nearest directory above it, that is among some paths. */
export function coveringPath(path: TreePath, paths: { has(path: TreePath): boolean }): TreePath | undefined {
  for (let at = path; ; at = parentPath(at)) {
    if (paths.has(at)) return at;
    if (at === rootPath) return undefined;
  }
}

/** What a name or path is parsed into; undefined for one that nothing can have. */
export function nameOrUndefined<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (thrown) {
    if (thrown instanceof NameError) return undefined;
    throw thrown;
  }
}

const byteLength = (text: string): number => Buffer.byteLength(text, "utf8");
