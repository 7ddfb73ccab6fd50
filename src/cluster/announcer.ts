// Announces publications to the other replicas, for the one that publishes: first all prepare one, then it becomes
// current for all at once.
import type { Log } from "../base/log.ts";
import type { StateName, Suite } from "../base/names.ts";
import { withResolvers } from "../base/with-resolvers.ts";
import type { Acknowledgement } from "./announcements.ts";
import { announcementChannel, announcementText, identityOf } from "./announcements.ts";
import type { AnnouncedState, CurrentState } from "./current.ts";
import { orderText } from "./current.ts";
import type { Doubts } from "./doubts.ts";
import { LeaseLost } from "./lease-lost.ts";
import { commitScript, keys } from "./scripts.ts";
import type { SealedValues } from "./shared-values.ts";
import { contentTtlMs } from "./shared-values.ts";
import type { Valkey } from "./valkey.ts";
import { ValkeyUnavailable } from "./valkey.ts";

/** The lease of the repository, as its publications see it. */
export interface HeldLease {
  readonly repository: string;
  /** Whether this replica publishes now. */
  readonly isHeld: boolean;
  readonly fence: string;
}

/** The fleet, as announcements see it. */
export interface FleetOfAnnouncements {
  /** The id of this replica. */
  readonly id: string;
  /** The ids of the other members that publications must wait for, as far as this one knows. */
  readonly servingMembers: readonly string[];
}

export interface AnnouncerOptions {
  readonly valkey: Valkey;
  readonly stateName: StateName;
  readonly lease: HeldLease;
  readonly fleet: FleetOfAnnouncements;
  readonly doubts: Doubts;
  readonly log: Log;
}

/** How long to wait for acknowledgements until the announcement is repeated, in ms. */
const repeatMs = 500;
/** How long the other replicas may take to prepare a publication that is signed, in ms. */
const maxPrepareMs = 30_000;
/** How long after the announcement acknowledgements count, in ms: whoever has sent one is in doubt for longer (`Doubts`). */
const maxAcknowledgedMs = 20_000;

/** What is announced first. */
interface Announced {
  readonly current: AnnouncedState;
  readonly values: SealedValues;
}

/** What becomes current then. */
export interface Completed {
  readonly current: CurrentState;
  /** What Valkey does not have yet. */
  readonly values: SealedValues;
  readonly serve: () => Promise<void>;
}

/** A publication that is being announced. */
interface Commit {
  readonly suite: Suite;
  readonly order: string;
  /** See `identityOf`. */
  readonly identity: string;
  /** The ids of replicas. */
  readonly preparedBy: Set<string>;
  /** Called after each acknowledgement. */
  acknowledged: () => void;
  /** Resolves when it is served here, or was given up. */
  readonly ended: Promise<void>;
}

export class Announcer {
  readonly #options: AnnouncerOptions;
  readonly #commits = new Set<Commit>();

  constructor(options: AnnouncerOptions) {
    this.#options = options;
  }

  /** Whether a publication of this suite is being announced. */
  isAnnouncing(suite: Suite): boolean {
    return [...this.#commits].some((commit) => commit.suite === suite);
  }

  /** Resolves when nothing of this suite and order is being announced any more. */
  async ended(current: CurrentState): Promise<void> {
    const order = orderText(current);
    const commits = [...this.#commits].filter((commit) => commit.suite === current.suite && commit.order === order);
    await Promise.all(commits.map(({ ended }) => ended));
  }

  /**
   * Resolves when it is current for all replicas and served here.
   * @param complete signs and stores it here, while the others prepare it; returns what becomes current
   * @returns what `complete` returns
   * @throws what `complete` throws, LeaseLost, ValkeyUnavailable
   */
  async announce<Result extends Completed>(announced: Announced, complete: () => Promise<Result>): Promise<Result> {
    const { current } = announced;
    const { promise: ended, resolve: end } = withResolvers<void>();
    const commit: Commit = {
      suite: current.suite,
      order: orderText(current),
      identity: identityOf(current),
      preparedBy: new Set(),
      acknowledged: () => undefined,
      ended,
    };
    this.#commits.add(commit);
    try {
      return await this.#untilCurrent(announced, complete, commit);
    } finally {
      // By then the suite knows what it serves, and does not take it over from itself.
      setImmediate(() => {
        end();
        this.#commits.delete(commit);
      });
    }
  }

  async #untilCurrent<Result extends Completed>(
    announced: Announced,
    complete: () => Promise<Result>,
    commit: Commit,
  ): Promise<Result> {
    const { fleet, doubts, log } = this.#options;
    const { current } = announced;
    let acknowledgedSinceMs = performance.now();
    let completing: Promise<Result> | undefined;
    let completedMs: number | undefined;
    for (let missing = fleet.servingMembers; ; ) {
      const preparing = this.#prepareAt(missing, announced, commit);
      // The announcement is on its way now: signing takes the main thread some milliseconds.
      completing ??= complete();
      const [completed] = await Promise.all([completing, preparing]);
      const nowMs = performance.now();
      completedMs ??= nowMs;
      // Whoever has prepared it must still be in doubt when it becomes current.
      if (nowMs - acknowledgedSinceMs > maxAcknowledgedMs) {
        commit.preparedBy.clear();
        acknowledgedSinceMs = nowMs;
      }
      doubts.note(current);
      const [outcome, ...others] = await this.#tryCommit(completed, commit);
      if (outcome === "done") {
        await completed.serve();
        doubts.forget(current);
        return completed;
      }
      if (outcome !== "missing") {
        doubts.forget(current);
        throw new LeaseLost(outcome === "late" ? "a later publication is current" : "another replica publishes now");
      }
      if (nowMs - completedMs > maxPrepareMs) {
        doubts.forget(current);
        log.error({ suite: commit.suite, replicas: others }, "other replicas do not prepare a publication");
        throw new ValkeyUnavailable(`${others.length} other replicas do not prepare the publication`);
      }
      missing = others;
    }
  }

  /** Announces a publication, and waits for acknowledgements of these members for a moment. */
  async #prepareAt(members: readonly string[], announced: Announced, commit: Commit): Promise<void> {
    const { valkey, stateName, fleet } = this.#options;
    const isPrepared = () => members.every((id) => commit.preparedBy.has(id));
    if (isPrepared()) return;
    const text = announcementText({ kind: "prepare", state: stateName, from: fleet.id, ...announced });
    await valkey.run((redis) => redis.publish(valkey.prefix + announcementChannel, text));
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, repeatMs);
      commit.acknowledged = () => {
        if (!isPrepared()) return;
        clearTimeout(timer);
        resolve();
      };
      commit.acknowledged();
    });
  }

  async #tryCommit({ current, values }: Completed, { suite, order, preparedBy }: Commit): Promise<readonly string[]> {
    const { valkey, stateName, fleet, lease } = this.#options;
    if (!lease.isHeld) return ["lost"];
    const message = announcementText({ kind: "commit", state: stateName, from: fleet.id, current, values });
    const { repository, fence } = lease;
    const own = [valkey.prefix, fleet.id, repository, fence, stateName, suite, order, JSON.stringify(current)];
    const args = [...own, message, contentTtlMs, values.size, ...[...values].flat(), ...preparedBy];
    const key = valkey.prefix + keys.current(stateName);
    return (await valkey.run((redis) => redis.eval(commitScript, 1, key, ...args))) as string[];
  }

  noteAcknowledgement({ prepared, from }: Acknowledgement): void {
    for (const commit of this.#commits) {
      if (commit.identity !== prepared) continue;
      commit.preparedBy.add(from);
      commit.acknowledged();
    }
  }
}
