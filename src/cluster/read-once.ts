// Connects the repositories of one tree with what the fleet knows of its files, so that each file is read once.
import type { Secret } from "../base/secret.ts";
import type { SharedInspections, UntrustedMark } from "../catalog/shared-inspections.ts";
import type { Repository } from "../publishing/live/repository.ts";
import { InspectionSweep } from "./inspection-sweep.ts";
import { FleetInspections } from "./inspections.ts";
import { Sealing } from "./sealing.ts";
import { UntrustedMarks } from "./untrusted-marks.ts";
import type { Valkey } from "./valkey.ts";

/** How long a start waits for Valkey, in ms. */
const maxWaitMs = 2000;

export interface ReadOnceOptions {
  readonly valkey: Valkey;
  /** What all servers of the fleet know and nobody else: see `Sealing`. */
  readonly secret: Secret;
  /** The name of the configured repository. */
  readonly repository: string;
  /** Identifies this server, and its start. */
  readonly member: string;
  /** The version of this program. */
  readonly version: string;
  readonly reservationMs?: number;
  readonly settleMs?: number;
}

/** The inspections that the servers of one tree share. */
export class ReadOnce {
  readonly #valkey: Valkey;
  readonly #marks: UntrustedMarks;
  readonly #inspections: FleetInspections;
  readonly #repositories = new Set<Pick<Repository, "localInspections" | "takeMarks">>();
  readonly #sweeps: InspectionSweep[] = [];
  readonly #stopping = new AbortController();
  readonly #removeListener: () => void;

  constructor({ valkey, secret, repository, ...options }: ReadOnceOptions) {
    this.#valkey = valkey;
    const sealing = new Sealing(secret, `inspections of ${repository}`);
    this.#marks = new UntrustedMarks(valkey, sealing);
    this.#inspections = new FleetInspections({ valkey, sealing, marks: this.#marks, ...options });
    this.#marks.receive((marks) => void this.#take(marks));
    this.#removeListener = valkey.onReady(() => void this.sweep());
  }

  /** For the examiners of the repositories of this tree. */
  get shared(): SharedInspections {
    return this.#inspections;
  }

  /** Adds a repository of this tree. */
  add(repository: Pick<Repository, "localInspections" | "takeMarks">): void {
    this.#repositories.add(repository);
    const [inspections, marks, local] = [this.#inspections, this.#marks, repository.localInspections];
    const sweep = new InspectionSweep({ inspections, marks, local, signal: this.#stopping.signal });
    this.#sweeps.push(sweep);
    sweep.start();
  }

  /**
   * Learns what the others have found to be wrong. Await this before the tree is surveyed: it waits a moment for the
   * connection to Valkey.
   */
  async start(): Promise<void> {
    if (!(await this.#valkey.isConnectedWithin(maxWaitMs))) return;
    await this.#take(await this.#marks.all().catch(() => []));
  }

  /** Stores what Valkey lacks. Call it when the tree was seen for the first time. */
  async sweep(): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    // Without Valkey, the next connection leads to another sweep.
    await Promise.all(this.#sweeps.map((sweep) => sweep.run().catch(() => undefined)));
  }

  close(): void {
    this.#stopping.abort();
    this.#removeListener();
    this.#marks.close();
    this.#inspections.close();
  }

  async #take(marks: readonly UntrustedMark[]): Promise<void> {
    for (const repository of this.#repositories) await repository.takeMarks(marks).catch(() => undefined);
  }
}
