// The other servers of the same repository, as publishing sees them. A cluster implements this; without one there is
// none.
import type { Suite } from "../../base/names.ts";
import type { Manifest, Signatures, UnsignedManifest } from "../store/publication.ts";

/** The other replicas of one repository. One of all replicas builds its publications: the publisher. */
export interface Replicas {
  /** Whether this replica is the publisher now. All others take over what the publisher announces. */
  readonly isPublisher: boolean;
  /**
   * Resolves when every replica can serve a publication and it is the current one of all. The others prepare it while it
   * is being signed.
   * @param sign signs it; resolves when its content is on disk here
   * @param servedMs the time from which it counts as served, in ms since the epoch
   * @param serve serves it here; called when the others can serve it
   * @throws what `sign` throws; LeaseLost if another replica is the publisher now; then it must be forgotten
   */
  announce(
    unsigned: UnsignedManifest,
    sign: () => Promise<Signatures>,
    servedMs: number,
    serve: (manifest: Manifest) => Promise<void>,
  ): Promise<Manifest>;
  /** Like `announce`, for a suite that is not served any more. @param nowMs in ms since the epoch @throws LeaseLost */
  announceWithdrawal(suite: Suite, nowMs: number): Promise<void>;
  /**
   * Whether the current publications may be newer than this replica knows.
   * @returns undefined if they are not; otherwise resolves when this was found out, with whether that was possible, so
   *   that there are none that are newer now
   */
  settling(): Promise<boolean> | undefined;
}

/** A server without replicas. */
export const noReplicas: Replicas = {
  isPublisher: true,
  announce: async (unsigned, sign, _servedMs, serve) => {
    const manifest = { ...unsigned, ...(await sign()) };
    await serve(manifest);
    return manifest;
  },
  announceWithdrawal: async () => undefined,
  settling: () => undefined,
};
