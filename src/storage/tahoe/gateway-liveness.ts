// Checks whether a gateway responds at all. It sends probes only if a request has taken suspiciously long.

/** When a gateway is probed, and when it counts as unresponsive. */
export interface LivenessLimits {
  /** The time without a response after which a request causes a probe. */
  readonly doubtAfterMs: number;
  /** The time of failing probes after which the gateway gets no requests until it responds. */
  readonly unresponsiveAfterMs: number;
}

export const defaultLivenessLimits: LivenessLimits = { doubtAfterMs: 3_000, unresponsiveAfterMs: 15_000 };

/** The timeout of one probe, and the pause between two. */
const probeTimeoutMs = 2_000;
const probePauseMs = 1_000;
/** Probes end when nothing has used the gateway for this time. The next request then starts without knowledge. */
const stopAfterUnusedMs = 60_000;

/**
 * The liveness of one gateway. Probes are cheap requests, each on a new connection, because a stalled connection says
 * little about the gateway. Only one probe is running at any time.
 */
export class GatewayLiveness {
  readonly #probe: (signal: AbortSignal) => Promise<boolean>;
  readonly #limits: LivenessLimits;
  readonly #recoveries = new Set<() => void>();
  #isChecking = false;
  #failures = 0;
  #isUnresponsive = false;
  #lastUsedMs = 0;

  /**
   * @param probe returns whether any response was received; must end soon after its signal is aborted, and not throw
   */
  constructor(probe: (signal: AbortSignal) => Promise<boolean>, limits: LivenessLimits) {
    this.#probe = probe;
    this.#limits = limits;
  }

  /** Whether the gateway has not responded for so long that requests should fail at once. */
  get isUnresponsive(): boolean {
    this.#lastUsedMs = performance.now();
    return this.#isUnresponsive;
  }

  /** Whether the last probe got no response. The gateway may be busy. */
  get hasFailedProbe(): boolean {
    return this.#failures > 0;
  }

  /** Whether probes are running. If the gateway responds, they end after the first one. */
  get isChecking(): boolean {
    return this.#isChecking;
  }

  /** Starts probing, unless probes are running. */
  check(): void {
    this.#lastUsedMs = performance.now();
    if (!this.#isChecking) void this.#probeUntilResponse();
  }

  /**
   * Adds a listener for each time when the gateway responds again after a failed probe.
   * @returns removes the listener
   */
  onRecovery(listener: () => void): () => void {
    this.#recoveries.add(listener);
    return () => this.#recoveries.delete(listener);
  }

  async #probeUntilResponse(): Promise<void> {
    this.#isChecking = true;
    const startedMs = performance.now();
    while (performance.now() - this.#lastUsedMs < stopAfterUnusedMs) {
      if (await this.#probeOnce()) break;
      this.#failures += 1;
      if (performance.now() - startedMs >= this.#limits.unresponsiveAfterMs) this.#isUnresponsive = true;
      await pauseUnreferenced(probePauseMs);
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

/** Waits without keeping the process alive. */
const pauseUnreferenced = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
