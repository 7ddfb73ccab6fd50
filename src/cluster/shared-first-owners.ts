// The first owners of package names, for replicas that are added late: the tree alone does not tell who used a name
// first. All others decide by themselves, in the same way.
import type { StateName } from "../base/names.ts";
import type { FirstOwner } from "../catalog/suite/name-ownership.ts";
import type { FirstOwnerStore } from "../publishing/store/first-owner-store.ts";
import { keys } from "./scripts.ts";
import type { Sealing } from "./sealing.ts";
import type { Valkey } from "./valkey.ts";

interface SharedFirstOwnersOptions {
  readonly valkey: Valkey;
  readonly sealing: Sealing;
  readonly stateName: StateName;
  readonly store: FirstOwnerStore;
  readonly isPublisher: () => boolean;
}

/** How many owners are sent at once. */
const ownersAtOnce = 500;

export class SharedFirstOwners {
  readonly #options: SharedFirstOwnersOptions;
  readonly #hash: string;

  constructor(options: SharedFirstOwnersOptions) {
    const { valkey, stateName, store, isPublisher } = options;
    this.#options = options;
    this.#hash = valkey.prefix + keys.firstOwners(stateName);
    store.onChange((key, owner) => {
      if (isPublisher()) void this.#change(key, owner).catch(() => undefined);
    });
  }

  /** Takes over the owners that the publisher has stored, unless this replica has its own. @throws ValkeyUnavailable */
  async load(): Promise<void> {
    const { valkey, store } = this.#options;
    if (!store.isEmpty()) return;
    const all = await valkey.run((redis) => redis.hgetallBuffer(this.#hash));
    await store.take(
      Object.entries(all).flatMap(([key, value]) => {
        const opened = this.#options.sealing.open(this.#nameOf(key), value);
        return opened === undefined ? [] : [[key, JSON.parse(opened.toString()) as FirstOwner] as const];
      }),
    );
  }

  /** Stores all owners. @throws ValkeyUnavailable */
  async offer(): Promise<void> {
    const { valkey, store } = this.#options;
    const all = store.all();
    for (let at = 0; at < all.length; at += ownersAtOnce) {
      const values = new Map(all.slice(at, at + ownersAtOnce).map(([key, owner]) => [key, this.#sealed(key, owner)]));
      await valkey.run((redis) => redis.hset(this.#hash, values));
    }
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
