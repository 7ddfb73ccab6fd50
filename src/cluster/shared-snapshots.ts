// Pins and rollbacks on all replicas: Valkey has the last command for each name and each suite, and every replica does
// what it says.
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import type { Suite } from "../base/names.ts";
import { parseSuiteOrFlat } from "../base/names.ts";
import { parsedBy } from "../base/parsed-by.ts";
import { SerialQueue } from "../base/serial-queue.ts";
import type { Repository } from "../publishing/live/repository.ts";
import type { SharedSnapshots } from "../publishing/live/snapshot-control.ts";
import { parsedJson } from "./parsed-json.ts";
import { keys } from "./scripts.ts";
import type { Valkey } from "./valkey.ts";
import { ValkeyUnavailable } from "./valkey.ts";

const suite = parsedBy(parseSuiteOrFlat);
const command = z.discriminatedUnion("kind", [
  /** `id` is null when the name was removed, or the suite was resumed. */
  z.object({ kind: z.literal("pin"), suite, name: z.string(), id: z.string().nullable() }),
  z.object({ kind: z.literal("rollback"), suite, id: z.string().nullable() }),
]);
type SnapshotCommand = z.infer<typeof command>;

interface ReplicatedSnapshotsOptions {
  readonly valkey: Valkey;
  readonly stateName: string;
  readonly repository: Repository;
  readonly isPublisher: () => boolean;
  /** Takes over the publications of the other replicas. */
  readonly settle: () => Promise<void> | undefined;
  /** Tells all replicas to look now. */
  readonly announce: () => Promise<void>;
}

/** How long a rollback may take to have an effect on all replicas, in ms. */
const effectMs = 60_000;
const lookEveryMs = 50;

export class ReplicatedSnapshots implements SharedSnapshots {
  readonly #options: ReplicatedSnapshotsOptions;
  readonly #key: string;
  readonly #queue = new SerialQueue();

  constructor(options: ReplicatedSnapshotsOptions) {
    this.#options = options;
    this.#key = options.valkey.prefix + keys.snapshots(options.stateName);
  }

  async pin(suite: Suite, name: string, id: string | undefined): Promise<void> {
    await this.#store({ kind: "pin", suite, name, id: id ?? null });
  }

  async rollBack(suite: Suite, id: string | undefined): Promise<void> {
    const { repository, settle } = this.#options;
    await this.#store({ kind: "rollback", suite, id: id ?? null });
    await this.follow();
    // The publisher publishes it, which may be another replica.
    for (const begunMs = performance.now(); performance.now() - begunMs < effectMs; ) {
      await settle();
      if (repository.currentOf(suite)?.rolledBackTo === id) return;
      await sleep(lookEveryMs);
    }
    throw new ValkeyUnavailable("the command is stored, but no replica has published what it says yet");
  }

  /** Does what the commands in Valkey say. @throws ValkeyUnavailable, and errors of publishing */
  async follow(): Promise<void> {
    await this.#queue.run(() => this.#follow());
  }

  /** Tells Valkey what it does not know, perhaps because it has lost everything. @throws ValkeyUnavailable */
  async offer(): Promise<void> {
    const { repository, isPublisher } = this.#options;
    const { pins } = repository.store;
    for (const { suite, name, id } of Array.from(pins.all())) await this.#offerOne({ kind: "pin", suite, name, id });
    // A replica that was away may have missed that a suite was resumed.
    if (!isPublisher()) return;
    for (const [suite, id] of Array.from(pins.rolledBack())) await this.#offerOne({ kind: "rollback", suite, id });
  }

  async #follow(): Promise<void> {
    const { valkey, repository } = this.#options;
    for (const text of await valkey.run((redis) => redis.hvals(this.#key))) {
      const said = parsedJson(command, text);
      if (said === undefined) continue;
      const id = said.id ?? undefined;
      if (said.kind === "pin") await repository.snapshotControl.followPin(said.suite, said.name, id);
      else await repository.snapshotControl.followRollback(said.suite, id);
    }
  }

  async #store(said: SnapshotCommand): Promise<void> {
    const { valkey, announce } = this.#options;
    await valkey.run((redis) => redis.hset(this.#key, fieldOf(said), JSON.stringify(said)));
    await announce();
  }

  async #offerOne(said: SnapshotCommand): Promise<void> {
    await this.#options.valkey.run((redis) => redis.hsetnx(this.#key, fieldOf(said), JSON.stringify(said)));
  }
}

const fieldOf = (said: SnapshotCommand): string =>
  said.kind === "pin" ? `pin ${said.suite} ${said.name}` : `rollback ${said.suite}`;
