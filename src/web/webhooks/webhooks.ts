// The webhooks of one repository: compares each publication with the one that was announced last, and hands the
// difference to the senders. None of this delays publishing.
import { rm } from "node:fs/promises";
import { sleep } from "../../base/abort.ts";
import type { Clock } from "../../base/clock.ts";
import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { RepeatedFailures } from "../../base/repeated-failures.ts";
import { SerialQueue } from "../../base/serial-queue.ts";
import { runSteps } from "../../base/steps.ts";
import { yieldToEventLoop } from "../../base/yield-to-event-loop.ts";
import { changesBetween } from "../../publishing/build/publication-changes.ts";
import { differencesOf } from "../data/differences.ts";
import type { CurrentSuite, Publications } from "../data/publications.ts";
import type { Difference } from "../data/repository-data.ts";
import { publicationEvent } from "./publication-event.ts";
import type { Webhook } from "./webhook.ts";
import type { WebhookLimits, WebhookObserver } from "./webhook-sender.ts";
import { WebhookSender } from "./webhook-sender.ts";
import { keyOf, readWebhookState, writeWebhookState } from "./webhook-state.ts";

/** The time after a failed comparison to the next one, unless there is a publication before. */
const retryMs = 60_000;

export interface WebhooksOptions {
  readonly repository: string;
  readonly publications: Pick<Publications, "current">;
  /** Where the state is kept; it is removed when there are no webhooks. */
  readonly file: string;
  /** For links, without a trailing slash; undefined: unknown. */
  readonly publicUrl: string | undefined;
  readonly observer: WebhookObserver;
  /** Whether this server, of all replicas, announces publications now. */
  readonly isOurs: () => boolean;
  readonly limits: WebhookLimits;
  readonly log: Log;
  readonly now: Clock;
}

export class Webhooks {
  readonly #options: WebhooksOptions;
  readonly #stopping = new AbortController();
  /** Runs everything that uses the state. */
  readonly #queue = new SerialQueue();
  readonly #failures = new RepeatedFailures();
  readonly #senders = new Map<string, WebhookSender>();
  /** Undefined: the publications of now are not news. */
  #announced: Map<string, string> | undefined;
  #isStarted = false;
  #isFollowing = false;
  #isWriting = false;

  constructor(options: WebhooksOptions) {
    this.#options = options;
  }

  /** The number of events that have not arrived, of all webhooks; undefined without webhooks. */
  get waitingCount(): number | undefined {
    if (this.#senders.size === 0) return undefined;
    return [...this.#senders.values()].reduce((sum, { waiting }) => sum + waiting.length, 0);
  }

  /**
   * Begins to announce publications, and continues with the events of an earlier run. Of the publications that exist when
   * there are webhooks for the first time, nothing is announced.
   */
  async start(webhooks: readonly Webhook[]): Promise<void> {
    await this.#queue.run(async () => {
      this.#isStarted = true;
      await this.#replace(webhooks);
    });
    this.changed();
  }

