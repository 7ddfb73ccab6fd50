// Where the word of an uploader and the bytes of a file tell different things.
import { digestAlgorithms } from "../../debian/digests.ts";
import type { Stanza } from "../../debian/stanza.ts";
import type { Inspection, SoundInspection } from "../inspection/inspection.ts";

/**
 * @param claimed what the metadata says
 * @param found what the bytes say
 * @returns the first difference in words; undefined if there is none, but for what only one of them tells
 */
export function difference(claimed: SoundInspection, found: Inspection): string | undefined {
  if (found.kind === "rejected") return found.code;
  if (claimed.sizeBytes !== found.sizeBytes) return "size";
  for (const algorithm of digestAlgorithms) {
    const [said, seen] = [claimed.digests[algorithm], found.digests[algorithm]];
    if (said !== undefined && seen !== undefined && said !== seen) return algorithm;
  }
  if (claimed.kind === "binary" && found.kind === "binary") {
    if (claimed.builtAtSeconds !== found.builtAtSeconds) return "time of building";
    return differentField(claimed.control, found.control);
  }
  if (claimed.kind === "source" && found.kind === "source") return differentField(claimed.dsc, found.dsc);
  return claimed.kind === found.kind ? undefined : "kind";
}

/** Order and case of names count too: both show in the index. */
function differentField(claimed: Stanza, found: Stanza): string | undefined {
  for (let at = 0; at < Math.max(claimed.length, found.length); at++) {
    const [said, seen] = [claimed[at], found[at]];
    if (said?.[0] === seen?.[0] && said?.[1] === seen?.[1]) continue;
    return `field ${(seen ?? said)?.[0]}`;
  }
  return undefined;
}
