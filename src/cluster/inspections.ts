// Inspections in Valkey: each file is read by one server of the fleet, and the others take over what it has found. While
// Valkey is away nobody reads: nothing could be published, and each server would read the same files.
import { createHash } from "node:crypto";
import { abortable } from "../base/abort.ts";
import { withResolvers } from "../base/with-resolvers.ts";
import { yieldToEventLoop } from "../base/yield-to-event-loop.ts";
import type { Inspection } from "../catalog/inspection/inspection.ts";
import type { SharedInspections, WantedInspection } from "../catalog/shared-inspections.ts";
import { isTemporary } from "../catalog/store/inspection-store.ts";
import { openFileList, openInspection, sealInspection } from "./inspection-values.ts";
import { settleMs as defaultSettleMs } from "./members.ts";
import { keys as fleetKeys, nowAndEpoch } from "./scripts.ts";
import type { Sealing } from "./sealing.ts";
import type { UntrustedMarks } from "./untrusted-marks.ts";
import type { Commands, Valkey } from "./valkey.ts";
import { ValkeyUnavailable } from "./valkey.ts";

/** How long an inspection is kept; a sweep renews those of files that the tree still has. */
const keptMs = 30 * 24 * 60 * 60 * 1000;
/** How long a file stays reserved if its reader dies. */
const defaultReservationMs = 10_000;
/** How often reservations are renewed: a Valkey that has lost its data must learn of them before others may read. */
const renewMs = 1000;
/** Waiting readers look this often whether the one they wait for has died; a message tells them of its result. */
const pollMs = 500;
/** How many inspections one command fetches: they and their lists of files have some hundred kilobytes at most. */
const maxFetchedAtOnce = 64;
/** How many inspections may be on their way to Valkey before readers wait for it. This bounds memory. */
const maxUntold = 16;
/** For how long no command is sent after Valkey has not answered one. */
const awayMs = 1000;

/**
 * Reserves a file for reading, unless the data of Valkey began a moment ago: the others tell first what they know.
 * KEYS: the time since when Valkey has data, the inspection, the reservation. ARGV: the token, ms, the digest of an
 * inspection that this server cannot use, how long nothing is reserved after the data began. Returns also how much of
 * that time is left.
 */
const reserveScript = `${nowAndEpoch}
if redis.call('EXISTS', KEYS[2]) == 1
  and (ARGV[3] == '' or redis.sha1hex(redis.call('GET', KEYS[2])) ~= ARGV[3]) then return { 'found', 0 } end
local reader = redis.call('GET', KEYS[3])
if reader and reader ~= ARGV[1] then return { 'elsewhere', 0 } end
local left = tonumber(epoch) + tonumber(ARGV[4]) - now
if left > 0 then return { 'unsettled', left } end
redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[2])
return { 'reserved', 0 }`;

/** Reserves a file for longer, also if Valkey has lost the reservation. KEYS: the reservation. ARGV: the token, ms. */
const renewScript = `
local reader = redis.call('GET', KEYS[1])
if not reader or reader == ARGV[1] then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end`;

/** Ends a reservation. KEYS: the reservation. ARGV: the token, the channel, the name of the file. */
const endScript = `
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
redis.call('PUBLISH', ARGV[2], ARGV[3])`;

/** The result of a look-up. */
interface Found {
  readonly inspection: Inspection | undefined;
  /** The SHA-1 of the value in Valkey; empty if there is none. Computed if needed, because most values can be used. */
  readonly digest: () => string;
}

const nothing: Found = { inspection: undefined, digest: () => "" };

export interface FleetInspectionsOptions {
  readonly valkey: Valkey;
  /** Of one tree. */
  readonly sealing: Sealing;
  readonly marks: UntrustedMarks;
  /** Identifies this server, and its start. */
  readonly member: string;
  /** The version of this program. */
  readonly version: string;
  readonly reservationMs?: number;
  /** How long after a connection was made again, or after the data of Valkey began, no file is reserved. */
  readonly settleMs?: number;
}

/** What this server has read, and the others are not told yet. */
interface Untold {
  readonly key: string;
  readonly token: string;
  readonly inspection: Inspection;
}

