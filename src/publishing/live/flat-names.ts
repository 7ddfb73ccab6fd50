// What a flat repository is called where people and programs see it: inside it is a suite of a name that nobody knows.
import type { Log } from "../../base/log.ts";
import type { RepositoryName, StateName, TreePath } from "../../base/names.ts";
import { flatSuite } from "../../base/names.ts";
import { flatBinaries, flatComponent, flatPath, flatSources } from "../../catalog/layout/repository-layout.ts";
import type { PublishingObserver } from "../publishing-observer.ts";
import type { PublicationSummary } from "../served-repository.ts";

/** The name of a flat repository as a source names it, e.g. `./extras/`. @see sources.list(5) */
export const flatSuiteName = (at: TreePath): string => (at === "" ? "./" : `./${at}/`);

/** A suite's name as clients know it. */
export const publicSuiteName = ({ suite, at }: Pick<PublicationSummary, "suite" | "at">): string =>
  at === undefined ? suite : flatSuiteName(at);

/** The name under which a flat repository keeps its state: no repository of its own can have it. */
export const flatStateName = (name: RepositoryName, at: TreePath): StateName => `${name}/${at || "."}`;

/** A flat repository of a tree. */
interface Flat {
  /** The repository that it is a part of. */
  readonly name: RepositoryName;
  readonly at: TreePath;
}

/** The directories of a FlatTree, the deeper ones first. */
const internalPaths = new RegExp(
  `(${flatBinaries}|${flatSources}|${flatPath}/${flatComponent}|${flatPath})(?![\\w.+~-])(/?)`,
  "g",
);

/** A text about a flat repository, with paths of the tree and public names in place of internal ones. */
export const withPublicNames = (text: string, at: TreePath): string =>
  text
    .replaceAll(internalPaths, (_whole, _path, slash: string) => (at === "" ? (slash === "/" ? "" : ".") : at + slash))
    .replaceAll(flatSuite, flatSuiteName(at));

/** An error about a flat repository, for whoever asked: its texts are rewritten in place. */
export function renamed(thrown: unknown, at: TreePath): unknown {
  if (!(thrown instanceof Error)) return thrown;
  if (thrown.stack !== undefined) thrown.stack = withPublicNames(thrown.stack, at);
  thrown.message = withPublicNames(thrown.message, at);
  return thrown;
}

/** A log for a flat repository: what it is told is written down with public names. */
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
  const context = (told: object): object =>
    Object.fromEntries(Object.entries(told).map(([key, value]) => [key, shown(value)]));
  return {
    info: (told, message) => log.info(context(told), withPublicNames(message, at)),
    warn: (told, message) => log.warn(context(told), withPublicNames(message, at)),
    error: (told, message) => log.error(context(told), withPublicNames(message, at)),
  };
}

/** Pings are counted by the repository that a flat one is a part of: it is pinged with it. */
export const flatObserver = (observer: PublishingObserver): PublishingObserver => ({ ...observer, pingLive() {} });
