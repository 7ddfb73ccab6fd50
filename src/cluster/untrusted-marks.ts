// Contents about which something wrong is known: a mark that one server makes reaches every other one, also later ones.
import { z } from "zod";
import type { UntrustedMark } from "../catalog/shared-inspections.ts";
import { parsedJson } from "./parsed-json.ts";
import type { Sealing } from "./sealing.ts";
import type { Valkey } from "./valkey.ts";

/** The number of marks of one tree. Each names a content whose uploader gave wrong metadata, or a damaged record. */
const maxMarks = 10_000;

const untrustedMark = z.object({ contentKey: z.string(), mark: z.string() });

/** A mark that Valkey does not have yet. */
interface Unsent {
  readonly mark: UntrustedMark;
  /** The keys of inspections that may be wrong, as `SharedInspections` has them. */
  readonly wrongKeys: readonly string[];
  /** The keys of Valkey to delete. */
  readonly deleted: readonly string[];
}

/** KEYS: the marks, then what to delete. ARGV: the field, the value, the channel, the highest number of marks. */
const addScript = `
for n = 2, #KEYS do redis.call('DEL', KEYS[n]) end
if redis.call('HLEN', KEYS[1]) < tonumber(ARGV[4]) or redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
redis.call('PUBLISH', ARGV[3], ARGV[2])`;

/** The marks of one tree. */
export class UntrustedMarks {
  readonly #valkey: Valkey;
  readonly #sealing: Sealing;
  /** By content key. */
  readonly #unsent = new Map<string, Unsent>();
  readonly #key: string;
  readonly #channel: string;
  readonly #removeListeners: (() => void)[] = [];

  constructor(valkey: Valkey, sealing: Sealing) {
    this.#valkey = valkey;
    this.#sealing = sealing;
    const name = sealing.nameOf("untrusted");
    this.#key = `${valkey.prefix}untrusted:${name}`;
    this.#channel = `untrusted:${name}`;
    this.#removeListeners.push(valkey.onReady(() => void this.#sendAll()));
  }

  /**
   * Passes on the marks of other servers: those that there are at each connection, and each new one.
   * @param take is called for marks that it knows already, too
   */
  receive(take: (marks: readonly UntrustedMark[]) => void): void {
    void this.#valkey.subscribe(this.#channel, (message) => take(this.#opened(message)));
    const takeAll = () => void this.all().then(take, () => undefined);
    this.#removeListeners.push(this.#valkey.onReady(takeAll));
  }

  close(): void {
    for (const remove of this.#removeListeners) remove();
  }

  /** Returns every mark. @throws ValkeyUnavailable */
  async all(): Promise<readonly UntrustedMark[]> {
    const values = await this.#valkey.run((redis) => redis.hvalsBuffer(this.#key));
    return values.flatMap((value) => this.#opened(value));
  }

  /** Sends a mark, now or when Valkey is back. */
  add(mark: UntrustedMark, wrongKeys: readonly string[], deleted: readonly string[]): void {
    const [oldest] = this.#unsent.keys();
    if (oldest !== undefined && this.#unsent.size >= maxMarks) this.#unsent.delete(oldest);
    this.#unsent.set(mark.contentKey, { mark, wrongKeys, deleted });
    void this.#send(mark.contentKey);
  }

  /** Whether an inspection may be wrong that Valkey still has. */
  isWrong(key: string): boolean {
    for (const { wrongKeys } of this.#unsent.values()) if (wrongKeys.includes(key)) return true;
    return false;
  }

  /** Stores marks that Valkey lacks. @throws ValkeyUnavailable */
  async addMissing(marks: readonly UntrustedMark[]): Promise<void> {
    for (const mark of marks.slice(0, maxMarks))
      await this.#valkey.run((redis) => redis.hsetnx(this.#key, this.#fieldOf(mark), this.#sealed(mark)));
  }

  async #sendAll(): Promise<void> {
    for (const contentKey of this.#unsent.keys()) await this.#send(contentKey);
  }

  async #send(contentKey: string): Promise<void> {
    const unsent = this.#unsent.get(contentKey);
    if (unsent === undefined) return;
    const { mark, deleted } = unsent;
    const channel = this.#valkey.prefix + this.#channel;
    const [keys, field] = [[this.#key, ...deleted], this.#fieldOf(mark)];
    try {
      await this.#valkey.run((redis) =>
        redis.eval(addScript, keys.length, ...keys, field, this.#sealed(mark), channel, maxMarks),
      );
      if (this.#unsent.get(contentKey) === unsent) this.#unsent.delete(contentKey);
    } catch {
      // It is sent again once Valkey is back.
    }
  }

  #fieldOf({ contentKey }: UntrustedMark): string {
    return this.#sealing.nameOf(`untrusted/${contentKey}`);
  }

  #sealed(mark: UntrustedMark): Buffer {
    return this.#sealing.seal("untrusted", Buffer.from(JSON.stringify(mark)));
  }

  #opened(value: Buffer): readonly UntrustedMark[] {
    const plain = this.#sealing.open("untrusted", value);
    if (plain === undefined) return [];
    const mark = parsedJson(untrustedMark, plain.toString());
    return mark === undefined ? [] : [mark];
  }
}