/** The inspections of one tree that its servers share. */
export class FleetInspections implements SharedInspections {
  readonly #options: FleetInspectionsOptions;
  readonly #valkey: Valkey;
  readonly #sealing: Sealing;
  readonly #reservationMs: number;
  readonly #settleMs: number;
  /** Look-ups that the next command fetches together, by name. */
  #lookups = new Map<string, ((found: Found) => void)[]>();
  /** The tokens of this server's reservations, by name. */
  readonly #reservations = new Map<string, string>();
  /** Those that wait until another server has read a file, by name. */
  readonly #waiting = new Map<string, Set<() => void>>();
  /** Those that wait until files can be reserved. */
  #paused: (() => void)[] = [];
  /** By name. There are not many more of them than concurrent reads. */
  readonly #untold = new Map<string, Untold>();
  /** Those of them that are on their way to Valkey. */
  readonly #telling = new Set<Untold>();
  readonly #yieldNow = yieldToEventLoop();
  readonly #channel: string;
  readonly #timers: readonly NodeJS.Timeout[];
  readonly #removeListener: () => void;
  #tokens = 0;
  #awayUntilMs = 0;
  /** Before that no file is reserved. */
  #settledAtMs = 0;
  #connections = 0;
  #isClosed = false;

  constructor(options: FleetInspectionsOptions) {
    this.#options = options;
    this.#valkey = options.valkey;
    this.#sealing = options.sealing;
    this.#reservationMs = options.reservationMs ?? defaultReservationMs;
    this.#settleMs = options.settleMs ?? defaultSettleMs;
    this.#channel = `inspected:${options.sealing.nameOf("inspections")}`;
    void this.#valkey.subscribe(this.#channel, (message) => this.#wake(message.toString("latin1")));
    this.#removeListener = this.#valkey.onReady(() => this.#noteConnection());
    this.#timers = [
      setInterval(() => void this.#renew(), Math.min(renewMs, this.#reservationMs / 3)).unref(),
      setInterval(() => void this.#poll(), pollMs).unref(),
    ];
  }

  close(): void {
    this.#isClosed = true;
    this.#removeListener();
    for (const timer of this.#timers) clearInterval(timer);
    this.#wakeAll();
    this.#resume();
  }

  async once({ key, isEnough, read }: WantedInspection, signal: AbortSignal): Promise<Inspection> {
    const name = this.#sealing.nameOf(key);
    for (;;) {
      await this.#canReserve(signal);
      const found = this.#options.marks.isWrong(key) ? nothing : await this.#look(name);
      if (found.inspection !== undefined && isEnough(found.inspection)) return found.inspection;
      const token = `${this.#options.member}/${++this.#tokens}`;
      const digest = found.digest();
      let state: Reserved | undefined;
      let isTelling = false;
      const begin = async (): Promise<boolean> => {
        // A second attempt keeps the reservation of the first.
        if (state !== "reserved") state = await this.#reserve(name, token, digest);
        return state === "reserved";
      };
      try {
        const inspection = await read(begin);
        if (inspection !== undefined) {
          if (state === "reserved" && !isTemporary(inspection)) {
            isTelling = true;
            await this.#share(name, { key, token, inspection });
          }
          return inspection;
        }
      } finally {
        if (state === "reserved" && !isTelling) this.#end(name, token);
      }
      if (state === "elsewhere") await abortable(this.#isReadElsewhere(name), signal);
    }
  }

  markUntrusted(contentKey: string, mark: string, wrongKeys: readonly string[]): void {
    const keys = wrongKeys.flatMap((key) => {
      const name = this.#sealing.nameOf(key);
      return [this.#inspectionKey(name), this.#fileListKey(name)];
    });
    this.#options.marks.add({ contentKey, mark }, wrongKeys, keys);
  }

  /**
   * Keeps inspections that Valkey has for longer. At most some hundred at a time.
   * @param keys the keys of inspections that this server has
   * @returns the keys of those that Valkey lacks
   * @throws ValkeyUnavailable
   */
  async renew(keys: readonly string[]): Promise<readonly string[]> {
    const names = keys.map((key) => this.#sealing.nameOf(key));
    const all = names.flatMap((name) => [this.#inspectionKey(name), this.#fileListKey(name)]);
    const missing = await this.#valkey.run((redis) => redis.eval(renewKeptScript, all.length, ...all, keptMs));
    return (missing as number[]).flatMap((n) => keys[n] ?? []);
  }

  /** Stores an inspection that Valkey lacks. @throws ValkeyUnavailable */
  async add(key: string, inspection: Inspection): Promise<void> {
    if (isTemporary(inspection) || this.#options.marks.isWrong(key)) return;
    await this.#store(this.#sealing.nameOf(key), inspection, "add");
  }

  get #isAway(): boolean {
    return !this.#valkey.isConnected || performance.now() < this.#awayUntilMs;
  }

  /** Whether the others can be asked, and have told what they know. */
  get #isSettled(): boolean {
    return !this.#isAway && performance.now() >= this.#settledAtMs;
  }

  /** Resolves when files can be reserved. @throws signal.reason; ValkeyUnavailable if this was closed */
  async #canReserve(signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      if (this.#isClosed) throw new ValkeyUnavailable("the server stops");
      if (this.#isSettled) return;
      const { promise, resolve } = withResolvers<void>();
      this.#paused.push(resolve);
      await abortable(promise, signal);
    }
  }

  #resume(): void {
    for (const resolve of this.#paused.splice(0)) resolve();
  }

  #noteConnection(): void {
    this.#connections += 1;
    // What the others have done meanwhile may have been lost with an earlier Valkey, until they tell it again.
    if (this.#connections > 1) this.#settledAtMs = performance.now() + this.#settleMs;
    void this.#renew();
    void this.#tellRest();
  }

  /** Runs commands that may fail: no further ones are sent for a moment then. */
  async #tryRun<Value>(commands: (redis: Commands) => Promise<Value>): Promise<Value | undefined> {
    if (this.#isAway) return undefined;
    try {
      return await this.#valkey.run(commands);
    } catch {
      this.#awayUntilMs = performance.now() + awayMs;
      this.#wakeAll();
      return undefined;
    }
  }

  async #look(name: string): Promise<Found> {
    if (this.#isAway) return nothing;
    const { promise, resolve } = withResolvers<Found>();
    if (this.#lookups.size === 0) setImmediate(() => void this.#fetch());
    this.#lookups.set(name, [...(this.#lookups.get(name) ?? []), resolve]);
    return await promise;
  }

  async #fetch(): Promise<void> {
    const lookups = [...this.#lookups];
    this.#lookups = new Map();
    const batches: (typeof lookups)[] = [];
    while (lookups.length > 0) batches.push(lookups.splice(0, maxFetchedAtOnce));
    await Promise.all(
      batches.map(async (batch) => {
        const keys = batch.map(([name]) => this.#inspectionKey(name));
        const values = await this.#tryRun((redis) => redis.mgetBuffer(...keys));
        for (const [n, [name, resolvers]] of batch.entries()) {
          const value = values?.[n] ?? undefined;
          const found = value === undefined ? nothing : await this.#opened(name, value);
          for (const resolve of resolvers) resolve(found);
          await this.#yieldNow();
        }
      }),
    );
  }

  async #opened(name: string, value: Buffer): Promise<Found> {
    const digest = () => createHash("sha1").update(value).digest("hex");
    const opened = openInspection(this.#sealing, name, value);
    const inspection = opened?.inspection;
    if (opened?.hasOwnList !== true || inspection?.kind !== "binary") return { inspection, digest };
    const list = await this.#tryRun((redis) => redis.getBuffer(this.#fileListKey(name)));
    const fileList = list === null || list === undefined ? undefined : openFileList(this.#sealing, name, list);
    return { inspection: fileList === undefined ? inspection : { ...inspection, fileList }, digest };
  }

  async #reserve(name: string, token: string, digest: string): Promise<Reserved> {
    if (!this.#isSettled) return "unsettled";
    const keys = [this.#valkey.prefix + fleetKeys.epoch, this.#inspectionKey(name), this.#readingKey(name)];
    const reply = await this.#tryRun((redis) =>
      redis.eval(reserveScript, keys.length, ...keys, token, this.#reservationMs, digest, this.#settleMs),
    );
    const [reserved, leftMs] = (reply as readonly [Reserved, number] | undefined) ?? ["unsettled", 0];
    if (reserved === "reserved") this.#reservations.set(name, token);
    if (leftMs > 0) this.#settledAtMs = Math.max(this.#settledAtMs, performance.now() + leftMs);
    return reserved;
  }

  #end(name: string, token: string): void {
    if (this.#reservations.get(name) === token) this.#reservations.delete(name);
    const channel = this.#valkey.prefix + this.#channel;
    // Without Valkey the reservation ends by itself.
    void this.#tryRun((redis) => redis.eval(endScript, 1, this.#readingKey(name), token, channel, name));
  }

  /** Begins to tell the others what this server has read, and waits for that only if there is much to tell. */
  async #share(name: string, read: Untold): Promise<void> {
    this.#untold.set(name, read);
    if (this.#isAway) return;
    const telling = this.#tell(name, read);
    if (this.#untold.size > maxUntold) await telling;
  }

  /** Stores what this server has read; its reservation lasts until then. @returns whether that was possible */
  async #tell(name: string, read: Untold): Promise<boolean> {
    this.#telling.add(read);
    try {
      await this.#store(name, read.inspection, "replace");
    } catch {
      return false;
    } finally {
      this.#telling.delete(read);
    }
    this.#forgetUntold(name, read);
    return true;
  }

  /** Stores what could not be stored when it was read. */
  async #tellRest(): Promise<void> {
    for (const [name, read] of this.#untold) {
      if (this.#isAway) return;
      if (this.#telling.has(read)) continue;
      // Meanwhile it may have turned out to be wrong.
      if (this.#options.marks.isWrong(read.key)) this.#forgetUntold(name, read);
      else if (!(await this.#tell(name, read))) return;
    }
  }

  #forgetUntold(name: string, read: Untold): void {
    if (this.#untold.get(name) === read) this.#untold.delete(name);
    this.#end(name, read.token);
  }

  async #store(name: string, whole: Inspection, mode: "add" | "replace"): Promise<void> {
    const { inspection, fileList } = sealInspection(this.#sealing, name, this.#options.version, whole);
    // The list first: whoever finds the inspection looks for its list.
    if (fileList !== undefined)
      await this.#valkey.run((redis) => redis.set(this.#fileListKey(name), fileList, "PX", keptMs));
    const key = this.#inspectionKey(name);
    await this.#valkey.run((redis) =>
      mode === "add" ? redis.set(key, inspection, "PX", keptMs, "NX") : redis.set(key, inspection, "PX", keptMs),
    );
    await this.#yieldNow();
  }

  /** Resolves when another server has shared an inspection or does not read the file any more. */
  #isReadElsewhere(name: string): Promise<void> {
    const { promise, resolve } = withResolvers<void>();
    const waiting = this.#waiting.get(name) ?? new Set();
    this.#waiting.set(name, waiting.add(resolve));
    return promise;
  }

  #wake(name: string): void {
    const waiting = this.#waiting.get(name) ?? [];
    this.#waiting.delete(name);
    for (const resolve of waiting) resolve();
  }

  #wakeAll(): void {
    for (const name of this.#waiting.keys()) this.#wake(name);
  }

  async #renew(): Promise<void> {
    const reservations = [...this.#reservations];
    await this.#tryRun((redis) =>
      Promise.all(
        reservations.map(([name, token]) =>
          redis.eval(renewScript, 1, this.#readingKey(name), token, this.#reservationMs),
        ),
      ),
    );
  }

  /** Wakes those whose reader has died, all if Valkey is away, and those that may go on. */
  async #poll(): Promise<void> {
    await this.#tellRest();
    if (this.#isSettled) this.#resume();
    const names = [...this.#waiting.keys()];
    if (names.length === 0) return;
    const readers = await this.#tryRun((redis) => redis.mget(...names.map((name) => this.#readingKey(name))));
    for (const [n, name] of names.entries()) if (readers?.[n] === undefined || readers[n] === null) this.#wake(name);
  }

  #inspectionKey(name: string): string {
    return `${this.#valkey.prefix}inspection:${name}`;
  }

  #fileListKey(name: string): string {
    return `${this.#valkey.prefix}filelist:${name}`;
  }

  #readingKey(name: string): string {
    return `${this.#valkey.prefix}reading:${name}`;
  }
}

/** "unsettled": the others cannot be asked, or have not told yet what they know. */
type Reserved = "reserved" | "elsewhere" | "found" | "unsettled";

/** KEYS: pairs of an inspection and its list of files. ARGV: ms. Returns the numbers of the pairs without inspection. */
const renewKeptScript = `
local missing = {}
for n = 1, #KEYS, 2 do
  if redis.call('PEXPIRE', KEYS[n], ARGV[1]) == 0 then missing[#missing + 1] = (n - 1) / 2
  else redis.call('PEXPIRE', KEYS[n + 1], ARGV[1]) end
end
return missing`;
