// This server as a member of a fleet: tells the others that it is alive, and connects its repositories with theirs.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { endsWithin } from "../base/ends-within.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { repeat } from "../base/repeat.ts";
import { RepeatedFailures } from "../base/repeated-failures.ts";
import type { Secret } from "../base/secret.ts";
import { FleetCounter } from "./counters.ts";
import type { Heard, Member } from "./members.ts";
import { aliveMs, beat, beatMs, release } from "./members.ts";
import { receiveMessages } from "./messages.ts";
import type { ReplicatedPublications } from "./replicated-publications.ts";
import type { FleetOfRepository, ReplicatedRepositoryOptions } from "./replicated-repository.ts";
import { ReplicatedRepository } from "./replicated-repository.ts";
import { FleetSessions } from "./sessions.ts";
import { UnusableContent } from "./shared-values.ts";
import type { FleetStatus } from "./status.ts";
import { fleetStatus, lagSecondsOf } from "./status.ts";
import { Valkey } from "./valkey.ts";
import type { ValkeySettings } from "./valkey-settings.ts";

export interface FleetOptions {
  readonly settings: ValkeySettings;
  /** What all replicas know and nobody else. */
  readonly secret: Secret;
  /** The version of the program. */
  readonly version: string;
  /** Where this server listens, for people. */
  readonly address: () => string;
  readonly log: Log;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** What metrics show. */
interface ObservedFleet {
  readonly isConnected: boolean;
  readonly errors: number;
  readonly members: number;
  readonly repositories: readonly {
    readonly name: string;
    readonly isPublisher: boolean;
    readonly leaseChanges: number;
    readonly lagSeconds: number;
  }[];
}

/** How often past publications are exchanged, in ms. What nobody renews, Valkey forgets after a day. */
const pastMs = 3600 * 1000;
const pastRetryMs = 10_000;
/** How long a server waits for the publications of the others before it reads the tree, in ms. */
const maxCatchUpMs = 30_000;
/** A process that has not run for so long was paused, in ms. */
const pauseMs = 2000;
/** How long a process that was paused waits for an answer of Valkey before it serves what it has, in ms. */
const afterPauseMs = 2000;
const retryMs = 50;
/**
 * How long publications do not wait for this replica after it could not prepare one, in ms: until the publisher has
 * tried to go on without it.
 */
const holdBackMs = 3000;
/** How long after the last answer of Valkey this replica may be behind the others, in ms. */
const staleMs = 3000;

export class Fleet implements FleetOfRepository {
  /** The id of this replica. Another process has another one. */
  readonly id = randomUUID();
  readonly valkey: Valkey;
  /** The sessions of clients that use plain names. */
  readonly sessions: FleetSessions;
  readonly #options: FleetOptions;
  readonly #startedMs: number;
  readonly #repositories = new Map<string, ReplicatedRepository>();
  readonly #stopping = new AbortController();
  readonly #failures = new RepeatedFailures();
  #heard: Heard | undefined;
  /** Whether the last attempt to reach Valkey has succeeded. */
  #isReachable = false;
  /** Whether all publications of the fleet are served here, so that further ones wait for this replica. */
  #isServing = false;
  /** Until when it does not serve them because it fell behind, by `performance.now()`. */
  #heldBackUntilMs = Number.NEGATIVE_INFINITY;
  /** Whether the others know that, and nothing was missed since. */
  #isReady = false;
  /** Why it cannot serve what the others serve. */
  #problem = "it has not yet taken over the publications of the other replicas";
  /** Whether there is a publication that it cannot take over, and no other replica that could serve it. */
  #isLeftAlone = false;
  #isRetired = false;
  #beating: Promise<Heard> | undefined;
  #nextBeat: Promise<Heard> | undefined;
  #catchingUp: Promise<void> | undefined;
  /** When past publications are exchanged again, by `performance.now()`. */
  #pastDueMs = 0;
  #exchanging: Promise<unknown> | undefined;
  #waitingForHeard: ((heard: Heard) => void)[] = [];
  /** When this process was seen to run, by `performance.now()`. */
  #ranMs = performance.now();
  #wasPaused = false;
  #settlingPause: Promise<boolean> | undefined;
  /** By `performance.now()`: what was current then is served here. */
  #settledMs = Number.NEGATIVE_INFINITY;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#startedMs = options.now();
    this.valkey = new Valkey(options.settings, options.log);
    this.sessions = new FleetSessions(this.valkey, options.secret);
  }

