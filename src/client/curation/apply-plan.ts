// Carries a plan out: directory by directory, each change with its line in the directory's own log, and then the pings.
import type { Clock } from "../../base/clock.ts";
import { RepoError } from "../../base/errors.ts";
import type { TreePath } from "../../base/names.ts";
import { isWithin, joinPath, lastName, parentPath, parseTreePath } from "../../base/names.ts";
import type { WriteCap } from "../../storage/tahoe/caps.ts";
import type { Link, WebapiWriter } from "../../storage/tahoe/webapi-writer.ts";
import type { Directory, Entry, Tree } from "../../storage/tree.ts";
import { ContentGone, StorageUnavailable } from "../../storage/tree.ts";
import type { Bundle } from "../bundle.ts";
import type { LinkWords } from "../change-failed.ts";
import { ChangeFailed } from "../change-failed.ts";
import type { WaitingObserver } from "../ping-client.ts";
import { pingUntilLive } from "../ping-client.ts";
import type { Linked } from "../upload/link-with-recheck.ts";
import { linkWithRecheck } from "../upload/link-with-recheck.ts";
import type { WriteGateways } from "../write-gateways.ts";
import type { NextChangeLog } from "./change-log.ts";
import { nextChangeLog } from "./change-log.ts";
import type { CurationPlan, DirectoryPlan } from "./curation-plan.ts";

/** Another one has put something else here since the plan was made: a new plan will tell of it. */
class Overtaken extends RepoError {
  readonly code = "builder/overtaken";
}

/** The bundle has no cap for this directory. */
class OutsideBundle extends RepoError {
  readonly code = "builder/outside-bundle";
}

export interface AppliedDirectory {
  readonly path: TreePath;
  /** Names; none where all was as it should be. */
  readonly linked: readonly string[];
  readonly unlinked: readonly string[];
  /** Whether the server has said that APT sees it; undefined where the bundle has no ping. */
  live: boolean | undefined;
}

export interface ApplyPlanOptions {
  readonly bundle: Bundle;
  readonly gateways: WriteGateways;
  /** What the bundle's caps open, each at its place. */
  readonly tree: Tree;
  readonly mayReplace: boolean;
  /** How long to wait until all is live, in ms. */
  readonly patienceMs: number;
  readonly waiting: WaitingObserver;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** The paths of a plan that the bundle can't change. */
export const outside = ({ directories }: Bundle, plan: CurationPlan): readonly TreePath[] =>
  plan.directories
    .map(({ directory }) => directory)
    .filter((path) => !directories.some((each) => isWithin(path, each.path)));

/**
 * Safe to be interrupted and called again with a new plan: what is done is found done. Links of a directory appear
 * together, with the line that tells of them; files go one by one, after the line was written.
 * @throws ChangeFailed, because of StorageUnavailable, Overtaken, OutsideBundle, PingRefused or signal.reason
 */
export async function applyPlan(plan: CurationPlan, parts: ApplyPlanOptions): Promise<readonly AppliedDirectory[]> {
  const changes = plan.directories.map((each) => new DirectoryChange(each, parts));
  const done: AppliedDirectory[] = [];
  try {
    for (const change of changes) done.push(await change.run());
    await pingAll(done, parts);
    return done;
  } catch (thrown) {
    const isAll = done.length === changes.length;
    const linked = changes.some(({ hasBegun }) => hasBegun) ? (isAll ? "all" : "unknown") : "none";
    throw new ChangeFailed(thrown, linked, linkWords);
  }
}

const linkWords: LinkWords = {
  unknown: "some of the changes may be made already; the same command finishes them",
  all: "all changes are made",
};

/** Asks the server, directory by directory, whether APT sees the change. */
async function pingAll(done: readonly AppliedDirectory[], parts: ApplyPlanOptions): Promise<void> {
  const { bundle, clock, signal } = parts;
  if (bundle.ping === undefined) return;
  const deadlineMs = clock() + parts.patienceMs;
  for (const each of done) {
    const patienceMs = Math.max(0, deadlineMs - clock());
    const answer = await pingUntilLive(bundle.ping, each.path, { patienceMs, waiting: parts.waiting, signal });
    each.live = !("notLive" in answer);
  }
}

class DirectoryChange {
  /** Whether anything was written here, or may have been. */
  hasBegun = false;
  readonly #plan: DirectoryPlan;
  readonly #parts: ApplyPlanOptions;
  readonly #linked = new Set<string>();
  readonly #unlinked = new Set<string>();
  #superseded: readonly string[] = [];

