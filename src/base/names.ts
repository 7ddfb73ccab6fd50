// The names of Debian's archive layout (suites, components, paths, …), parsed once at the border into branded strings.
import { RepoError } from "./errors.ts";

declare const brand: unique symbol;
type Brand<Kind extends string> = string & { readonly [brand]: Kind };

/** The name of a directory below `dists`, e.g. `sid`, or of several, e.g. `bookworm/updates`. */
export type SuiteName = Brand<"SuiteName">;
/**
 * Stands for the only suite of a flat repository, which has no name. It is a key in the state; clients never see it.
 */
export const flatSuite = "~flat";
/** A suite below `dists`, or the only one of a flat repository. */
export type Suite = SuiteName | typeof flatSuite;
/** A directory below a suite, e.g. `main`, or several, e.g. `updates/main`. */
export type Component = Brand<"Component">;
/** A Debian architecture as in `binary-ARCH`, e.g. `amd64` or `all`. */
export type Architecture = Brand<"Architecture">;
/** The name under which a repository is mounted at `/NAME/`. */
export type RepositoryName = Brand<"RepositoryName">;
/**
 * The name under which the state keeps what belongs to a repository, or to a part of it whose publications are kept
 * apart: `debian`, `debian/extras` for the flat repository in `extras`, `debian/.` for one in the root,
 * `debian/published` for what is published into the tree.
 */
export type StateName = RepositoryName | `${RepositoryName}/${string}`;
/** A path inside a tree: names joined by `/`, without a leading or trailing slash; the root is "". */
export type TreePath = Brand<"TreePath">;

/** A name or path does not have the form that it needs. */
export class NameError extends RepoError {
  readonly code = "name/malformed";
}

/** The longest name of one directory entry, in bytes (POSIX NAME_MAX). */
const maxNameBytes = 255;
/** The longest path inside a tree, in bytes. */
const maxPathBytes = 2048;
/** One UTF-16 code unit of a string takes at most this many bytes of UTF-8. */
const maxUtf8BytesPerUnit = 3;

const words = /^[a-z0-9][a-z0-9.+~_-]*(\/[a-z0-9][a-z0-9.+~_-]*)*$/i;
const architecture = /^[a-z0-9][a-z0-9-]*$/;
const repositoryName = /^[a-z0-9][a-z0-9._-]{0,63}$/i;
/** First path segments of the server's own pages. */
const reservedNames: ReadonlySet<string> = new Set(["metrics", "healthz", "readyz", "-"]);

const tryParse = <Kind extends string>(raw: string, allowed: RegExp): Brand<Kind> | undefined =>
  raw.length <= maxNameBytes && allowed.test(raw) ? (raw as Brand<Kind>) : undefined;

function nameError(raw: string, what: string): NameError {
  return new NameError(`${JSON.stringify(raw.slice(0, 80))} is not ${what}`);
}

function required<Name>(name: Name | undefined, raw: string, what: string): Name {
  if (name === undefined) throw nameError(raw, what);
  return name;
}

/** @returns undefined for a malformed name and for `flatSuite` */
export const tryParseSuite = (raw: string): SuiteName | undefined => tryParse<"SuiteName">(raw, words);
/** @throws NameError also for `flatSuite` */
export const parseSuite = (raw: string): SuiteName => required(tryParseSuite(raw), raw, "a suite name");
/** For the key of a suite in the state or in the path of a FlatTree. @returns undefined for a malformed name */
export const tryParseSuiteOrFlat = (raw: string): Suite | undefined =>
  raw === flatSuite ? flatSuite : tryParseSuite(raw);
/** For the key of a suite in the state or in the path of a FlatTree. @throws NameError */
export const parseSuiteOrFlat = (raw: string): Suite => required(tryParseSuiteOrFlat(raw), raw, "a suite name");

/** @returns undefined for a malformed name */
export const tryParseComponent = (raw: string): Component | undefined => tryParse<"Component">(raw, words);
/** @throws NameError */
export const parseComponent = (raw: string): Component => required(tryParseComponent(raw), raw, "a component name");

/** @returns undefined for a malformed name @see Debian Policy 11.1 */
export const tryParseArchitecture = (raw: string): Architecture | undefined =>
  tryParse<"Architecture">(raw, architecture);
/** @throws NameError @see Debian Policy 11.1 */
export const parseArchitecture = (raw: string): Architecture =>
  required(tryParseArchitecture(raw), raw, "an architecture name");

/**
 * Whether this is `source` or a wildcard such as `any` or `linux-any`: no binary package is built for these.
 * @see Debian Policy 11.1.1
 */
export const isArchitectureWildcard = (architecture: Architecture): boolean =>
  architecture === "source" || architecture.split("-").includes("any");

/**
 * The architecture that a variant belongs to: `amd64` for `amd64v3`; undefined if the name is not that of a variant.
 */
