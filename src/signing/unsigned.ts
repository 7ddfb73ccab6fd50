// A signer that does not sign, for indices that are only compared and not published.
import type { Signer } from "./signer.ts";

/** Returns the text without a signature, which no client accepts. */
export const unsigned: Signer = {
  publicKey: "",
  publicKeyBytes: new Uint8Array(),
  keys: [],
  sign: async (release) => ({ inRelease: release, releaseGpg: "" }),
};
