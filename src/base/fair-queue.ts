// A bound on concurrent tasks that several owners share fairly: the owner that has used the least time is next.
import { calledOrAborted } from "./abort.ts";

export interface FairQueueOptions {
  /** How many tasks run at once. */
  readonly limit: number;
  /** Additional slots, each for an owner that has no running task; 0 by default. */
  readonly spare?: number;
  /** In milliseconds. */
  readonly now?: () => number;
}

/** The state of one owner: its tasks and the time that they have used. */
interface Account {
  /** When the owner last began to wait: the order among owners that have used the same time. */
  arrival: number;
  /** Whether it is in the heap of owners that wait and have no running task. */
  isInHeap: boolean;
  /** Waiting tasks, the oldest first. */
  readonly waiting: Set<(begunMs: number) => void>;
  running: number;
  /** The sum of the start times of the running tasks, in ms. */
  begunSumMs: number;
  /** The run time of its ended tasks, in ms; at least the value with which an owner without tasks would begin. */
  usedMs: number;
}

/** How many accounts without tasks are kept, to remember the time that their owners have used. */
const maxIdleAccounts = 1000;

/**
 * Start-time fair queueing; the cost of a task is the time for which it holds a slot. A new owner begins with the used
 * time of the owner that was served last, so that idle time gives no advantage later. Tasks of one owner start in the
 * order of their requests.
 */
