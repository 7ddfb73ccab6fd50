// Compares the metadata of an uploader with the bytes of the file.
import { digestAlgorithms } from "../../debian/digests.ts";
import type { Stanza } from "../../debian/stanza.ts";
import type { Inspection, SoundInspection } from "../inspection/inspection.ts";

/**
 * Finds the first difference between a claim and the inspection of the bytes. Digests that only one of them has are
 * ignored.
 * @param claimed the inspection in the metadata
 * @param found the inspection of the bytes
 * @returns a short description of the difference, for people; undefined if there is none
 */
export function difference(claimed: SoundInspection, found: Inspection): string | undefined {
  if (found.kind === "rejected") return found.code;
  if (claimed.sizeBytes !== found.sizeBytes) return "size";
  for (const algorithm of digestAlgorithms) {
    const [claimedDigest, foundDigest] = [claimed.digests[algorithm], found.digests[algorithm]];
    if (claimedDigest !== undefined && foundDigest !== undefined && claimedDigest !== foundDigest) return algorithm;
  }
  if (claimed.kind === "binary" && found.kind === "binary") {
    if (claimed.builtAtSeconds !== found.builtAtSeconds) return "time of building";
    return differentField(claimed.control, found.control);
  }
  if (claimed.kind === "source" && found.kind === "source") return differentField(claimed.dsc, found.dsc);
  return claimed.kind === found.kind ? undefined : "kind";
}

/** The order of the fields and the case of their names matter too, because the index shows them. */
function differentField(claimed: Stanza, found: Stanza): string | undefined {
  for (let at = 0; at < Math.max(claimed.length, found.length); at++) {
    const [claimedField, foundField] = [claimed[at], found[at]];
    if (claimedField?.[0] === foundField?.[0] && claimedField?.[1] === foundField?.[1]) continue;
    return `field ${(foundField ?? claimedField)?.[0]}`;
  }
  return undefined;
}