  constructor(plan: DirectoryPlan, parts: ApplyPlanOptions) {
    this.#plan = plan;
    this.#parts = parts;
  }

  async run(): Promise<AppliedDirectory> {
    const { gateways, clock, signal } = this.#parts;
    const sources = await this.#sources();
    const carryOut = () => gateways.change((writer) => this.#carryOut(writer, sources), signal);
    await linkWithRecheck([{ link: carryOut }], () => undefined, { clock, signal });
    return { path: this.#plan.directory, linked: [...this.#linked], unlinked: [...this.#unlinked], live: undefined };
  }

  /** Does what is not done. */
  async #carryOut(writer: WebapiWriter, sources: ReadonlyMap<string, Link>): Promise<Linked> {
    const { signal } = this.#parts;
    const cap = await this.#capOf(writer);
    const entries = await writer.list(cap, signal);
    const links = this.#missing(sources, entries);
    const going = [...this.#plan.unlinks].flatMap(([name, key]) => (isStill(entries.get(name), key) ? [name] : []));
    const left = new Set([...entries.keys(), ...links.keys()]);
    if (links.size > 0 || going.some((name) => !this.#unlinked.has(name))) {
      this.hasBegun = true;
      const log = await this.#link(writer, cap, entries, links, going);
      left.add(log.name);
      this.#superseded = log.superseded;
      for (const name of links.keys()) this.#linked.add(name);
      for (const name of going) this.#unlinked.add(name);
    }
    for (const name of [...going, ...this.#superseded]) {
      await writer.unlink(cap, parseTreePath(name), signal);
      left.delete(name);
    }
    return { found: entries, left };
  }

  /** What is to be linked, as its own directory tells of it now. */
  async #sources(): Promise<ReadonlyMap<string, Link>> {
    const { tree, signal } = this.#parts;
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

  /** @throws Overtaken where other bytes have one of the names and may not be replaced */
  #missing(sources: ReadonlyMap<string, Link>, entries: ReadonlyMap<string, Entry>): ReadonlyMap<string, Link> {
    const missing = new Map<string, Link>();
    for (const [name, link] of sources) {
      const there = entries.get(name);
      if (there?.kind === "file" && there.content?.key === link.content.key) continue;
      if (there !== undefined && !this.#parts.mayReplace) {
        throw new Overtaken(`${joinPath(this.#plan.directory, name)} has come to be there with other bytes`);
      }
      missing.set(name, link);
    }
    return missing;
  }

  /** One write, but for what takes another's place. @returns the log that is among what it linked */
  async #link(
    writer: WebapiWriter,
    cap: WriteCap,
    entries: ReadonlyMap<string, Entry>,
    links: ReadonlyMap<string, Link>,
    going: readonly string[],
  ): Promise<NextChangeLog> {
    const { tree, bundle, clock, signal } = this.#parts;
    const { directory, events } = this.#plan;
    const changed = new Set([...links.keys(), ...going]);
    const due = events.filter(({ path }) => changed.has(lastName(path)));
    const log = await nextChangeLog({ tree, directory, entries }, due, bundle.name, { clock, signal });
    const content = await writer.upload(Buffer.from(log.text), signal);
    const fresh = new Map([...links].filter(([name]) => !entries.has(name)));
    await writer.linkNew(cap, new Map([...fresh, [log.name, { content, metadata: undefined }]]), signal);
    const replacing = new Map([...links].filter(([name]) => entries.has(name)));
    if (replacing.size > 0) await writer.link(cap, replacing, signal);
    return log;
  }

  /** The directory's own cap; where it is missing, it is made. */
  async #capOf(writer: WebapiWriter): Promise<WriteCap> {
    const { bundle, signal } = this.#parts;
    const { directory, links } = this.#plan;
    const owned = bundle.directories.find(({ path }) => isWithin(directory, path));
    if (owned === undefined) throw new OutsideBundle(`${directory} is in none of this bundle's directories`);
    const relative = parseTreePath(directory.slice(owned.path === "" ? 0 : owned.path.length + 1));
    const cap = await writer.directoryAt(owned.cap, relative, signal);
    if (cap !== undefined) return cap;
    if (links.size === 0) throw new StorageUnavailable(directory, "it can't be changed", { transient: false });
    return await writer.makeDirectory(owned.cap, relative, signal);
  }
}

/** Whether this is what was to go. What was uploaded under its name since then stays. */
const isStill = (entry: Entry | undefined, contentKey: string | undefined): boolean =>
  entry?.kind === "file" && entry.content?.key === contentKey;
