// The parts of publications in Valkey, each under a name that says what it contains. Values are sealed, so that what
// opens was stored by a replica of this fleet.
import { RepoError } from "../base/errors.ts";
import { renewScript } from "./scripts.ts";
import type { Sealing } from "./sealing.ts";
import type { Valkey } from "./valkey.ts";

/** A part of a publication is not in Valkey, or a newer version of the program has written it in another form. */
export class UnusableContent extends RepoError {
  readonly code = "cluster/unavailable";
}

/** Sealed values, by their keys. */
export type SealedValues = ReadonlyMap<string, Buffer>;

/** A value to store. */
export interface Readable {
  readonly read: () => Uint8Array | Promise<Uint8Array>;
}

/** A value to get. */
export interface Wanted {
  readonly key: string;
  readonly bytes: number;
}

/** How long content stays in Valkey that the publisher no longer renews, in ms. */
export const contentTtlMs = 24 * 3600 * 1000;
/** How many keys are looked up at once. */
const keysAtOnce = 1000;
/**
 * How many bytes are asked for at once. This bounds memory, and how long all other commands wait for their answers: on
 * a slow network, these would be given up.
 */
const bytesAtOnce = 1024 ** 2;

export class SharedValues {
  readonly #valkey: Valkey;
  readonly #sealing: Sealing;

  constructor(valkey: Valkey, sealing: Sealing) {
    this.#valkey = valkey;
    this.#sealing = sealing;
  }

  /** Keeps values for another while. @returns the keys of those that Valkey does not have @throws ValkeyUnavailable */
  async missing(keys: readonly string[]): Promise<readonly string[]> {
    const missing: string[] = [];
    for (let at = 0; at < keys.length; at += keysAtOnce) {
      const some = keys.slice(at, at + keysAtOnce);
      const names = some.map((key) => this.#valkey.prefix + key);
      const lacking = await this.#valkey.run((redis) => redis.eval(renewScript, names.length, ...names, contentTtlMs));
      missing.push(...(lacking as number[]).flatMap((number) => some[number - 1] ?? []));
    }
    return missing;
  }

  /** Stores values, a megabyte at once. @throws ValkeyUnavailable */
  async put(values: Iterable<readonly [key: string, value: Readable]>): Promise<void> {
    let sending: Promise<void>[] = [];
    let bytes = 0;
    for (const [key, { read }] of values) {
      const value = this.seal(key, await read());
      const sent = this.putSealed(key, value);
      sent.catch(() => undefined);
      sending.push(sent);
      bytes += value.length;
      if (bytes < bytesAtOnce) continue;
      await Promise.all(sending);
      [sending, bytes] = [[], 0];
    }
    await Promise.all(sending);
  }

  /** @throws ValkeyUnavailable */
  async putSealed(key: string, sealed: Buffer): Promise<void> {
    await this.#valkey.run((redis) => redis.set(this.#valkey.prefix + key, sealed, "PX", contentTtlMs));
  }

  seal(key: string, value: Uint8Array): Buffer {
    return this.#sealing.seal(key, value);
  }

  /**
   * Gets values, a megabyte at once. The next ones are on their way while some are used.
   * @param sent values that need not be fetched, because they came with a message
   * @throws ValkeyUnavailable, UnusableContent
   */
  async *get<Item extends Wanted>(
    items: readonly Item[],
    sent: SealedValues,
  ): AsyncIterable<readonly (readonly [Item, Buffer])[]> {
    let next:
      | { readonly batch: readonly Item[]; readonly sealed: Promise<readonly (Buffer | undefined)[]> }
      | undefined;
    for (const batch of [...batches(items), undefined]) {
      const present = next;
      next = batch && { batch, sealed: this.#getSealed(batch, sent) };
      next?.sealed.catch(() => undefined);
      const sealed = (await present?.sealed) ?? [];
      yield present?.batch.map((item, index) => [item, this.#open(item.key, sealed[index])] as const) ?? [];
    }
  }

  /** @param sent as above @throws ValkeyUnavailable, UnusableContent */
  async getOne(key: string, sent: SealedValues): Promise<Buffer> {
    const [sealed] = await this.#getSealed([{ key }], sent);
    return this.#open(key, sealed);
  }

  async #getSealed(
    items: readonly Pick<Wanted, "key">[],
    sent: SealedValues,
  ): Promise<readonly (Buffer | undefined)[]> {
    const { prefix } = this.#valkey;
    const fetched = items.filter(({ key }) => !sent.has(key)).map(({ key }) => prefix + key);
    const values = fetched.length === 0 ? [] : await this.#valkey.run((redis) => redis.mgetBuffer(...fetched));
    const found = values[Symbol.iterator]();
    return items.map(({ key }) => sent.get(key) ?? found.next().value ?? undefined);
  }

  /** @throws UnusableContent */
  #open(key: string, sealed: Buffer | undefined): Buffer {
    const opened = sealed && this.#sealing.open(key, sealed);
    if (opened !== undefined) return opened;
    const text = sealed ? "has something else at" : "does not have";
    throw new UnusableContent(`Valkey ${text} ${key}, a part of a publication`);
  }
}

/** Splits a list so that no part has much more than `bytesAtOnce`. */
function* batches<Item extends Wanted>(items: readonly Item[]): Iterable<readonly Item[]> {
  let batch: Item[] = [];
  let bytes = 0;
  for (const item of items) {
    batch.push(item);
    bytes += item.bytes;
    if (bytes < bytesAtOnce) continue;
    yield batch;
    [batch, bytes] = [[], 0];
  }
  if (batch.length > 0) yield batch;
}
