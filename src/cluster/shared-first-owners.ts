// The first owners of package names, for replicas that are added late or were away: the tree alone does not tell who
// used a name first. All others decide by themselves, in the same way.
import { z } from "zod";
import type { StateName } from "../base/names.ts";
import { SerialQueue } from "../base/serial-queue.ts";
import type { FirstOwner } from "../catalog/suite/name-ownership.ts";
import type { FirstOwnerStore } from "../publishing/store/first-owner-store.ts";
import { parsedJson } from "./parsed-json.ts";
import { keys } from "./scripts.ts";
import type { Sealing } from "./sealing.ts";
import type { Valkey } from "./valkey.ts";

interface SharedFirstOwnersOptions {
  readonly valkey: Valkey;
  readonly sealing: Sealing;
  readonly stateName: StateName;
  readonly store: FirstOwnerStore;
  readonly isPublisher: () => boolean;
  /** Whether this replica has learned what others know. */
  readonly isPrepared: () => boolean;
}

/** How many owners are sent at once. */
const ownersAtOnce = 500;
/** Its field says that all owners are there. No key of an owner is empty. */
const complete = "";

const firstOwner = z.object({ owner: z.string(), sinceMs: z.number() });

export class SharedFirstOwners {
  readonly #options: SharedFirstOwnersOptions;
  readonly #hash: string;
  /** Everything that writes to Valkey. */
  readonly #queue = new SerialQueue();

  constructor(options: SharedFirstOwnersOptions) {
    const { valkey, stateName, store, isPublisher } = options;
    this.#options = options;
    this.#hash = valkey.prefix + keys.firstOwners(stateName);
    store.onChange((key, owner) => {
      // What is lost here is sent with all others, when Valkey is back.
      if (isPublisher()) void this.#queue.run(() => this.#change(key, owner)).catch(() => undefined);
    });
  }

  /**
   * Takes over the owners that the publisher has stored, in place of those that this replica knows.
   * @returns whether all of them were there; otherwise nothing has changed unless this replica knew none
   * @throws ValkeyUnavailable, StateUnwritable
   */
  async load(): Promise<boolean> {
    const { valkey, sealing, store } = this.#options;
    const { [complete]: mark, ...all } = await valkey.run((redis) => redis.hgetallBuffer(this.#hash));
    if (mark === undefined && !store.isEmpty()) return false;
    const owners = Object.entries(all).flatMap(([key, value]) => {
      const opened = sealing.open(this.#nameOf(key), value);
      const owner = opened && parsedJson(firstOwner, opened.toString());
      return owner === undefined ? [] : [[key, owner] as const];
    });
    await store.replaceBy(new Map(owners));
    return mark !== undefined;
  }

  /** Whether this replica knows none. */
  isEmpty(): boolean {
    return this.#options.store.isEmpty();
  }

  /**
   * Stores all owners. Those of the publisher count; another replica stores its own if there are none.
   * @throws ValkeyUnavailable
   */
  async offer(): Promise<void> {
    const { valkey, isPublisher, isPrepared } = this.#options;
    if (!isPrepared()) return;
    await this.#queue.run(async () => {
      if (isPublisher() || (await valkey.run((redis) => redis.hexists(this.#hash, complete))) === 0)
        await this.#offer();
    });
  }

  async #offer(): Promise<void> {
    const { valkey, store } = this.#options;
    const all = await store.all();
    for (let at = 0; at < all.length; at += ownersAtOnce) {
      const values = new Map(all.slice(at, at + ownersAtOnce).map(([key, owner]) => [key, this.#sealed(key, owner)]));
      await valkey.run((redis) => redis.hset(this.#hash, values));
    }
    const own = new Set<string>([complete, ...all.map(([key]) => key)]);
    const freed = (await valkey.run((redis) => redis.hkeys(this.#hash))).filter((key) => !own.has(key));
    if (freed.length > 0) await valkey.run((redis) => redis.hdel(this.#hash, ...freed));
    await valkey.run((redis) => redis.hset(this.#hash, complete, "1"));
  }

  async #change(key: string, owner: FirstOwner | undefined): Promise<void> {
    await this.#options.valkey.run((redis) =>
      owner === undefined ? redis.hdel(this.#hash, key) : redis.hset(this.#hash, key, this.#sealed(key, owner)),
    );
  }

  #sealed(key: string, owner: FirstOwner): Buffer {
    return this.#options.sealing.seal(this.#nameOf(key), Buffer.from(JSON.stringify(owner)));
  }

  #nameOf(key: string): string {
    return `first owner ${this.#options.stateName} ${key}`;
  }
}
