// Delivers the events of one webhook, one after the other, until each has arrived or has become too old.
import { onAbort, sleep } from "../../base/abort.ts";
import type { BackoffLimits } from "../../base/backoff.ts";
import { backoffMs, withJitter } from "../../base/backoff.ts";
import type { Clock } from "../../base/clock.ts";
import { anyGlobMatcher } from "../../base/glob.ts";
import type { Log } from "../../base/log.ts";
import type { WebhookEvent } from "./delivery.ts";
import { deliver } from "./delivery.ts";
import type { Webhook } from "./webhook.ts";
import { originOf } from "./webhook.ts";

/** The bounds of what waits for a receiver that does not work. */
export interface WebhookLimits extends BackoffLimits {
  /** The events of one webhook; the oldest are dropped first. */
  readonly maxWaitingEvents: number;
  /** How long an event is tried. */
  readonly maxEventAgeMs: number;
}

export const defaultWebhookLimits: WebhookLimits = {
  maxWaitingEvents: 200,
  maxEventAgeMs: 3 * 24 * 3600 * 1000,
  firstDelayMs: 1000,
  maxDelayMs: 5 * 60 * 1000,
};

/**
 * `delivered` and `failed` are attempts. `dropped` are events that no receiver gets: too old, too many, or the receiver
 * wants none.
 */
export type DeliveryResult = "delivered" | "failed" | "dropped";

/** Receives the results of deliveries. */
export interface WebhookObserver {
  counted(result: DeliveryResult, count: number): void;
}

interface WebhookSenderOptions {
  readonly repository: string;
  readonly observer: WebhookObserver;
  /** Called when `waiting` has become shorter. */
  readonly onChange: () => void;
  readonly limits: WebhookLimits;
  readonly log: Log;
  readonly now: Clock;
}

export class WebhookSender {
  readonly #options: WebhookSenderOptions;
  readonly #stopping = new AbortController();
  #webhook: Webhook;
  #matches: (suite: string) => boolean;
  #waiting: readonly WebhookEvent[];
  #isGone = false;
  #isFailing = false;
  #running: Promise<void> | undefined;
  /** Ends the pause before the next attempt. */
  #pause = new AbortController();

  /** @param waiting the events of an earlier run; they are delivered from `start` on */
  constructor(webhook: Webhook, waiting: readonly WebhookEvent[], options: WebhookSenderOptions) {
    this.#webhook = webhook;
    this.#matches = anyGlobMatcher(webhook.suites);
    this.#waiting = waiting;
    this.#options = options;
  }

  /** The events that have not arrived yet, the oldest first. */
  get waiting(): readonly WebhookEvent[] {
    return this.#waiting;
  }

  start(): void {
    if (this.#stopping.signal.aborted) return;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  /** Delivers an event later, if it is of one of the webhook's suites. */
  add(event: WebhookEvent): void {
    if (this.#isGone || !this.#matches(event.suite)) return;
    this.#waiting = [...this.#waiting, event];
    const excess = this.#waiting.length - this.#options.limits.maxWaitingEvents;
    // The first one may be on its way.
    if (excess > 0) this.#drop(this.#waiting.slice(1, 1 + excess), "too many events are waiting");
    this.start();
  }

  /** Takes over other settings for the same URL, and tries again at once, also after the receiver wanted no events. */
  reconfigure(webhook: Webhook): void {
    this.#webhook = webhook;
    this.#matches = anyGlobMatcher(webhook.suites);
    this.#isGone = false;
    this.#pause.abort();
    this.start();
  }

  /** Aborts the attempt that is under way; its event stays in `waiting`. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the server stops"));
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    for (let failures = 0; !signal.aborted; ) {
      this.#pause = new AbortController();
      const [event] = this.#waiting;
      if (event === undefined) return;
      const { now, limits } = this.#options;
      if (now() - event.createdMs > limits.maxEventAgeMs) {
        this.#drop([event], "the receiver has not taken it in time");
        continue;
      }
      if (await this.#attempt(event)) failures = 0;
      else if (!this.#isGone) {
        failures += 1;
        await this.#wait(withJitter(backoffMs(failures, limits), Math.random()));
      }
    }
  }

  /** @returns whether the event has arrived */
  async #attempt(event: WebhookEvent): Promise<boolean> {
    const { now, observer, log, repository } = this.#options;
    const { signal } = this.#stopping;
    const webhook = this.#webhook;
    const receiver = originOf(webhook.url);
    const delivery = await deliver(event, webhook, { nowMs: now(), signal });
    if (signal.aborted) return false;
    if (delivery.kind === "delivered") {
      observer.counted("delivered", 1);
      this.#remove([event]);
      if (this.#isFailing) log.info({ repository, receiver }, "the webhook works again");
      this.#isFailing = false;
      return true;
    }
    observer.counted("failed", 1);
    if (delivery.kind === "gone") {
      this.#isGone = true;
      this.#isFailing = false;
      this.#drop(this.#waiting, "the receiver wants no more events (status 410) until the configuration is reloaded");
      return false;
    }
    if (!this.#isFailing) {
      log.warn({ repository, receiver, reason: delivery.reason }, "the webhook failed, and is tried again");
    }
    this.#isFailing = true;
    return false;
  }

  async #wait(delayMs: number): Promise<void> {
    const forget = onAbort(this.#stopping.signal, () => this.#pause.abort());
    await sleep(delayMs, this.#pause.signal).catch(() => undefined);
    forget();
  }

  #drop(events: readonly WebhookEvent[], reason: string): void {
    const { observer, log, repository } = this.#options;
    observer.counted("dropped", events.length);
    const receiver = originOf(this.#webhook.url);
    log.warn({ repository, receiver, events: events.length, reason }, "events of the webhook are dropped");
    this.#remove(events);
  }

  #remove(events: readonly WebhookEvent[]): void {
    this.#waiting = this.#waiting.filter((event) => !events.includes(event));
    this.#options.onChange();
  }
}
