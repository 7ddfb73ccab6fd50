// Pins and rollbacks on all replicas: Valkey and every replica have the last command for each name and each suite, and
// every replica does what it says.
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import type { Suite } from "../base/names.ts";
import { parseSuiteOrFlat } from "../base/names.ts";
import { parsedBy } from "../base/parsed-by.ts";
import { SerialQueue } from "../base/serial-queue.ts";
import type { Repository } from "../publishing/live/repository.ts";
import type { SharedSnapshots } from "../publishing/live/snapshot-control.ts";
import type { KnownCommand, SnapshotCommand } from "../publishing/store/snapshot-commands.ts";
import { subjectOf } from "../publishing/store/snapshot-commands.ts";
import { parsedJson } from "./parsed-json.ts";
import { commandScript, keys, parted } from "./scripts.ts";
import type { Valkey } from "./valkey.ts";
import { ValkeyUnavailable } from "./valkey.ts";

const suite = parsedBy(parseSuiteOrFlat);
const command = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("pin"), suite, name: z.string(), id: z.string().nullable() }),
  z.object({ kind: z.literal("rollback"), suite, id: z.string().nullable() }),
]);

/** A command in Valkey. */
type SharedCommand = Pick<KnownCommand, "command" | "order">;

interface ReplicatedSnapshotsOptions {
  readonly valkey: Valkey;
  readonly stateName: string;
  readonly repository: Repository;
  /** Takes over the publications of the other replicas. */
  readonly settle: () => Promise<void>;
  /** Takes over a past publication, if another replica has it. */
  readonly take: (suite: Suite, id: string) => Promise<void>;
  /** Tells all replicas to look now. */
  readonly announce: () => Promise<void>;
}

/** How long a rollback may take to have an effect on all replicas, in ms. */
const effectMs = 60_000;
const lookEveryMs = 50;
/** The order of what was pinned or rolled back before this replica belonged to a cluster. */
const earliest = 1;

export class ReplicatedSnapshots implements SharedSnapshots {
  readonly #options: ReplicatedSnapshotsOptions;
  readonly #key: string;
  readonly #queue = new SerialQueue();
  #hasComparedOwn = false;

  constructor(options: ReplicatedSnapshotsOptions) {
    this.#options = options;
    this.#key = options.valkey.prefix + keys.snapshots(options.stateName);
  }

  async pin(suite: Suite, name: string, id: string | undefined): Promise<void> {
    await this.#give({ kind: "pin", suite, name, id: id ?? null });
    await this.#options.announce();
  }

  async rollBack(suite: Suite, id: string | undefined): Promise<void> {
    const { repository, settle, announce } = this.#options;
    await this.#give({ kind: "rollback", suite, id: id ?? null });
    await announce();
    await this.follow();
    // The publisher publishes it, which may be another replica.
    for (const begunMs = performance.now(); performance.now() - begunMs < effectMs; ) {
      await settle();
      if (repository.currentOf(suite)?.rolledBackTo === id) return;
      await sleep(lookEveryMs);
    }
    throw new ValkeyUnavailable("the command is stored, but no replica has published what it says yet");
  }

  /**
   * Does what the last commands say, and tells Valkey those that it does not know, perhaps because it has lost
   * everything.
   * @throws ValkeyUnavailable, StateUnwritable, and errors of publishing
   */
  async follow(): Promise<void> {
    await this.#queue.run(() => this.#follow());
  }

  /** Resolves when no command is being followed. */
  async idle(): Promise<void> {
    await this.#queue.idle();
  }

  /** The publications of a suite that pins and rollbacks hold. */
  heldIds(suite: Suite): ReadonlySet<string> {
    const held = this.#known.all().filter(({ command: about }) => about.suite === suite);
    return new Set(held.flatMap(({ command: { id } }) => id ?? []));
  }

  get #known(): Repository["store"]["snapshotCommands"] {
    return this.#options.repository.store.snapshotCommands;
  }

  async #follow(): Promise<void> {
    const shared = await this.#shared();
    for (const [subject, each] of shared) {
      const own = this.#known.about(subject);
      if (own === undefined || isLater(each, own)) await this.#known.put({ ...each, isDone: false });
    }
    if (!this.#hasComparedOwn) await this.#compareOwn();
    this.#hasComparedOwn = true;
    for (const known of this.#known.all()) {
      const there = shared.get(subjectOf(known.command));
      if (there === undefined || there.order < known.order) await this.#offer(known);
      if (!known.isDone && (await this.#execute(known.command))) await this.#noteDone(known);
    }
  }

  /** The commands in Valkey, by what they are about. */
  async #shared(): Promise<ReadonlyMap<string, SharedCommand>> {
    const texts = await this.#options.valkey.run((redis) => redis.hvals(this.#key));
    return new Map(
      texts.flatMap((text) => {
        const [order, json] = parted(text);
        const said = parsedJson(command, json);
        return said === undefined ? [] : [[subjectOf(said), { command: said, order: Number(order) }] as const];
      }),
    );
  }

  /** Makes commands of what was done here before this replica belonged to the cluster, and while it did not run. */
  async #compareOwn(): Promise<void> {
    const { pins } = this.#options.repository.store;
    const own = new Map<string, SnapshotCommand>();
    const note = (each: SnapshotCommand): void => void own.set(subjectOf(each), each);
    for (const { suite, name, id } of pins.all()) note({ kind: "pin", suite, name, id });
    for (const [suite, id] of pins.rolledBack()) note({ kind: "rollback", suite, id });
    for (const [subject, each] of own)
      if (this.#known.about(subject) === undefined)
        await this.#known.put({ command: each, order: earliest, isDone: true });
    for (const { command: last, isDone } of this.#known.all()) {
      const now = own.get(subjectOf(last)) ?? { ...last, id: null };
      if (isDone && now.id !== last.id) await this.#give(now);
    }
  }

  /** Stores a new command. */
  async #give(given: SnapshotCommand): Promise<void> {
    const known = this.#known.about(subjectOf(given))?.order ?? 0;
    const order = await this.#send(given, "new", known + 1);
    await this.#known.put({ command: given, order, isDone: false });
  }

  /** Tells Valkey a command, unless it knows a later one. */
  async #offer({ command: known, order }: KnownCommand): Promise<void> {
    await this.#send(known, "known", order);
  }

  /** @returns the order of the last command about the same subject */
  async #send(sent: SnapshotCommand, kind: "new" | "known", order: number): Promise<number> {
    const args = [subjectOf(sent), kind, order, JSON.stringify(sent)];
    return Number(await this.#options.valkey.run((redis) => redis.eval(commandScript, 1, this.#key, ...args)));
  }

  /** @returns whether it has its effect here now */
  async #execute(said: SnapshotCommand): Promise<boolean> {
    const { repository, take } = this.#options;
    const { snapshotControl, store } = repository;
    const id = said.id ?? undefined;
    if (id !== undefined && !store.has(said.suite, id)) await take(said.suite, id);
    if (said.kind === "pin") return await snapshotControl.followPin(said.suite, said.name, id);
    return await snapshotControl.followRollback(said.suite, id);
  }

  async #noteDone(known: KnownCommand): Promise<void> {
    // A new command may have been given meanwhile.
    if (this.#known.about(subjectOf(known.command))?.order === known.order)
      await this.#known.put({ ...known, isDone: true });
  }
}

/** Whether a command of Valkey replaces one that is known here. */
const isLater = (shared: SharedCommand, own: KnownCommand): boolean =>
  shared.order > own.order || (shared.order === own.order && shared.command.id !== own.command.id);
