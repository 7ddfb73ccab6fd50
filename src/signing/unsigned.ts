// Stands in for a signer where indices are made to be compared, and nothing is published.
import type { Signer } from "./signer.ts";

/** Its Release is what would be signed; nobody would accept it. */
export const unsigned: Signer = {
  publicKey: "",
  publicKeyBytes: new Uint8Array(),
  keys: [],
  sign: async (release) => ({ inRelease: release, releaseGpg: "" }),
};
