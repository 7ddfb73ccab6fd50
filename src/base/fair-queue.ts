// A bound on how much happens at once that several owners share fairly: whoever used the least time goes next.
import { calledOrAborted } from "./abort.ts";

export interface FairQueueOptions {
  /** How many tasks run at once. */
  readonly limit: number;
  /** How many more may run beyond `limit`, each of an owner that runs nothing else; 0 by default. */
  readonly spare?: number;
  /** In milliseconds. */
  readonly now?: () => number;
}

/** What is known of one owner while it waits, runs, or has used more time than others. */
interface Account {
  /** Orders those that have used as much: when it last began to wait. */
  arrival: number;
  /** Whether it stands in the heap of those that wait and run nothing. */
  isInHeap: boolean;
  /** Tasks that wait, the oldest first. */
  readonly waiting: Set<(begunMs: number) => void>;
  running: number;
  /** The sum of the times at which the running tasks began, in ms. */
  begunSumMs: number;
  /** How long its ended tasks ran, in ms, or what an owner that was there all the time could have used by then. */
  usedMs: number;
}

/** So many accounts of owners that neither wait nor run are kept, to remember what these have used. */
const maxIdleAccounts = 1000;

/**
 * Start-time fair queueing with the time that a slot is held as the cost. Whoever comes anew begins where the one that
 * was served last stands, so that nobody saves up turns. Tasks of one owner begin in the order in which they came.
 */
export class FairQueue {
  readonly #now: () => number;
  readonly #accounts = new Map<string, Account>();
  /** Accounts with waiting tasks that run something: no more than there are slots. */
  readonly #waitingAndRunning = new Set<Account>();
  /** Accounts with waiting tasks that run nothing. What these have used does not change meanwhile. */
  readonly #waitingOnly = new Heap<Account>(
    (a, b) => a.usedMs < b.usedMs || (a.usedMs === b.usedMs && a.arrival < b.arrival),
  );
  #arrivals = 0;
  #limit: number;
  #spare: number;
  #running = 0;
  /** So many are known before the idle ones are forgotten. */
  #maxAccounts = maxIdleAccounts;
  /** What the owner that was served last had used, in ms. */
  #servedMs = 0;

  constructor({ limit, spare = 0, now = () => performance.now() }: FairQueueOptions) {
    this.#limit = limit;
    this.#spare = spare;
    this.#now = now;
  }

  /** Changes how many tasks run at once; those that run already go on. */
  resize({ limit, spare }: { readonly limit: number; readonly spare: number }): void {
    this.#limit = limit;
    this.#spare = spare;
    this.#serve();
  }

  /**
   * Resolves, when it is this owner's turn, with the call that gives the slot back (at most once).
   * @throws signal.reason when aborted while waiting: the place in the queue is then given up
   */
  async take(owner: string, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    const account = this.#accountOf(owner);
    const begunMs =
      this.#isFreeFor(account) && !this.#hasWaiting() ? this.#begin(account) : await this.#turn(account, signal);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#end(account, begunMs);
    };
  }

  /** Runs a task in this owner's turn. @throws what the task throws; signal.reason when aborted while waiting */
  async run<T>(owner: string, signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    const giveBack = await this.take(owner, signal);
    try {
      return await task();
    } finally {
      giveBack();
    }
  }

  /** @returns when it began, in ms */
  #turn(account: Account, signal: AbortSignal): Promise<number> {
    const turn = calledOrAborted<number>(signal, (go) => {
      account.waiting.add(go);
      if (account.waiting.size === 1) this.#enter(account);
      // An account without a waiting task is passed over when its turn comes.
      return () => account.waiting.delete(go);
    });
    this.#serve();
    return turn;
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

  /** The waiting account that has used least, among those that may run something now. */
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
      // In the heap its place depends on it; an account whose waiting tasks were all aborted may still stand there.
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

/** Counts the running tasks up to now. */
const usedBy = ({ usedMs, running, begunSumMs }: Account, nowMs: number): number =>
  usedMs + running * nowMs - begunSumMs;

/** A binary heap: `first` comes before all others. */
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
