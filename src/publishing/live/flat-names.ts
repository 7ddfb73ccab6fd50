// The public names of a flat repository. Internally it is a suite with a name that must not appear outside.
import type { Log } from "../../base/log.ts";
import type { RepositoryName, StateName, TreePath } from "../../base/names.ts";
import { flatSuite } from "../../base/names.ts";
import { flatBinaries, flatComponent, flatPath, flatSources } from "../../catalog/layout/repository-layout.ts";
import type { PublishingObserver } from "../publishing-observer.ts";
import type { PublicationSummary } from "../served-repository.ts";

/** The name of a flat repository in an APT source, for example `./extras/`. @see sources.list(5) */
export const flatSuiteName = (at: TreePath): string => (at === "" ? "./" : `./${at}/`);

/** The public name of a suite. */
export const publicSuiteName = ({ suite, at }: Pick<PublicationSummary, "suite" | "at">): string =>
  at === undefined ? suite : flatSuiteName(at);

/** The name under which a flat repository keeps its state. No configured repository can have this name. */
export const flatStateName = (name: RepositoryName, at: TreePath): StateName => `${name}/${at || "."}`;

/** A flat repository of a tree. */
interface Flat {
  /** The repository that it belongs to. */
  readonly name: RepositoryName;
  readonly at: TreePath;
}

/** The directories of a FlatTree, the deeper ones first. */
const internalPaths = new RegExp(
  `(${flatBinaries}|${flatSources}|${flatPath}/${flatComponent}|${flatPath})(?![\\w.+~-])(/?)`,
  "g",
);

/** Replaces the internal paths and names in a text about a flat repository by paths of the tree and public names. */
export const withPublicNames = (text: string, at: TreePath): string =>
  text
    .replaceAll(internalPaths, (_whole, _path, slash: string) => (at === "" ? (slash === "/" ? "" : ".") : at + slash))
    .replaceAll(flatSuite, flatSuiteName(at));

/** Replaces the internal names in the texts of an error about a flat repository, in place. */
export function renamed(thrown: unknown, at: TreePath): unknown {
  if (!(thrown instanceof Error)) return thrown;
  if (thrown.stack !== undefined) thrown.stack = withPublicNames(thrown.stack, at);
  thrown.message = withPublicNames(thrown.message, at);
  return thrown;
}

/** A log for a flat repository, which replaces internal names by public ones. */
export function flatLog(log: Log, { name, at }: Flat): Log {
  const internalName = flatStateName(name, at);
  const shown = (value: unknown): unknown => {
    if (typeof value === "string") return value === internalName ? name : withPublicNames(value, at);
    if (Array.isArray(value)) return value.map(shown);
    if (value instanceof Error) {
      const { message, stack } = value;
      return Object.create(value, { message: { value: shown(message) }, stack: { value: shown(stack) } });
    }
    return value;
  };
  const shownContext = (context: object): object =>
    Object.fromEntries(Object.entries(context).map(([key, value]) => [key, shown(value)]));
  return {
    info: (context, message) => log.info(shownContext(context), withPublicNames(message, at)),
    warn: (context, message) => log.warn(shownContext(context), withPublicNames(message, at)),
    error: (context, message) => log.error(shownContext(context), withPublicNames(message, at)),
  };
}

/** Pings are counted by the repository that the flat one belongs to, because both are pinged together. */
export const flatObserver = (observer: PublishingObserver): PublishingObserver => ({ ...observer, pingLive() {} });