  /** A counter of what clients do at all replicas together. */
  counter(name: string, durationSeconds: number): FleetCounter {
    return new FleetCounter(this.valkey, name, durationSeconds);
  }

  /** The state of the whole fleet, as far as this replica knows. */
  status(): FleetStatus {
    const repositories = [...this.#repositories.values()].map(({ name, lease: { holder, changes } }) => ({
      name,
      ...(holder !== undefined && { publisher: holder }),
      leaseChanges: changes,
    }));
    const { notReady } = this;
    return fleetStatus(this.#heard, {
      self: this.id,
      isConnected: this.valkey.isConnected,
      notReady,
      repositories,
    });
  }

  /** The same in numbers, for metrics. */
  observed(): ObservedFleet {
    return {
      isConnected: this.valkey.isConnected,
      errors: this.valkey.errors,
      members: this.#heard?.members.length ?? 0,
      repositories: [...this.#repositories.values()].map((repository) => ({
        name: repository.name,
        isPublisher: repository.isPublisher,
        leaseChanges: repository.lease.changes,
        lagSeconds: this.#lagSecondsOf(repository),
      })),
    };
  }

  #lagSecondsOf(repository: ReplicatedRepository): number {
    if (this.#heard === undefined) return 0;
    const own = new Map([...repository.publications()].map((each) => [each.stateName as string, each.currentIds()]));
    const current = new Map([...this.#heard.current].filter(([stateName]) => own.has(stateName)));
    const nowMs = this.#heard.nowMs + (performance.now() - this.#heard.askedMs);
    return lagSecondsOf({ nowMs, current }, (stateName, suite) => own.get(stateName)?.[suite]);
  }

  /** A repository of this server; `attach` and then `add` begin to connect it. */
  repository(options: Omit<ReplicatedRepositoryOptions, "valkey" | "fleet" | "log">): ReplicatedRepository {
    return new ReplicatedRepository({ ...options, valkey: this.valkey, fleet: this, log: this.#options.log });
  }

  /** Connects a repository with those of the other members, in place of an earlier one of the same name. */
  add(repository: ReplicatedRepository): void {
    this.#repositories.get(repository.name)?.end();
    this.#repositories.set(repository.name, repository);
    // What it serves is compared with the fleet first.
    this.#isReady = false;
    this.#settledMs = Number.NEGATIVE_INFINITY;
    if (this.#heard !== undefined) void this.#beatNow().catch(() => undefined);
  }

  remove(repository: ReplicatedRepository): void {
    repository.end();
    if (this.#repositories.get(repository.name) === repository) this.#repositories.delete(repository.name);
  }

  /** Begins to take part. The repositories must have been added. */
  async start(): Promise<void> {
    const { valkey } = this;
    this.#ranMs = performance.now();
    await receiveMessages(valkey, {
      id: this.id,
      publicationsOf: (state) => this.#publications().filter(({ stateName }) => stateName === state),
      pingsOf: (repository) => this.#repositories.get(repository)?.pings,
      followSnapshots: (publications) => this.#followSnapshots(publications),
      fallBehind: (reason) => this.fallBehind(reason),
    });
    const tell = async (): Promise<number> => {
      this.#notePause();
      await this.#beatNow().catch(() => undefined);
      return beatMs;
    };
    valkey.onReady(() => {
      this.#pastDueMs = 0;
      void this.#beatNow().catch(() => undefined);
    });
    void repeat(tell, { firstDelayMs: beatMs, signal: this.#stopping.signal });
  }

  /**
   * Resolves when this server serves what the others serve, or when there is no use in waiting for that. Reading a large
   * tree before would delay it.
   */
  async caughtUp(): Promise<void> {
    if (!this.valkey.isConnected) return;
    // An earlier answer may be from before the repository was added.
    await endsWithin(this.#compare(), maxCatchUpMs);
  }

  /** As `caughtUp`, for the publications before, which clients of the others may still be reading. */
  async hasTakenRecent(): Promise<void> {
    if (this.valkey.isConnected) await endsWithin(this.#takeRecent(), maxCatchUpMs);
  }

  /** Lets others publish, for example because this server is about to stop. */
  async retire(): Promise<void> {
    this.#isRetired = true;
    for (const { lease } of this.#repositories.values()) lease.end();
    await this.release([...this.#repositories.keys()]).catch(() => undefined);
  }

  async close(): Promise<void> {
    await this.retire();
    this.#stopping.abort(new Error("the server stops"));
    for (const repository of this.#repositories.values()) repository.end();
    const { prefix } = this.valkey;
    await this.valkey
      .run((redis) => redis.del(`${prefix}alive:${this.id}`, `${prefix}member:${this.id}`))
      .catch(() => undefined);
    this.valkey.close();
    // Without Valkey it fails soon. The database is closed next, and must not be read any more.
    await Promise.all([this.#catchingUp, this.#exchanging, ...this.#publications().map((each) => each.idle())]);
  }

  /** Why clients should use other replicas, as a text for people; undefined if this one serves what they serve. */
  get notReady(): string | undefined {
    if (this.#heard === undefined) return "Valkey has not answered yet";
    const silentMs = performance.now() - this.#heard.askedMs;
    if (silentMs > staleMs) return `Valkey has not answered for ${Math.round(silentMs / 1000)} s`;
    return this.#isReady ? undefined : this.#problem;
  }

  get pingRefusal(): string | undefined {
    if (this.valkey.isConnected && this.isUpToDate) return undefined;
    return this.notReady ?? "Valkey does not answer";
  }

  get isUpToDate(): boolean {
    return this.#heard !== undefined && performance.now() - this.#heard.askedMs <= staleMs;
  }

  get isSettled(): boolean {
    return performance.now() - this.#settledMs <= staleMs;
  }

  get servingMembers(): readonly string[] {
    return this.otherMembers.map(({ id }) => id);
  }

  get membership(): string {
    return (this.#heard?.members ?? [])
      .map(({ id, isServing }) => `${id} ${isServing}`)
      .toSorted()
      .join();
  }

  get otherMembers(): readonly Member[] {
    return this.#heard?.members.filter(({ id, isServing }) => isServing && id !== this.id) ?? [];
  }

  get mayBeLeftBehind(): boolean {
    return performance.now() - this.#settledMs >= aliveMs;
  }

  async settle(): Promise<boolean> {
    this.#notePause();
    if (this.#wasPaused) return await this.#settleAfterPause();
    if (!this.#isReachable || !this.valkey.isConnected) return false;
    try {
      await this.#compare();
      return true;
    } catch {
      return false;
    }
  }

  /** Called often: notices when this process has not run for a while. */
  #notePause(): void {
    const nowMs = performance.now();
    if (nowMs - this.#ranMs > pauseMs) this.#wasPaused = true;
    this.#ranMs = nowMs;
  }

  /**
   * As `settle`, for a process that was paused. Its connection may have been given up meanwhile, which says nothing
   * about Valkey, so it waits for another one for a moment.
   */
  #settleAfterPause(): Promise<boolean> {
    this.#settlingPause ??= this.#tryToSettle().finally(() => {
      this.#wasPaused = false;
      this.#settlingPause = undefined;
    });
    return this.#settlingPause;
  }

  async #tryToSettle(): Promise<boolean> {
    for (const begunMs = performance.now(); performance.now() - begunMs < afterPauseMs; await sleep(retryMs)) {
      try {
        await this.#compare();
        return true;
      } catch (thrown) {
        if (thrown instanceof UnusableContent) break;
      }
    }
    return false;
  }

  fallBehind(reason: string): void {
    this.#heldBackUntilMs = performance.now() + holdBackMs;
    // From now on the others may publish without this replica.
    this.#settledMs = Number.NEGATIVE_INFINITY;
    if (!this.#isServing) return;
    this.#isServing = false;
    this.#isReady = false;
    this.#problem = reason;
    void this.#beatAfterNow().catch(() => undefined);
  }

  async nextHeard(): Promise<Heard> {
    this.#stopping.signal.throwIfAborted();
    return await new Promise((resolve) => this.#waitingForHeard.push(resolve));
  }

  async release(repositories: readonly string[]): Promise<void> {
    await release(this.valkey, this.id, repositories);
  }

  /** Tells that this replica is alive, unless that is under way. @throws ValkeyUnavailable */
  #beatNow(): Promise<Heard> {
    this.#beating ??= this.#beat().finally(() => {
      this.#beating = undefined;
    });
    return this.#beating;
  }

  /** Like `#beatNow`, but what Valkey answers is not older than this call. */
  #beatAfterNow(): Promise<Heard> {
    const before = this.#beating;
    if (before === undefined) return this.#beatNow();
    this.#nextBeat ??= before
      .catch(() => undefined)
      .then(() => {
        this.#nextBeat = undefined;
        return this.#beatNow();
      });
    return this.#nextBeat;
  }

  async #beat(): Promise<Heard> {
    const { version } = this.#options;
    const address = this.#options.address();
    const repositories = [...this.#repositories.values()];
    const publications = this.#publications();
    const mayPublish = (this.#isReady || this.#isLeftAlone) && !this.#isRetired;
    try {
      const heard = await beat(this.valkey, {
        description: {
          id: this.id,
          version,
          address,
          startedMs: this.#startedMs,
          isServing: this.#isServing,
          unreadable: repositories.flatMap(({ name, isUnreadable }) => (isUnreadable ? [name] : [])),
          settings: Object.fromEntries(repositories.map(({ name, settings }) => [name, settings])),
          current: Object.fromEntries(publications.map((each) => [each.stateName, each.currentIds()])),
        },
        repositories: new Map(repositories.map((each) => [each.name, mayPublish && each.isCandidate])),
        states: publications.map(({ stateName }) => stateName),
      });
      this.#isReachable = true;
      this.#noteHeard(heard);
      return heard;
    } catch (thrown) {
      this.#isReachable = false;
      throw thrown;
    }
  }

  #noteHeard(heard: Heard): void {
    // Others may have published without this replica.
    if (!this.isUpToDate) this.#isReady = false;
    if (!this.#isAwaited(heard)) this.#settledMs = Number.NEGATIVE_INFINITY;
    // Past publications and first owners are not in a new Valkey.
    if (this.#heard !== undefined && this.#heard.epoch !== heard.epoch) this.#pastDueMs = 0;
    this.#heard = heard;
    for (const repository of this.#repositories.values()) repository.note(heard);
    for (const resolve of this.#waitingForHeard.splice(0)) resolve(heard);
    this.#catchingUp ??= this.#catchUp(heard).finally(() => {
      this.#catchingUp = undefined;
    });
  }

  /** Takes over what the others have, until they may wait for this replica. */
  async #catchUp(heard: Heard): Promise<void> {
    try {
      await this.#sync(heard);
      this.#isLeftAlone = false;
      if (this.#isHeldBack) return;
      if (this.#isAwaited(heard) && !this.#isReady) {
        await this.#takeRecent();
        if (this.#isHeldBack) return;
        this.#isReady = true;
      }
      this.#followSnapshots(this.#publications());
      if (this.#isReady && performance.now() >= this.#pastDueMs) this.#exchangePast();
      const isNews = !this.#isServing;
      this.#isServing = true;
      this.#failures.succeeded("sync");
      if (isNews || !this.#isReady) setImmediate(() => void this.#beatAfterNow().catch(() => undefined));
    } catch (thrown) {
      this.#isServing = false;
      this.#isReady = false;
      this.#problem = messageOf(thrown);
      this.#isLeftAlone = thrown instanceof UnusableContent && this.servingMembers.length === 0;
      if (this.#failures.isNew("sync", thrown))
        this.#options.log.warn(
          { error: messageOf(thrown) },
          "the publications of the other replicas cannot be taken over yet",
        );
    }
  }

  #publications(): readonly ReplicatedPublications[] {
    return [...this.#repositories.values()].flatMap((repository) => [...repository.publications()]);
  }

  /** Executes the commands of other replicas about pins and rollbacks. */
  #followSnapshots(publications: readonly ReplicatedPublications[]): void {
    for (const each of publications) {
      each.snapshots?.follow().then(
        () => this.#failures.succeeded("snapshots"),
        (thrown: unknown) => {
          if (this.#failures.isNew("snapshots", thrown))
            this.#options.log.warn(
              { error: messageOf(thrown) },
              "a pin or rollback of another replica has no effect here yet",
            );
        },
      );
    }
  }

  /** Exchanges past publications with the fleet, in the background. */
  #exchangePast(): void {
    if (this.#exchanging !== undefined) return;
    this.#pastDueMs = performance.now() + pastMs;
    const exchange = async (): Promise<void> => {
      for (const each of this.#publications()) await each.exchangePast();
    };
    this.#exchanging = exchange()
      .then(
        () => this.#failures.succeeded("past"),
        (thrown: unknown) => {
          this.#pastDueMs = performance.now() + pastRetryMs;
          if (this.#stopping.signal.aborted) return;
          if (this.#failures.isNew("past", thrown))
            this.#options.log.warn(
              { error: messageOf(thrown) },
              "past publications could not be exchanged with the other replicas yet",
            );
        },
      )
      .finally(() => {
        this.#exchanging = undefined;
      });
  }

  /** Takes over what is current now. @throws ValkeyUnavailable, StateUnwritable */
  async #compare(): Promise<void> {
    await this.#sync(await this.#beatAfterNow());
  }

  get #isHeldBack(): boolean {
    return performance.now() < this.#heldBackUntilMs;
  }

  /** Whether publications wait for this replica since then. */
  #isAwaited({ members }: Heard): boolean {
    return this.#isServing && members.some(({ id, isServing }) => id === this.id && isServing);
  }

  /** @throws ValkeyUnavailable, StateUnwritable */
  async #sync(heard: Heard): Promise<void> {
    const { current, askedMs } = heard;
    const publications = this.#publications();
    const isOfAll = publications.every(({ stateName }) => current.has(stateName));
    const syncs = publications.map((each) => each.sync(current.get(each.stateName) ?? [], askedMs));
    const failed = (await Promise.allSettled(syncs)).filter((each) => each.status === "rejected");
    // While Valkey is away, nothing can be said about content.
    const worst = failed.find(({ reason }) => !(reason instanceof UnusableContent)) ?? failed[0];
    if (worst !== undefined) throw worst.reason;
    if (isOfAll && this.#isAwaited(heard)) this.#settledMs = Math.max(this.#settledMs, askedMs);
  }

  /** @throws ValkeyUnavailable, StateUnwritable */
  async #takeRecent(): Promise<void> {
    for (const each of this.#publications()) await each.past?.takeRecent();
  }
}
