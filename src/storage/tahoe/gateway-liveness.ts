// Whether a gateway answers at all: asked only when something has been waited for suspiciously long.

/** When a gateway is asked whether it is there, and when it counts as gone. */
export interface LivenessLimits {
  /** A request that has had no answer for so long raises the question. */
  readonly doubtAfterMs: number;
  /** A gateway that answered nothing for so long after that is asked for nothing more until it answers. */
  readonly unresponsiveAfterMs: number;
}

export const defaultLivenessLimits: LivenessLimits = { doubtAfterMs: 3_000, unresponsiveAfterMs: 15_000 };

/** For one probe, and between two. */
const probeTimeoutMs = 2_000;
const probePauseMs = 1_000;
/** Nobody has asked for so long: nothing is known, and the next request finds out. */
const forgetAfterMs = 60_000;

/**
 * Probes are requests that cost a gateway nothing, each on a connection of its own: a connection through which nothing
 * comes any more says little about the gateway behind it. Only one is under way at any time.
 */
export class GatewayLiveness {
  readonly #probe: (signal: AbortSignal) => Promise<boolean>;
  readonly #limits: LivenessLimits;
  readonly #recoveries = new Set<() => void>();
  #isChecking = false;
  #failures = 0;
  #isUnresponsive = false;
  #lastUsedMs = 0;

  /** @param probe whether an answer came, whatever it was; ends soon after its signal is aborted, and never throws */
  constructor(probe: (signal: AbortSignal) => Promise<boolean>, limits: LivenessLimits) {
    this.#probe = probe;
    this.#limits = limits;
  }

  /** Whether it has not answered for so long that asking it for anything is waste of time. */
  get isUnresponsive(): boolean {
    this.#lastUsedMs = performance.now();
    return this.#isUnresponsive;
  }

  /** Whether the last probe got no answer. The gateway may be busy. */
  get hasFailedProbe(): boolean {
    return this.#failures > 0;
  }

  /** Whether it is being found out whether it answers: for longer than a moment, only while it does not. */
  get isChecking(): boolean {
    return this.#isChecking;
  }

  /** Finds out whether it answers, unless that is being done. */
  check(): void {
    this.#lastUsedMs = performance.now();
    if (!this.#isChecking) void this.#probeUntilResponse();
  }

  /** Calls each time that it answers again after it did not. @returns takes the listener away */
  onRecovery(listener: () => void): () => void {
    this.#recoveries.add(listener);
    return () => this.#recoveries.delete(listener);
  }

  async #probeUntilResponse(): Promise<void> {
    this.#isChecking = true;
    const begunMs = performance.now();
    while (performance.now() - this.#lastUsedMs < forgetAfterMs) {
      if (await this.#probeOnce()) break;
      this.#failures += 1;
      if (performance.now() - begunMs >= this.#limits.unresponsiveAfterMs) this.#isUnresponsive = true;
      await pause(probePauseMs);
    }
    const recovered = this.#failures > 0;
    this.#isChecking = false;
    this.#failures = 0;
    this.#isUnresponsive = false;
    if (recovered) for (const listener of this.#recoveries) listener();
  }

  async #probeOnce(): Promise<boolean> {
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(), probeTimeoutMs).unref();
    try {
      return await this.#probe(timeout.signal);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** A command that has nothing else to do may end meanwhile. */
const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