  /** Takes over other webhooks. Those of the same URL keep their events. */
  configure(webhooks: readonly Webhook[]): void {
    if (!this.#isStarted) return;
    void this.#queue.run(() => this.#replace(webhooks));
  }

  /** To be called after each publication. */
  changed(): void {
    if (!this.#isStarted || this.#isFollowing || this.#stopping.signal.aborted) return;
    this.#isFollowing = true;
    void this.#queue.run(() => this.#follow());
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the server stops"));
    await Promise.all([...this.#senders.values()].map((sender) => sender.stop()));
    await this.#queue.idle();
  }

  async #replace(webhooks: readonly Webhook[]): Promise<void> {
    const { file, repository, observer, log, now, limits } = this.#options;
    if (this.#stopping.signal.aborted) return;
    if (webhooks.length === 0) {
      await Promise.all([...this.#senders.values()].map((sender) => sender.stop()));
      this.#senders.clear();
      this.#announced = undefined;
      await rm(file, { force: true }).catch(() => undefined);
      return;
    }
    const state = this.#announced === undefined ? await this.#read() : undefined;
    this.#announced ??= new Map(state?.announced ?? this.#currentIds());
    const wanted = new Map(webhooks.map((webhook) => [keyOf(webhook.url), webhook]));
    for (const [key, sender] of this.#senders) {
      if (wanted.has(key)) continue;
      this.#senders.delete(key);
      await sender.stop();
    }
    for (const [key, webhook] of wanted) {
      const known = this.#senders.get(key);
      known?.reconfigure(webhook);
      if (known !== undefined) continue;
      const options = { repository, observer, log, now, limits, onChange: () => this.#write() };
      const sender = new WebhookSender(webhook, state?.waiting.get(key) ?? [], options);
      this.#senders.set(key, sender);
      sender.start();
    }
    this.#write();
  }

  async #read() {
    try {
      return await readWebhookState(this.#options.file);
    } catch (thrown) {
      const { repository, log } = this.#options;
      const error = messageOf(thrown);
      log.error({ repository, error }, "the state of the webhooks cannot be read: what was not delivered is lost");
      return undefined;
    }
  }

  #currentIds(): Iterable<[string, string]> {
    return [...this.#options.publications.current()].map(({ publicName, manifest }) => [publicName, manifest.id]);
  }

  async #follow(): Promise<void> {
    const { publications, repository, log } = this.#options;
    const { signal } = this.#stopping;
    const announced = this.#announced;
    this.#isFollowing = false;
    if (announced === undefined || signal.aborted) return;
    try {
      const current = [...publications.current()];
      for (const suite of current) await this.#announce(suite, announced);
      const names = new Set(current.map(({ publicName }) => publicName));
      for (const name of announced.keys()) if (!names.has(name)) announced.delete(name);
      this.#failures.succeeded("compare");
    } catch (thrown) {
      if (signal.aborted) return;
      if (this.#failures.isNew("compare", thrown))
        log.error({ repository, error: messageOf(thrown) }, "a publication could not be announced to webhooks yet");
      void sleep(retryMs, signal).then(
        () => this.changed(),
        () => undefined,
      );
    }
  }

  async #announce(current: CurrentSuite, announced: Map<string, string>): Promise<void> {
    const { repository, publicUrl, isOurs, now } = this.#options;
    const { publicName: suite, manifest } = current;
    const { id, dateSeconds } = manifest;
    const previous = announced.get(suite);
    if (previous === id) return;
    if (!isOurs()) {
      announced.set(suite, id);
      this.#write();
      return;
    }
    const differences = await differencesSince(previous, current);
    announced.set(suite, id);
    if (differences?.length !== 0) {
      const published = { repository, suite, id, dateSeconds, previous, differences };
      const event = publicationEvent(published, { publicUrl, nowMs: now() });
      for (const sender of this.#senders.values()) sender.add(event);
    }
    this.#write();
  }

  /** Writes the state soon. Changes until then are written together. */
  #write(): void {
    if (this.#isWriting) return;
    this.#isWriting = true;
    void this.#queue.run(async () => {
      this.#isWriting = false;
      const { file, repository, log } = this.#options;
      const announced = this.#announced;
      if (announced === undefined) return;
      const waiting = new Map([...this.#senders].map(([key, sender]) => [key, sender.waiting]));
      try {
        await writeWebhookState(file, { announced, waiting });
        this.#failures.succeeded("write");
      } catch (thrown) {
        if (this.#failures.isNew("write", thrown))
          log.error({ repository, error: messageOf(thrown) }, "the state of the webhooks could not be written");
      }
    });
  }
}

/** @returns undefined if the earlier publication is no longer kept */
async function differencesSince(
  previous: string | undefined,
  { repository, suite, manifest }: CurrentSuite,
): Promise<readonly Difference[] | undefined> {
  const before = previous === undefined ? { ...manifest, indices: [] } : repository.publication(suite, previous);
  if (before === undefined) return undefined;
  return await runSteps(differencesOf(await changesBetween(before, manifest, repository.segments)), yieldToEventLoop());
}
