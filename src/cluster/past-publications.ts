// The past publications of a repository, on all replicas: clients may still read them, and any replica may be asked for
// them.
import type { StateName, Suite } from "../base/names.ts";
import type { SerialQueue } from "../base/serial-queue.ts";
import type { Repository } from "../publishing/live/repository.ts";
import { publicationId } from "../publishing/store/publication.ts";
import type { CurrentPublication, CurrentState } from "./current.ts";
import { orderOf, orderText, parseCurrent } from "./current.ts";
import type { SharedPublications } from "./publications.ts";
import { keys } from "./scripts.ts";
import type { ReplicatedSnapshots } from "./shared-snapshots.ts";
import { UnusableContent } from "./shared-values.ts";
import type { Valkey } from "./valkey.ts";

export interface PastPublicationsOptions {
  readonly valkey: Valkey;
  readonly stateName: StateName;
  readonly repository: Pick<Repository, "store" | "keepSeconds" | "removeOld">;
  readonly publications: SharedPublications;
  readonly snapshots: ReplicatedSnapshots;
  /** Everything that takes over or offers publications. */
  readonly queue: SerialQueue;
}

/** How long clients read a publication after the next one, in ms; see the sessions of clients that use plain names. */
const recentMs = 300_000;

/** When it began, in ms since the epoch. */
const servedMsOf = (state: CurrentState): number => (state.kind === "publication" ? state.servedMs : state.withdrawnMs);

/** The id of a publication, or the time from which a suite is not served, in the form of an id. */
const momentOf = (state: CurrentState): string =>
  state.kind === "publication" ? state.id : publicationId(Math.floor(state.withdrawnMs / 1000));

/** The field of a state among those that are kept, as the scripts write it. */
const keptFieldOf = (state: CurrentState): string => `${state.suite} ${orderText(state)}`;

export class PastPublications {
  readonly #options: PastPublicationsOptions;

  constructor(options: PastPublicationsOptions) {
    this.#options = options;
  }

  /**
   * Exchanges past publications with the fleet.
   * @param isPublisher whether this replica publishes: then it also renews and forgets them
   * @throws ValkeyUnavailable, StateUnwritable
   */
  async exchange(isPublisher: boolean): Promise<void> {
    const { repository, snapshots } = this.#options;
    const { store } = repository;
    const known = await this.#keptInValkey();
    // Publications share most of their content, which is looked up once.
    const keys = new Set<string>();
    await this.#pushUnknown(known, keys);
    const oldestMs = Date.now() - repository.keepSeconds * 1000;
    for (const [suite, states] of known) {
      const held = snapshots.heldIds(suite);
      for (const [index, state] of states.entries()) {
        const next = states[index + 1];
        if (next === undefined) {
          // Nobody renews it otherwise as long as it is the current one.
          if (isPublisher && state.kind === "publication") await this.#renew(state, keys);
          continue;
        }
        const isKept = servedMsOf(next) > oldestMs || (state.kind === "publication" && held?.has(state.id) === true);
        if (!isKept && isPublisher) await this.#forgetKept(state);
        if (!isKept || state.kind === "withdrawal") continue;
        if (!store.has(suite, state.id)) await this.#takeOver(state, next);
        else if (isPublisher) await this.#renew(state, keys);
      }
    }
    await repository.removeOld();
  }

  /** Takes over one past publication, if Valkey has it. @throws ValkeyUnavailable, StateUnwritable */
  async take(suite: Suite, id: string): Promise<void> {
    const states = (await this.#keptInValkey()).get(suite) ?? [];
    const at = states.findIndex((state) => state.kind === "publication" && state.id === id);
    const [state, next] = [states[at], states[at + 1]];
    if (state?.kind === "publication" && next !== undefined) await this.#takeOver(state, next);
  }

  /** Stores the publications that Valkey does not know. @param keys what Valkey has; those that it gets are added */
  async #pushUnknown(known: ReadonlyMap<Suite, readonly CurrentState[]>, keys: Set<string>): Promise<void> {
    const { publications } = this.#options;
    const { store } = this.#options.repository;
    for (const [suite, id] of Array.from(store.ids())) {
      const states = known.get(suite) ?? [];
      if (states.some((state) => state.kind === "publication" && state.id === id)) continue;
      const manifest = store.get(suite, id);
      if (manifest !== undefined)
        await this.#noteKept(await publications.push(manifest, store.servedSince(suite, id) * 1000, keys));
    }
  }

  /** Keeps a publication in Valkey for another while. @param keys as above */
  async #renew(state: CurrentPublication, keys: Set<string>): Promise<void> {
    const { repository, publications } = this.#options;
    const manifest = repository.store.get(state.suite, state.id);
    const renewed = manifest && (await publications.push(manifest, state.servedMs, keys));
    // The patches of an older publication are not kept: then it is another manifest.
    if (renewed !== undefined && renewed.signed !== state.signed) await this.#noteKept(renewed);
  }

  async #noteKept(state: CurrentState): Promise<void> {
    const { valkey } = this.#options;
    await valkey.run((redis) => redis.hset(this.#keptKey, keptFieldOf(state), JSON.stringify(state)));
  }

  async #forgetKept(state: CurrentState): Promise<void> {
    await this.#options.valkey.run((redis) => redis.hdel(this.#keptKey, keptFieldOf(state)));
  }

  get #keptKey(): string {
    const { valkey, stateName } = this.#options;
    return valkey.prefix + keys.kept(stateName);
  }

  /**
   * Takes over the publications that were current a moment ago: clients are still reading them.
   * @throws ValkeyUnavailable, StateUnwritable
   */
  async takeRecent(): Promise<void> {
    const sinceMs = Date.now() - recentMs;
    for (const states of (await this.#keptInValkey()).values()) {
      for (const [index, state] of states.entries()) {
        const next = states[index + 1];
        if (next === undefined || state.kind === "withdrawal" || servedMsOf(next) < sinceMs) continue;
        await this.#takeOver(state, next);
      }
    }
  }

  async #takeOver(past: CurrentPublication, next: CurrentState): Promise<void> {
    const { publications, queue } = this.#options;
    const { store } = this.#options.repository;
    const times = { servedMs: past.servedMs, supersededMs: servedMsOf(next), successor: momentOf(next) };
    try {
      await queue.run(async () => {
        if (!store.has(past.suite, past.id)) await store.keepPast(await publications.fetch(past), times);
      });
    } catch (thrown) {
      // It is as if it were not kept: Valkey has lost it, or a newer version has another form.
      if (!(thrown instanceof UnusableContent)) throw thrown;
    }
  }

  /** All states of each suite, the earliest first. */
  async #keptInValkey(): Promise<ReadonlyMap<Suite, readonly CurrentState[]>> {
    const { valkey } = this.#options;
    const bySuite = new Map<Suite, CurrentState[]>();
    for (const text of await valkey.run((redis) => redis.hvals(this.#keptKey))) {
      const state = parseCurrent(text);
      if (state !== undefined) bySuite.set(state.suite, [...(bySuite.get(state.suite) ?? []), state]);
    }
    for (const states of bySuite.values()) states.sort((a, b) => orderOf(a) - orderOf(b));
    return bySuite;
  }
}
