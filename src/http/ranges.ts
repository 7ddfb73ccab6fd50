// A Range header → the one part of the resource that is sent.
import parseRanges from "range-parser";

/** Both in bytes; `end` is exclusive. */
export interface Part {
  readonly start: number;
  readonly end: number;
}

/**
 * Picks what a Range asks for. A header that is malformed, of another unit, or asks for several ranges is ignored, as
 * it may be: the whole is a correct answer to it, and nobody can make us send the same bytes many times.
 * @see RFC 9110 14.2
 */
export function pickRange(header: string | undefined, sizeBytes: number): Part | "whole" | "unsatisfiable" {
  if (header === undefined) return "whole";
  const single = /^\s*bytes\s*=\s*(\d*)-(\d*)\s*$/i.exec(header);
  if (single === null) return "whole";
  const [, first = "", last = ""] = single;
  if (first === "" && last === "") return "whole";
  if (first !== "" && last !== "" && Number(first) > Number(last)) return "whole";
  // range-parser takes a suffix longer than the resource for unsatisfiable; it means all of it.
  const suffix = first === "" && sizeBytes > 0 ? `-${Math.min(Number(last), sizeBytes)}` : `${first}-${last}`;
  const parsed = parseRanges(sizeBytes, `bytes=${suffix}`);
  if (parsed === -2) return "whole";
  const part = parsed === -1 ? undefined : parsed[0];
  return part === undefined ? "unsatisfiable" : { start: part.start, end: part.end + 1 };
}
