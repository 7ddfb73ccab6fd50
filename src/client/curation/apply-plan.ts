// Applies a curation plan: changes each directory together with its change log, then pings the server.
import type { Clock } from "../../base/clock.ts";
import { RepoError } from "../../base/errors.ts";
import type { TreePath } from "../../base/names.ts";
import { isWithin, joinPath, lastName, parentPath, parseTreePath } from "../../base/names.ts";
import type { WriteCap } from "../../storage/tahoe/caps.ts";
import type { Link, WebapiWriter } from "../../storage/tahoe/webapi-writer.ts";
import type { Directory, Entry, Tree } from "../../storage/tree.ts";
import { ContentGone, StorageUnavailable } from "../../storage/tree.ts";
import type { Bundle } from "../bundle.ts";
import type { LinkStateTexts } from "../change-failed.ts";
import { ChangeFailed } from "../change-failed.ts";
import type { WaitingObserver } from "../ping-client.ts";
import { pingUntilLive } from "../ping-client.ts";
import type { LinkChange } from "../upload/link-with-recheck.ts";
import { linkWithRecheck } from "../upload/link-with-recheck.ts";
import type { WriteGateways } from "../write-gateways.ts";
import type { NextChangeLog } from "./change-log.ts";
import { nextChangeLog } from "./change-log.ts";
import type { CurationPlan, DirectoryPlan } from "./curation-plan.ts";

/** Somebody else has changed the directory since the plan was made. A new plan will include that change. */
class ConcurrentChange extends RepoError {
  readonly code = "builder/overtaken";
}

/** The bundle gives no write access to this directory. */
class OutsideBundle extends RepoError {
  readonly code = "builder/outside-bundle";
}

export interface AppliedDirectory {
  readonly path: TreePath;
  /** Names; empty if nothing had to be changed. */
  readonly linked: readonly string[];
  readonly unlinked: readonly string[];
  /** Whether the server has confirmed that APT sees the change; undefined if the bundle has no ping settings. */
  live: boolean | undefined;
}

export interface ApplyPlanOptions {
  readonly bundle: Bundle;
  readonly gateways: WriteGateways;
  /** The bundle's directories, at their paths in the tree. */
  readonly tree: Tree;
  readonly mayReplace: boolean;
  /** How long to wait until all changes are live, in ms. */
  readonly timeoutMs: number;
  readonly waiting: WaitingObserver;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** The directories of a plan to which the bundle gives no write access. */
export const directoriesOutsideBundle = ({ directories }: Bundle, plan: CurationPlan): readonly TreePath[] =>
  plan.directories
    .map(({ directory }) => directory)
    .filter((path) => !directories.some((each) => isWithin(path, each.path)));

/**
 * Can be interrupted, and called again with a new plan, which does not repeat completed changes. All new links of a
 * directory, including the change log, are set in one write; files are unlinked one by one after that.
 * @throws ChangeFailed, because of StorageUnavailable, ConcurrentChange, OutsideBundle, PingRefused or signal.reason
 */
export async function applyPlan(plan: CurationPlan, options: ApplyPlanOptions): Promise<readonly AppliedDirectory[]> {
  const changes = plan.directories.map((each) => new DirectoryChange(each, options));
  const done: AppliedDirectory[] = [];
  try {
    for (const change of changes) done.push(await change.run());
    await pingAll(done, options);
    return done;
  } catch (thrown) {
    const isComplete = done.length === changes.length;
    const linked = changes.some(({ hasStarted }) => hasStarted) ? (isComplete ? "all" : "unknown") : "none";
    throw new ChangeFailed(thrown, linked, linkStateTexts);
  }
}

const linkStateTexts: LinkStateTexts = {
  unknown: "some of the changes may be made already; the same command finishes them",
  all: "all changes are made",
};

/** Pings the server for each directory, to find out whether APT sees the change. */
async function pingAll(done: readonly AppliedDirectory[], options: ApplyPlanOptions): Promise<void> {
  const { bundle, clock, signal } = options;
  if (bundle.ping === undefined) return;
  const deadlineMs = clock() + options.timeoutMs;
  for (const each of done) {
    const timeoutMs = Math.max(0, deadlineMs - clock());
    const result = await pingUntilLive(bundle.ping, each.path, { timeoutMs, waiting: options.waiting, signal });
    each.live = !("notLive" in result);
  }
}

class DirectoryChange {
  /** Whether something was written to this directory, or may have been. */
  hasStarted = false;
  readonly #plan: DirectoryPlan;
  readonly #options: ApplyPlanOptions;
  readonly #linked = new Set<string>();
  readonly #unlinked = new Set<string>();
  #superseded: readonly string[] = [];

  constructor(plan: DirectoryPlan, options: ApplyPlanOptions) {
    this.#plan = plan;
    this.#options = options;
  }

