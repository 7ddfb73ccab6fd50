// The current publications that a repository keeps under one name, on all replicas: announces those that are made here,
// and takes over those that others announce.
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { StateName, Suite } from "../base/names.ts";
import { SerialQueue } from "../base/serial-queue.ts";
import type { Replicas } from "../publishing/build/replicas.ts";
import type { Repository } from "../publishing/live/repository.ts";
import type { Manifest, Signatures, UnsignedManifest } from "../publishing/store/publication.ts";
import { publicationId } from "../publishing/store/publication.ts";
import type { Acknowledgement, Announcement } from "./announcements.ts";
import { acknowledge, announcementText } from "./announcements.ts";
import type { FleetOfAnnouncements, HeldLease } from "./announcer.ts";
import { Announcer } from "./announcer.ts";
import type { AnnouncedState, CurrentPublication, CurrentState, UnknownState } from "./current.ts";
import { orderOf, orderText } from "./current.ts";
import { Doubts } from "./doubts.ts";
import { LeaseLost } from "./lease-lost.ts";
import { PastPublications } from "./past-publications.ts";
import { SharedPublications } from "./publications.ts";
import { keys, offerScript, replaceScript } from "./scripts.ts";
import type { Sealing } from "./sealing.ts";
import { SharedFirstOwners } from "./shared-first-owners.ts";
import { ReplicatedSnapshots } from "./shared-snapshots.ts";
import type { SealedValues } from "./shared-values.ts";
import { UnusableContent } from "./shared-values.ts";
import type { Valkey } from "./valkey.ts";

/** Says that there is a new command about pins and rollbacks. The message is the name of the publications. */
export const snapshotChannel = "snapshots";

/** The fleet, as publications see it. */
export interface FleetOfPublications extends FleetOfAnnouncements {
  /** Says who is there and who serves, as far as this one knows. */
  readonly membership: string;
  /** Whether this replica serves what was current a moment ago. */
  readonly isSettled: boolean;
  /** Whether the others may have published without this replica, because it has not served what they serve for some time. */
  readonly mayBeLeftBehind: boolean;
  /** Compares the publications with those of the fleet. @returns whether that was possible */
  settle(): Promise<boolean>;
  /** Tells the others not to wait for this replica until it has caught up. */
  fallBehind(reason: string): void;
}

export interface ReplicatedPublicationsOptions {
  readonly valkey: Valkey;
  readonly sealing: Sealing;
  readonly stateName: StateName;
  readonly lease: HeldLease;
  /** Whether this replica has learned what the tree does not tell. */
  readonly isPrepared: () => boolean;
  readonly fleet: FleetOfPublications;
  readonly log: Log;
}

/** A current publication that this replica cannot take over. */
interface UnusableState {
  readonly dateSeconds: number;
  readonly reason: UnusableContent;
}

/** What this replica serves of a suite. */
type OwnState =
  | { readonly kind: "publication"; readonly suite: Suite; readonly dateSeconds: number; readonly manifest: Manifest }
  | Extract<CurrentState, { readonly kind: "withdrawal" }>;

const noValues: SealedValues = new Map();

export class ReplicatedPublications implements Replicas {
  readonly stateName: StateName;
  /** Undefined until the repository is attached. */
  past: PastPublications | undefined;
  snapshots: ReplicatedSnapshots | undefined;
  firstOwners: SharedFirstOwners | undefined;
  readonly #options: ReplicatedPublicationsOptions;
  /** Everything that takes over or offers publications. */
  readonly #queue = new SerialQueue();
  #repository: Repository | undefined;
  #publications: SharedPublications | undefined;
  /** Resolves when the publication is served that was the last one to become current elsewhere. */
  #takingOver: Promise<void> | undefined;
  /** By suite: what identifies the current publication, if it is known to be that of the fleet. */
  readonly #agreed = new Map<Suite, string>();
  /** By suite: current publications that this replica cannot take over. */
  #unusable: ReadonlyMap<Suite, UnusableState> = new Map();
  readonly #doubts = new Doubts();
  readonly #announcer: Announcer;

  constructor(options: ReplicatedPublicationsOptions) {
    this.#options = options;
    this.stateName = options.stateName;
    this.#announcer = new Announcer({ ...options, doubts: this.#doubts });
  }

