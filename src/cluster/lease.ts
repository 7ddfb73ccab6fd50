// The lease of one repository: its holder alone publishes. A replica publishes only when it has caught up with what the
// others know, and never longer than its own clock says that the lease lasts.
import type { HeldLease } from "./announcer.ts";
import type { Heard } from "./members.ts";
import { leaseMs } from "./members.ts";

/** The lease ends so much earlier for its holder, in ms. */
const marginMs = 500;

interface LeaseOptions {
  readonly repository: string;
  /** The id of this replica. */
  readonly id: string;
  /** Called when the lease was taken. Then `publish` is to be called when this replica has caught up. */
  readonly onTaken: (takenMs: number) => void;
}

export class RepositoryLease implements HeldLease {
  readonly repository: string;
  readonly #options: LeaseOptions;
  #fence = "0";
  /** By `performance.now()`. */
  #untilMs = 0;
  #isPublishing = false;
  /** How often the lease has changed hands as far as this replica knows. */
  changes = 0;
  #holder: string | undefined;
  #isTaken = false;

  constructor(options: LeaseOptions) {
    this.repository = options.repository;
    this.#options = options;
  }

  get fence(): string {
    return this.#fence;
  }

  /** The id of the replica that holds the lease, as far as this one knows. */
  get holder(): string | undefined {
    return this.#holder;
  }

  /** Whether the lease is held, and this replica may not have caught up yet. */
  get isTaken(): boolean {
    return this.#isTaken && performance.now() < this.#untilMs;
  }

  get isHeld(): boolean {
    return this.#isPublishing && this.isTaken;
  }

  note({ leases, askedMs, nowMs }: Heard): void {
    const { holder, fence } = leases.get(this.repository) ?? { holder: undefined, fence: "0" };
    if (holder !== undefined && fence !== this.#fence) this.changes += 1;
    const wasTaken = this.isTaken && fence === this.#fence;
    this.#holder = holder;
    this.#fence = fence;
    this.#isTaken = holder === this.#options.id;
    if (!this.#isTaken) {
      this.#isPublishing = false;
      return;
    }
    this.#untilMs = askedMs + leaseMs - marginMs;
    if (wasTaken) return;
    // Changes that were found while the lease was not held were not published.
    this.#isPublishing = false;
    this.#options.onTaken(nowMs);
  }

  /** Begins to publish, unless the lease was lost or taken again meanwhile. @param fence when the catching up began */
  publish(fence: string): boolean {
    this.#isPublishing = this.isTaken && fence === this.#fence;
    return this.#isPublishing;
  }

  /** Does not publish any more. */
  end(): void {
    this.#isTaken = false;
    this.#isPublishing = false;
  }
}
