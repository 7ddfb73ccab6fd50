// One configured repository in a fleet: its lease, its publications under all their names, and its pings.
import { endsWithin } from "../base/ends-within.ts";
import { codeOf, errorOf, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { RepositoryName, StateName, TreePath } from "../base/names.ts";
import { ownVersion } from "../base/own-version.ts";
import type { Secret } from "../base/secret.ts";
import type { Repository } from "../publishing/live/repository.ts";
import type { PingOutcome } from "../publishing/served-repository.ts";
import { RepositoryLease } from "./lease.ts";
import type { Heard, Member } from "./members.ts";
import { beatMs, settleMs } from "./members.ts";
import type { PingedRepository } from "./pings.ts";
import { ReplicatedPings } from "./pings.ts";
import { ReadOnce } from "./read-once.ts";
import type { FleetOfPublications } from "./replicated-publications.ts";
import { ReplicatedPublications } from "./replicated-publications.ts";
import { Sealing } from "./sealing.ts";
import type { Valkey } from "./valkey.ts";

/** The fleet, as a repository sees it. */
export interface FleetOfRepository extends FleetOfPublications {
  /** Why pings cannot be passed on now; undefined if they can. */
  readonly pingRefusal: string | undefined;
  /** The others that serve, as far as this one knows. */
  readonly otherMembers: readonly Member[];
  /** Resolves with the next answer of Valkey. @throws if the fleet is closed */
  nextHeard(): Promise<Heard>;
  /** Gives leases back. */
  release(repositories: readonly string[]): Promise<void>;
}

export interface ReplicatedRepositoryOptions {
  readonly valkey: Valkey;
  readonly fleet: FleetOfRepository;
  readonly name: RepositoryName;
  /** What all replicas know and nobody else. */
  readonly secret: Secret;
  /** The fingerprints of the keys. */
  readonly signingKeys: readonly string[];
  /** Fingerprints of the other settings that must be equal on all replicas, by what they are. */
  readonly settings: Readonly<Record<string, string>>;
  /** Called when this replica begins to publish. */
  readonly onPublisher: () => void;
  readonly log: Log;
}

/** The fingerprints of the signing keys among the settings of a repository. */
const signingKeys = "signing keys";

const keysIn = (settings: Readonly<Record<string, string>>): readonly string[] =>
  (settings[signingKeys] ?? "").split(" ");

/** How long a start waits for the connection to Valkey, in ms. */
const connectionPatienceMs = 3000;

/** How long a start waits for the first owners of names, in ms. */
const ownersPatienceMs = 15_000;

/** After a replica could not read the tree, the others take the lease for so long, in ms. */
const restMs = 5000;

export class ReplicatedRepository {
  readonly name: RepositoryName;
  readonly settings: Readonly<Record<string, string>>;
  readonly sealing: Sealing;
  /** What the replicas know together of the files of the tree. */
  readonly readOnce: ReadOnce;
  readonly #options: ReplicatedRepositoryOptions;
  readonly #lease: RepositoryLease;
  readonly #pings: ReplicatedPings;
  readonly #publications = new Map<StateName, ReplicatedPublications>();
  /** The repositories that this server refreshes: all but those of exports. */
  #live: readonly Repository[] = [];
  /** The differences of settings that were logged. */
  readonly #told = new Set<string>();
  #restUntilMs = 0;
  #isEnded = false;
  /** Whether `prepare` has ended. Whoever publishes tells the others what it has learned there. */
  #isPrepared = false;
  /** Since when Valkey has data. */
  #epoch: string | undefined;

  constructor(options: ReplicatedRepositoryOptions) {
    const { valkey, fleet, name, secret, settings, log } = options;
    this.name = name;
    this.settings = { ...settings, [signingKeys]: options.signingKeys.join(" ") };
    this.#options = options;
    this.sealing = new Sealing(secret, name);
    this.readOnce = new ReadOnce({ valkey, secret, repository: name, member: fleet.id, version: ownVersion() });
    this.#lease = new RepositoryLease({
      repository: name,
      id: fleet.id,
      onTaken: (takenMs) => void this.#catchUp(takenMs),
    });
    this.#pings = new ReplicatedPings({
      valkey,
      sealing: this.sealing,
      repository: name,
      id: fleet.id,
      isPublisher: () => this.isPublisher,
      refusal: () => fleet.pingRefusal,
      leaveToOthers: () => this.#leaveToOthers(),
      log,
    });
  }

  /** Whether this replica publishes now. */
  get isPublisher(): boolean {
    return this.#lease.isHeld;
  }

  get lease(): RepositoryLease {
    return this.#lease;
  }

  /** Whether this replica would take the lease. */
  get isCandidate(): boolean {
    if (this.#isEnded || !this.#isPrepared || this.#live.length === 0) return false;
    const isRested = performance.now() > this.#restUntilMs;
    return isRested && !this.#canOthersReadAlone && !this.#isForeign;
  }

  /** Whether the tree cannot be read here. */
  get isUnreadable(): boolean {
    return this.#live.some(({ isTreeAway }) => isTreeAway);
  }

  /** Whether the tree cannot be read here, but elsewhere. */
  get #canOthersReadAlone(): boolean {
    const { fleet } = this.#options;
    return this.isUnreadable && fleet.otherMembers.some(({ unreadable }) => !unreadable.includes(this.name));
  }

  /** Whether more members sign with other keys than with those of this replica, whose configuration is wrong then. */
  get #isForeign(): boolean {
    const { fleet } = this.#options;
    const own = keysIn(this.settings);
    const isShared = ({ settings }: Member): boolean => {
      const others = settings[this.name];
      return others === undefined || keysIn(others).some((key) => own.includes(key));
    };
    const others = fleet.otherMembers;
    const shared = others.filter(isShared).length;
    return others.length - shared > shared + 1;
  }

  /** The publications that are kept under a name. */
  publicationsOf(stateName: StateName): ReplicatedPublications {
    const { valkey, fleet, log } = this.#options;
    const known = this.#publications.get(stateName);
    if (known !== undefined) return known;
    const opened = new ReplicatedPublications({
      valkey,
      sealing: this.sealing,
      stateName,
      lease: this.#lease,
      isPrepared: () => this.#isPrepared,
      fleet,
      log,
    });
    this.#publications.set(stateName, opened);
    return opened;
  }

  publications(): Iterable<ReplicatedPublications> {
    return this.#publications.values();
  }

  /**
   * Begins to take part.
   * @param live the repositories that are refreshed before this replica publishes
   */
  attach(live: readonly Repository[], pinged: PingedRepository): void {
    this.#live = live;
    this.#pings.attach(pinged);
  }

  /**
   * Takes over what the tree does not tell, before it is read for the first time. Gives up after a moment without
   * Valkey: then this replica decides by itself.
   */
  async prepare(): Promise<void> {
    if (await this.#options.valkey.isConnectedWithin(connectionPatienceMs))
      await endsWithin(this.#takeOwners(), ownersPatienceMs);
    this.#isPrepared = true;
  }

  /**
   * Takes over the first owners of names. As long as there are other replicas, it waits until they have stored them:
   * Valkey may just have lost everything.
   */
  async #takeOwners(): Promise<void> {
    const { fleet } = this.#options;
    const stores = [...this.#publications.values()].flatMap(({ firstOwners }) => firstOwners ?? []);
    while (!this.#isEnded) {
      const { nowMs, epoch, leases } = await fleet.nextHeard();
      const dataMs = nowMs - Number(epoch);
      const isAlone = fleet.otherMembers.length === 0;
      // In a new Valkey, others may not have told yet that they are there.
      if (isAlone && dataMs < settleMs) continue;
      const loads = stores.filter((store) => !isAlone || store.isEmpty()).map((store) => store.load());
      const loaded = await Promise.all(loads).catch(() => [false]);
      if (isAlone || loaded.every(Boolean)) return;
      // The others have just started as well: a replica that knows the owners would publish by now.
      if (leases.get(this.name)?.holder === undefined && dataMs >= settleMs + 2 * beatMs) return;
    }
  }

  /** As `ServedRepository.ping`: then the change is published on all replicas. @throws ValkeyUnavailable */
  async ping(path: TreePath, signal: AbortSignal): Promise<PingOutcome> {
    const outcome = await this.#pings.ping(path, signal);
    // All replicas serve it by now; this one also shows it.
    for (const publications of this.#publications.values()) await publications.shown();
    return outcome;
  }

  /** As `ServedRepository.requestRefresh`. */
  async requestRefresh(path: TreePath): Promise<void> {
    await this.#pings.note(path);
  }

  get pings(): ReplicatedPings {
    return this.#pings;
  }

  note(heard: Heard): void {
    if (this.#isEnded) return;
    this.#lease.note(heard);
    this.#compareSettings(heard);
    // The connection may have outlasted the data.
    if (this.#epoch !== undefined && this.#epoch !== heard.epoch) void this.readOnce.sweep();
    this.#epoch = heard.epoch;
    if (this.#lease.isTaken && this.#canOthersReadAlone) void this.#giveUp("the tree cannot be read here");
    // Messages may have been lost.
    if (this.isPublisher) void this.#pings.answerAll().catch(() => undefined);
  }

  /** Does not take part any more; another object may stand for this repository. */
  end(): void {
    this.#isEnded = true;
    this.#lease.end();
    this.#pings.stop();
    this.readOnce.close();
  }

  /** Prepares to publish: learns what all other members know, reads the tree, and publishes what nobody has. */
  async #catchUp(takenMs: number): Promise<void> {
    const { fleet, onPublisher, log } = this.#options;
    const { fence } = this.#lease;
    const isStillTaken = () => this.#lease.isTaken && this.#lease.fence === fence && !this.#isEnded;
    try {
      while (isStillTaken()) {
        const { members } = await fleet.nextHeard();
        if (members.every((member) => member.toldMs >= takenMs && !this.#isBehind(member))) break;
      }
      // A suite that is rolled back must not serve the tree for a moment.
      for (const { snapshots } of this.#publications.values()) await snapshots?.follow().catch(() => undefined);
      await Promise.all(this.#live.map((repository) => repository.refreshAll()));
      if (!isStillTaken() || !this.#lease.publish(fence)) return;
      log.info({ repository: this.name, fence }, "this replica publishes now");
      for (const repository of this.#live) await repository.publishAll();
      for (const publications of this.#publications.values()) await publications.takeCharge();
      onPublisher();
      await this.#pings.answerAll();
    } catch (thrown) {
      if (!isStillTaken()) return;
      const isAwayEverywhere = codeOf(thrown) === "storage/unavailable" && !this.#canOthersReadAlone;
      if (isAwayEverywhere) await this.#pings.answerAll(errorOf(thrown)).catch(() => undefined);
      await this.#giveUp(messageOf(thrown));
    }
  }

  /** Called when the storage was unavailable for a ping. @returns whether another replica answers it */
  async #leaveToOthers(): Promise<boolean> {
    await Promise.all(this.#live.map((repository) => repository.checkTree()));
    if (!this.#canOthersReadAlone) return false;
    await this.#giveUp("the tree cannot be read here");
    return true;
  }

  /** Lets another replica publish. */
  async #giveUp(error: string): Promise<void> {
    const { fleet, log } = this.#options;
    log.warn({ repository: this.name, error }, "this replica cannot publish: another one may");
    this.#restUntilMs = performance.now() + restMs;
    this.#lease.end();
    await fleet.release([this.name]).catch(() => undefined);
  }

  /** Logs once for each member which of its settings differ. */
  #compareSettings({ members }: Heard): void {
    const { fleet, log } = this.#options;
    for (const { id, address, settings } of members) {
      const theirs = settings[this.name];
      if (id === fleet.id || theirs === undefined) continue;
      const names = new Set([...Object.keys(theirs), ...Object.keys(this.settings)]);
      const differing = [...names].filter((name) => theirs[name] !== this.settings[name]).toSorted();
      const told = `${id} ${differing.join()}`;
      if (differing.length === 0 || this.#told.has(told)) continue;
      this.#told.add(told);
      const context = { repository: this.name, replica: id, address, differing };
      log.error(context, "the configuration of another replica differs");
    }
  }

  /** Whether another member has a later publication than this one. */
  #isBehind({ current }: Member): boolean {
    return [...this.#publications.values()].some((each) => each.isBehind(current[each.stateName] ?? {}));
  }
}