  /** Connects the repository. Nothing is announced or taken over before. */
  attach(repository: Repository): void {
    const { valkey, sealing, stateName, isPrepared, fleet } = this.#options;
    this.#repository = repository;
    const publications = new SharedPublications({ valkey, sealing, stateName, store: repository.store });
    this.#publications = publications;
    const snapshots = new ReplicatedSnapshots({
      valkey,
      stateName,
      repository,
      settle: async () => void (await fleet.settle()),
      take: async (suite, id) => await this.past?.take(suite, id),
      announce: async () => {
        await valkey.run((redis) => redis.publish(valkey.prefix + snapshotChannel, stateName));
      },
    });
    this.snapshots = snapshots;
    this.past = new PastPublications({ valkey, stateName, repository, publications, snapshots, queue: this.#queue });
    const { firstOwners } = repository;
    const isPublisher = () => this.isPublisher;
    this.firstOwners = new SharedFirstOwners({
      valkey,
      sealing,
      stateName,
      store: firstOwners,
      isPublisher,
      isPrepared,
    });
    repository.shareSnapshots(snapshots);
  }

  get isPublisher(): boolean {
    return this.#options.lease.isHeld;
  }

  /** The id of the current publication of each suite. */
  currentIds(): Readonly<Record<string, string>> {
    return Object.fromEntries([...(this.#repository?.publications() ?? [])].map(({ suite, id }) => [suite, id]));
  }

  /**
   * Whether another replica has later publications than this one.
   * @param theirs as `currentIds` of that replica
   */
  isBehind(theirs: Readonly<Record<string, string>>): boolean {
    const withdrawals = [...(this.#repository?.store.withdrawals() ?? [])];
    const withdrawn = withdrawals.map(([suite, { dateSeconds }]) => [suite, publicationId(dateSeconds)] as const);
    const known: Readonly<Record<string, string>> = { ...Object.fromEntries(withdrawn), ...this.currentIds() };
    return Object.entries(theirs).some(([suite, id]) => (known[suite] ?? "") < id);
  }

  settling(): Promise<boolean> | undefined {
    const { fleet } = this.#options;
    if (this.#doubts.areNone && fleet.isSettled) return undefined;
    return fleet.settle().then((isSettled) => isSettled || (this.#doubts.areNone && !fleet.mayBeLeftBehind));
  }

  /** Resolves when this replica shows what all replicas serve. */
  async shown(): Promise<void> {
    await this.#takingOver;
    await this.settling();
  }

  /** Resolves when nothing is taken over or offered. */
  async idle(): Promise<void> {
    await Promise.all([this.#queue.idle(), this.snapshots?.idle()]);
  }

  async announce(
    unsigned: UnsignedManifest,
    sign: () => Promise<Signatures>,
    servedMs: number,
    serve: (manifest: Manifest) => Promise<void>,
  ): Promise<Manifest> {
    const publications = this.#publications;
    if (publications === undefined || !this.isPublisher) throw new LeaseLost("another replica publishes now");
    const { lease, fleet } = this.#options;
    const circumstances = `${lease.fence} ${fleet.membership}`;
    const { current, values, stored } = await publications.announceable(unsigned, servedMs, circumstances);
    const completed = await this.#announcer.announce({ current, values }, async () => {
      const [signatures] = await Promise.all([sign(), stored]);
      const manifest: Manifest = { ...unsigned, ...signatures };
      return { ...publications.complete(current, signatures), serve: () => serve(manifest), manifest };
    });
    this.#agreed.set(current.suite, completed.current.signed);
    return completed.manifest;
  }

  async announceWithdrawal(suite: Suite, nowMs: number): Promise<void> {
    const repository = this.#repository;
    if (repository === undefined || !this.isPublisher) throw new LeaseLost("another replica publishes now");
    const dateSeconds = repository.store.lastDate(suite);
    if (dateSeconds === undefined || repository.store.withdrawalOf(suite)?.dateSeconds === dateSeconds) return;
    await this.#announceWithdrawal(suite, dateSeconds, nowMs, async () => undefined);
  }

  async #announceWithdrawal(
    suite: Suite,
    dateSeconds: number,
    withdrawnMs: number,
    serve: () => Promise<void>,
  ): Promise<void> {
    const current: CurrentState = { kind: "withdrawal", suite, dateSeconds, withdrawnMs };
    await this.#announcer.announce({ current, values: noValues }, async () => ({ current, values: noValues, serve }));
  }

  noteAcknowledgement(acknowledgement: Acknowledgement): void {
    this.#announcer.noteAcknowledgement(acknowledgement);
  }

  /** Follows what another replica announces. */
  async noteAnnouncement(announcement: Announcement): Promise<void> {
    const { fleet, log } = this.#options;
    const { kind, current, values, from } = announcement;
    try {
      if (kind === "prepare") await this.#prepare(current, values, from);
      else await this.#beginTakeOver(announcement.current, values);
    } catch (thrown) {
      log.warn(
        { suite: current.suite, error: messageOf(thrown) },
        "a publication of another replica cannot be taken over yet",
      );
      fleet.fallBehind(messageOf(thrown));
    }
  }

  async #beginTakeOver(current: CurrentState, values: SealedValues): Promise<void> {
    const takingOver = this.#queue.run(() => this.#takeOver(current, values));
    this.#takingOver = takingOver.catch(() => undefined);
    await takingOver;
  }

  async #prepare(current: AnnouncedState, values: SealedValues, publisher: string): Promise<void> {
    const { valkey, fleet } = this.#options;
    if (current.kind === "publication")
      await this.#queue.run(async () => void (await this.#publications?.take(current, values)));
    if (this.#isNews(current)) this.#doubts.note(current);
    await acknowledge(valkey, { state: this.stateName, current, from: publisher }, fleet.id);
  }

  /**
   * Takes over what the fleet has, and offers it what only this replica has.
   * @param askedMs by `performance.now()`: the fleet had this at that time or later
   * @throws ValkeyUnavailable, StateUnwritable
   */
  async sync(states: readonly (CurrentState | UnknownState)[], askedMs: number): Promise<void> {
    const repository = this.#repository;
    if (repository === undefined) return;
    const unusable = new Map<Suite, UnusableState>();
    for (const current of states) {
      // Requests wait for this, and must not wait for past publications that are being taken over.
      if (!this.#isNews(current) && !this.#mayDisagree(current)) continue;
      try {
        await this.#queue.run(() => this.#compare(current));
      } catch (thrown) {
        if (!(thrown instanceof UnusableContent)) throw thrown;
        unusable.set(current.suite, { dateSeconds: current.dateSeconds, reason: thrown });
        // Should this replica publish next, then with a later Date.
        await repository.store.noteDate(current.suite, current.dateSeconds);
      }
    }
    const orders = new Map(states.map((current) => [current.suite, orderOf(current)]));
    for (const own of this.#ownStates(repository)) {
      if ((orders.get(own.suite) ?? 0) < orderOf(own)) await this.#queue.run(() => this.#offer(own));
    }
    this.#doubts.forgetEnded(askedMs);
    this.#unusable = unusable;
    const [first] = unusable.values();
    if (first !== undefined) throw first.reason;
  }

  /**
   * To be called by a new publisher that has published everything. Takes the suites out of service that are current for
   * the fleet, but whose content nobody can provide, and which the tree does not have.
   * @throws LeaseLost, ValkeyUnavailable, StateUnwritable
   */
  async takeCharge(): Promise<void> {
    const repository = this.#repository;
    // Otherwise they are stored with the next exchange of past publications.
    await this.firstOwners?.offer().catch(() => undefined);
    for (const [suite, { dateSeconds }] of this.#unusable) {
      if (repository === undefined || repository.currentOf(suite) !== undefined) continue;
      const withdrawnMs = Date.now();
      await this.#announceWithdrawal(suite, dateSeconds, withdrawnMs, () =>
        repository.adoptWithdrawal(suite, withdrawnMs, dateSeconds),
      );
    }
  }

  /** Takes over what is later than what this replica has. @throws UnusableContent, ValkeyUnavailable, StateUnwritable */
  async #compare(current: CurrentState | UnknownState): Promise<void> {
    const isNews = this.#isNews(current);
    if (current.kind !== "unknown") await (isNews ? this.#takeOver(current) : this.#agreeOn(current));
    else if (isNews) throw new UnusableContent(`a newer version of the program publishes ${current.suite}`);
  }

  /** The current publications of this replica, and the suites that are no longer served. */
  #ownStates(repository: Repository): readonly OwnState[] {
    const publications = Array.from(repository.publications(), (manifest): OwnState => {
      const { suite, dateSeconds } = manifest;
      return { kind: "publication", suite, dateSeconds, manifest };
    });
    const withdrawals = Array.from(
      repository.store.withdrawals(),
      ([suite, withdrawn]): OwnState => ({ kind: "withdrawal", suite, ...withdrawn }),
    );
    return [...publications, ...withdrawals];
  }

  /** Exchanges with the fleet what is not current any more. @throws ValkeyUnavailable, StateUnwritable */
  async exchangePast(): Promise<void> {
    const { isPublisher } = this;
    await this.firstOwners?.offer();
    await this.past?.exchange(isPublisher);
  }

  /**
   * Makes sure that a publication with the same Date is the same. Replicas that were alone before may each have made
   * one; then that of the fleet counts.
   */
  async #agreeOn(current: CurrentState): Promise<void> {
    const [repository, publications] = [this.#repository, this.#publications];
    if (repository === undefined || publications === undefined || !this.#mayDisagree(current)) return;
    const { suite, id, signed, servedMs } = current;
    const own = repository.currentOf(suite);
    if (own === undefined) return;
    try {
      const manifest = await publications.fetch(current);
      if (manifest.inRelease !== own.inRelease) await repository.adopt(manifest, servedMs);
      else repository.store.forgetPrepared(suite, id);
      this.#agreed.set(suite, signed);
    } catch (thrown) {
      if (!(thrown instanceof UnusableContent)) throw thrown;
      await this.#restore(own, current);
    }
  }

  /** Stores the current publication again, of which Valkey has only the name. */
  async #restore(own: Manifest, current: CurrentPublication): Promise<void> {
    const { valkey } = this.#options;
    const pushed = await this.#publications?.push(own, current.servedMs);
    if (pushed === undefined) return;
    const { suite, signed } = pushed;
    if (signed !== current.signed) {
      const args = [valkey.prefix, this.stateName, suite, current.signed, orderText(pushed), JSON.stringify(pushed)];
      const key = valkey.prefix + keys.current(this.stateName);
      await valkey.run((redis) => redis.eval(replaceScript, 1, key, ...args));
    }
    this.#agreed.set(suite, signed);
  }

  /** Whether another replica may have made another publication with the same Date. */
  #mayDisagree(current: CurrentState | UnknownState): current is CurrentPublication {
    if (current.kind !== "publication") return false;
    const { suite, id, signed } = current;
    const isSameDate = this.#repository?.currentOf(suite)?.id === id;
    return isSameDate && this.#agreed.get(suite) !== signed && !this.#announcer.isAnnouncing(suite);
  }

  /** Whether this replica lacks what is current elsewhere. */
  #isNews(current: AnnouncedState | UnknownState): boolean {
    const { suite } = current;
    const own = this.#repository?.currentOf(suite);
    const withdrawn = this.#repository?.store.withdrawalOf(suite);
    if (own !== undefined) return orderOf(current) > orderOf({ kind: "publication", dateSeconds: own.dateSeconds });
    return withdrawn === undefined || orderOf(current) > orderOf({ kind: "withdrawal", ...withdrawn });
  }

  async #takeOver(current: CurrentState, values = noValues): Promise<void> {
    const repository = this.#repository;
    if (repository === undefined) return;
    const { suite } = current;
    await this.#announcer.ended(current);
    if (this.#isNews(current)) {
      if (current.kind === "withdrawal")
        await repository.adoptWithdrawal(suite, current.withdrawnMs, current.dateSeconds);
      else {
        const manifest = await this.#publications?.fetch(current, values);
        if (manifest !== undefined && this.#isNews(current)) await repository.adopt(manifest, current.servedMs);
        this.#agreed.set(suite, current.signed);
      }
    }
    this.#doubts.forget(current);
  }

  /** Tells Valkey the state of a suite, unless it knows a later one. */
  async #offer(own: OwnState): Promise<void> {
    const { valkey, fleet } = this.#options;
    const { suite } = own;
    if (this.#announcer.isAnnouncing(suite)) return;
    const current = own.kind === "withdrawal" ? own : await this.#pushCurrent(own.manifest);
    if (current === undefined) return;
    const { stateName } = this;
    const message = announcementText({ kind: "commit", state: stateName, from: fleet.id, current, values: noValues });
    const args = [valkey.prefix, stateName, suite, orderText(current), JSON.stringify(current), message];
    const key = valkey.prefix + keys.current(this.stateName);
    await valkey.run((redis) => redis.eval(offerScript, 1, key, ...args));
  }

  async #pushCurrent(own: Manifest): Promise<CurrentPublication | undefined> {
    const repository = this.#repository;
    const { suite, id } = own;
    if (repository?.currentOf(suite)?.id !== id) return undefined;
    return await this.#publications?.push(own, repository.store.servedSince(suite, id) * 1000);
  }
}