  async run(): Promise<AppliedDirectory> {
    const { gateways, clock, signal } = this.#options;
    const sources = await this.#sources();
    const change = () => gateways.retry((writer) => this.#change(writer, sources), signal);
    await linkWithRecheck([{ link: change }], () => undefined, { clock, signal });
    return { path: this.#plan.directory, linked: [...this.#linked], unlinked: [...this.#unlinked], live: undefined };
  }

  /** Makes the changes that are not made yet. */
  async #change(writer: WebapiWriter, sources: ReadonlyMap<string, Link>): Promise<LinkChange> {
    const { signal } = this.#options;
    const cap = await this.#capOf(writer);
    const entries = await writer.list(cap, signal);
    const links = this.#missing(sources, entries);
    const removed = [...this.#plan.unlinks].flatMap(([name, key]) =>
      isUnchanged(entries.get(name), key) ? [name] : [],
    );
    const after = new Set([...entries.keys(), ...links.keys()]);
    if (links.size > 0 || removed.some((name) => !this.#unlinked.has(name))) {
      this.hasStarted = true;
      const log = await this.#link(writer, cap, entries, links, removed);
      after.add(log.name);
      this.#superseded = log.superseded;
      for (const name of links.keys()) this.#linked.add(name);
      for (const name of removed) this.#unlinked.add(name);
    }
    for (const name of [...removed, ...this.#superseded]) {
      await writer.unlink(cap, parseTreePath(name), signal);
      after.delete(name);
    }
    return { before: entries, after };
  }

  /** The links to set, with content and metadata as they are now at their present location. */
  async #sources(): Promise<ReadonlyMap<string, Link>> {
    const { tree, signal } = this.#options;
    const listings = new Map<TreePath, Directory>();
    const links = new Map<string, Link>();
    for (const [name, { from, contentKey }] of this.#plan.links) {
      const directory = parentPath(from);
      const listing = listings.get(directory) ?? (await tree.look(directory, signal));
      if (listing?.kind !== "directory") throw new ContentGone(from);
      listings.set(directory, listing);
      const entry = listing.entries.get(lastName(from));
      if (entry?.kind !== "file" || entry.content?.key !== contentKey) throw new ContentGone(from);
      links.set(name, { content: entry.content, metadata: entry.metadata });
    }
    return links;
  }

  /** @throws ConcurrentChange if a name has different bytes, which may not be replaced */
  #missing(sources: ReadonlyMap<string, Link>, entries: ReadonlyMap<string, Entry>): ReadonlyMap<string, Link> {
    const missing = new Map<string, Link>();
    for (const [name, link] of sources) {
      const existing = entries.get(name);
      if (existing?.kind === "file" && existing.content?.key === link.content.key) continue;
      if (existing !== undefined && !this.#options.mayReplace) {
        throw new ConcurrentChange(
          `${joinPath(this.#plan.directory, name)} was created with different bytes in the meantime`,
        );
      }
      missing.set(name, link);
    }
    return missing;
  }

  /** Sets all new links in one write, and those that replace others in a second one. @returns the linked change log */
  async #link(
    writer: WebapiWriter,
    cap: WriteCap,
    entries: ReadonlyMap<string, Entry>,
    links: ReadonlyMap<string, Link>,
    removed: readonly string[],
  ): Promise<NextChangeLog> {
    const { tree, bundle, clock, signal } = this.#options;
    const { directory, events } = this.#plan;
    const changed = new Set([...links.keys(), ...removed]);
    const changedEvents = events.filter(({ path }) => changed.has(lastName(path)));
    const log = await nextChangeLog({ tree, directory, entries }, changedEvents, bundle.name, { clock, signal });
    const content = await writer.upload(Buffer.from(log.text), signal);
    const newLinks = new Map([...links].filter(([name]) => !entries.has(name)));
    await writer.linkNew(cap, new Map([...newLinks, [log.name, { content, metadata: undefined }]]), signal);
    const replacements = new Map([...links].filter(([name]) => entries.has(name)));
    if (replacements.size > 0) await writer.link(cap, replacements, signal);
    return log;
  }

  /** The write cap of the directory, which is created if it is missing. */
  async #capOf(writer: WebapiWriter): Promise<WriteCap> {
    const { bundle, signal } = this.#options;
    const { directory, links } = this.#plan;
    const opened = bundle.directories.find(({ path }) => isWithin(directory, path));
    if (opened === undefined) throw new OutsideBundle(`${directory} is in none of this bundle's directories`);
    const relative = parseTreePath(directory.slice(opened.path === "" ? 0 : opened.path.length + 1));
    const cap = await writer.directoryAt(opened.cap, relative, signal);
    if (cap !== undefined) return cap;
    if (links.size === 0) throw new StorageUnavailable(directory, "it cannot be changed", { transient: false });
    return await writer.makeDirectory(opened.cap, relative, signal);
  }
}

/** Whether the entry still has the planned content: a file uploaded in the meantime is not unlinked. */
const isUnchanged = (entry: Entry | undefined, contentKey: string | undefined): boolean =>
  entry?.kind === "file" && entry.content?.key === contentKey;