export const baseOfVariant = (architecture: Architecture): Architecture | undefined =>
  tryParseArchitecture(/^(?!(?:.+-)?riscv64$)(.+)v[0-9][a-z0-9]*$/.exec(architecture)?.[1] ?? "");

/** @throws NameError also for `metrics`, `healthz`, `readyz` and `-`, which the server uses itself */
export function parseRepositoryName(raw: string): RepositoryName {
  if (reservedNames.has(raw)) throw new NameError(`${raw} is reserved by the server and cannot name a repository`);
  return required(tryParse<"RepositoryName">(raw, repositoryName), raw, "a repository name");
}

/**
 * Whether a directory entry may have this name: it is not empty, `.` or `..`, it contains no `/`, control character or
 * lone surrogate, and it has at most 255 bytes.
 */
export function isEntryName(raw: string): boolean {
  return raw !== "" && raw !== "." && raw !== ".." && !forbiddenInNames.test(raw) && byteLength(raw) <= maxNameBytes;
}

/** A lone surrogate has no UTF-8 encoding, so it cannot appear in a URL. */
const forbiddenInNames = /[/\u0000-\u001f\u007f]|\p{Surrogate}/u;

/** Whether the path of a file in this directory is short enough, however long the file's name is. */
export const hasRoomForNames = (directory: TreePath): boolean =>
  byteLength(directory) + 1 + maxNameBytes <= maxPathBytes;

/** The root of a tree. */
export const rootPath = "" as TreePath;

/**
 * @param raw names joined by single slashes, "" for the root
 * @returns undefined for empty names, `.`, `..`, control characters and over-long paths
 */
export function tryParseTreePath(raw: string): TreePath | undefined {
  if (raw === "") return rootPath;
  return byteLength(raw) <= maxPathBytes && raw.split("/").every(isEntryName) ? (raw as TreePath) : undefined;
}

const treePath = "a path inside a tree";

/**
 * @param raw names joined by single slashes, "" for the root
 * @throws NameError for empty names, `.`, `..`, control characters and over-long paths
 */
export const parseTreePath = (raw: string): TreePath => required(tryParseTreePath(raw), raw, treePath);

/** @returns undefined if `name` is not the name of a directory entry, or if the path would be too long */
export function tryJoinPath(directory: TreePath, name: string): TreePath | undefined {
  const path = joined(directory, name);
  // The directory is parsed already. To check its names again for each file takes long in large directories.
  const isShort = path.length * maxUtf8BytesPerUnit <= maxPathBytes;
  return isShort && isEntryName(name) ? (path as TreePath) : tryParseTreePath(path);
}

/** @throws NameError if `name` is not the name of a directory entry, or if the path would be too long */
export function joinPath(directory: TreePath, name: string): TreePath {
  const path = tryJoinPath(directory, name);
  if (path === undefined) throw nameError(joined(directory, name), treePath);
  return path;
}

/** A template string would keep its parts in memory besides the whole. */
const joined = (directory: TreePath, name: string): string => (directory === "" ? name : [directory, name].join("/"));

/** The names from the root to this path, [] for the root itself. */
export const pathNames = (path: TreePath): readonly string[] => (path === "" ? [] : path.split("/"));

/** The last name, "" for the root. */
export const lastName = (path: TreePath): string => path.slice(path.lastIndexOf("/") + 1);

/**
 * Whether this is the name of a binary package: .deb, .udeb, or .ddeb, which Ubuntu uses for automatic debug symbols.
 */
export const isBinaryPackageName = (name: string): boolean => /\.[du]?deb$/.test(name);

/** The directory that holds this path; the root's is the root. */
export function parentPath(path: TreePath): TreePath {
  const length = Math.max(0, path.lastIndexOf("/"));
  if (length !== lastParent.length || !path.startsWith(lastParent)) lastParent = path.slice(0, length) as TreePath;
  return lastParent;
}

/** The last result of `parentPath`. Most calls are about files of one directory, and maps hash each new string. */
let lastParent = rootPath;

/** Whether `path` is `directory` itself or below it. */
export const isWithin = (path: TreePath, directory: TreePath): boolean =>
  directory === "" ||
  (path.startsWith(directory) && (path.length === directory.length || path[directory.length] === "/"));

/** The path relative to a directory that it is or lies below. */
export const pathWithin = (path: TreePath, directory: TreePath): TreePath =>
  (directory === "" ? path : path.slice(directory.length + 1)) as TreePath;

/** The innermost of some paths that is this path or a directory above it. */
export function coveringPath(path: TreePath, paths: { has(path: TreePath): boolean }): TreePath | undefined {
  for (let at = path; ; at = parentPath(at)) {
    if (paths.has(at)) return at;
    if (at === rootPath) return undefined;
  }
}

const byteLength = (text: string): number => Buffer.byteLength(text, "utf8");