export class FairQueue {
  readonly #now: () => number;
  readonly #accounts = new Map<string, Account>();
  /** Accounts with waiting and running tasks: at most one for each slot. */
  readonly #waitingAndRunning = new Set<Account>();
  /** Accounts with waiting tasks and no running one. The time that they have used does not change meanwhile. */
  readonly #waitingOnly = new Heap<Account>(
    (a, b) => a.usedMs < b.usedMs || (a.usedMs === b.usedMs && a.arrival < b.arrival),
  );
  #arrivals = 0;
  #limit: number;
  #spare: number;
  #running = 0;
  /** When there are more accounts, those without tasks are removed. */
  #maxAccounts = maxIdleAccounts;
  /** The time that the owner served last had used, in ms. */
  #servedMs = 0;

  constructor({ limit, spare = 0, now = () => performance.now() }: FairQueueOptions) {
    this.#limit = limit;
    this.#spare = spare;
    this.#now = now;
  }

  /** Changes the number of slots. Running tasks continue. */
  resize({ limit, spare }: { readonly limit: number; readonly spare: number }): void {
    this.#limit = limit;
    this.#spare = spare;
    this.#serve();
  }

  /**
   * Waits for a slot.
   * @returns a function that releases the slot; only its first call has an effect
   * @throws signal.reason when aborted while waiting: the request then leaves the queue
   */
  async take(owner: string, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    const account = this.#accountOf(owner);
    const begunMs =
      this.#isFreeFor(account) && !this.#hasWaiting() ? this.#begin(account) : await this.#waitForSlot(account, signal);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#end(account, begunMs);
    };
  }

  /** Runs a task in a slot of this owner. @throws what the task throws; signal.reason when aborted while waiting */
  async run<T>(owner: string, signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    const release = await this.take(owner, signal);
    try {
      return await task();
    } finally {
      release();
    }
  }

  /** @returns the start time, in ms */
  #waitForSlot(account: Account, signal: AbortSignal): Promise<number> {
    const slot = calledOrAborted<number>(signal, (go) => {
      account.waiting.add(go);
      if (account.waiting.size === 1) this.#enter(account);
      // The queue skips an account whose waiting tasks were all aborted.
      return () => account.waiting.delete(go);
    });
    this.#serve();
    return slot;
  }

  #enter(account: Account): void {
    if (account.isInHeap) return;
    account.arrival = this.#arrivals++;
    if (account.running > 0) this.#waitingAndRunning.add(account);
    else this.#pushWaiting(account);
  }

  #pushWaiting(account: Account): void {
    account.isInHeap = true;
    this.#waitingOnly.push(account);
  }

  #popWaiting(first: Account): void {
    first.isInHeap = false;
    this.#waitingOnly.pop();
  }

  #serve(): void {
    while (this.#running < this.#limit + this.#spare) {
      const account = this.#next();
      const [go] = account?.waiting ?? [];
      if (account === undefined || go === undefined) break;
      account.waiting.delete(go);
      if (account.running === 0) this.#popWaiting(account);
      const begunMs = this.#begin(account);
      if (account.waiting.size > 0) this.#waitingAndRunning.add(account);
      else this.#waitingAndRunning.delete(account);
      go(begunMs);
    }
    if (this.#running > 0 || this.#hasWaiting()) return;
    this.#accounts.clear();
    this.#servedMs = 0;
  }

  /** The waiting account that has used the least time, among those that may start a task now. */
  #next(): Account | undefined {
    const idle = this.#firstOnlyWaiting();
    if (this.#running >= this.#limit) return idle;
    let next = idle;
    const nowMs = this.#now();
    let leastMs = idle?.usedMs ?? Number.POSITIVE_INFINITY;
    for (const account of this.#waitingAndRunning) {
      const usedMs = usedBy(account, nowMs);
      if (account.waiting.size === 0 || usedMs >= leastMs) continue;
      next = account;
      leastMs = usedMs;
    }
    return next;
  }

  #firstOnlyWaiting(): Account | undefined {
    for (let first = this.#waitingOnly.first; first !== undefined; first = this.#waitingOnly.first) {
      if (first.waiting.size > 0) return first;
      this.#popWaiting(first);
    }
    return undefined;
  }

  #hasWaiting(): boolean {
    return (
      this.#firstOnlyWaiting() !== undefined || [...this.#waitingAndRunning].some(({ waiting }) => waiting.size > 0)
    );
  }

  #isFreeFor({ running }: Account): boolean {
    return this.#running < this.#limit || (running === 0 && this.#running < this.#limit + this.#spare);
  }

  #begin(account: Account): number {
    const nowMs = this.#now();
    this.#servedMs = Math.max(this.#servedMs, usedBy(account, nowMs));
    account.running += 1;
    account.begunSumMs += nowMs;
    this.#running += 1;
    return nowMs;
  }

  #end(account: Account, begunMs: number): void {
    account.begunSumMs -= begunMs;
    account.usedMs += this.#now() - begunMs;
    account.running -= 1;
    this.#running -= 1;
    if (account.running === 0 && this.#waitingAndRunning.delete(account) && account.waiting.size > 0) {
      this.#pushWaiting(account);
    }
    this.#serve();
  }

  #accountOf(owner: string): Account {
    const known = this.#accounts.get(owner);
    if (known !== undefined) {
      // The order of the heap depends on the used time; an account without tasks may still be in the heap after an
      // abort.
      const isIdle = known.running === 0 && known.waiting.size === 0 && !known.isInHeap;
      if (isIdle) known.usedMs = Math.max(known.usedMs, this.#servedMs);
      return known;
    }
    if (this.#accounts.size >= this.#maxAccounts) this.#forgetIdle();
    const account: Account = {
      arrival: 0,
      isInHeap: false,
      waiting: new Set(),
      running: 0,
      begunSumMs: 0,
      usedMs: this.#servedMs,
    };
    this.#accounts.set(owner, account);
    return account;
  }

  #forgetIdle(): void {
    for (const [owner, { running, waiting, isInHeap }] of this.#accounts) {
      if (running === 0 && waiting.size === 0 && !isInHeap) this.#accounts.delete(owner);
    }
    this.#maxAccounts = this.#accounts.size + maxIdleAccounts;
  }
}

/** The time that an account has used, including its running tasks. */
const usedBy = ({ usedMs, running, begunSumMs }: Account, nowMs: number): number =>
  usedMs + running * nowMs - begunSumMs;

/** A binary heap: `first` is before all others. */
class Heap<T> {
  readonly #items: T[] = [];
  readonly #isBefore: (a: T, b: T) => boolean;

  constructor(isBefore: (a: T, b: T) => boolean) {
    this.#isBefore = isBefore;
  }

  get first(): T | undefined {
    return this.#items[0];
  }

  push(item: T): void {
    let at = this.#items.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = this.#items[parent] as T;
      if (!this.#isBefore(item, above)) break;
      this.#items[at] = above;
      at = parent;
    }
    this.#items[at] = item;
  }

  /** Removes `first`. */
  pop(): void {
    const last = this.#items.pop();
    if (last === undefined || this.#items.length === 0) return;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      if (left >= this.#items.length) break;
      const right = left + 1;
      const isRight = right < this.#items.length && this.#isBefore(this.#items[right] as T, this.#items[left] as T);
      const below = isRight ? right : left;
      if (!this.#isBefore(this.#items[below] as T, last)) break;
      this.#items[at] = this.#items[below] as T;
      at = below;
    }
    this.#items[at] = last;
  }
}
