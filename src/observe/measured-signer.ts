// A decorator that measures a signer.
import type { Clock } from "../base/clock.ts";
import type { SignedRelease, Signer } from "../signing/signer.ts";

/** Receives the result of each signature. */
export interface SignerObserver {
  signed(durationSeconds: number): void;
  failed(): void;
}

/** Reports the duration of each signature, or its failure, to an observer. */
export function measuredSigner(signer: Signer, observer: SignerObserver, clock: Clock): Signer {
  return {
    ...signer,
    async sign(release: string, dateSeconds: number): Promise<SignedRelease> {
      const startedMs = clock();
      try {
        const signed = await signer.sign(release, dateSeconds);
        observer.signed(Math.max(0, clock() - startedMs) / 1000);
        return signed;
      } catch (thrown) {
        observer.failed();
        throw thrown;
      }
    },
  };
}
