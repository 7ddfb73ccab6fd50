// Parses a Range header into the part of the resource to send.

/** Both in bytes; `end` is exclusive. */
export interface Part {
  readonly start: number;
  readonly end: number;
}

/**
 * Selects the requested part. A header that is malformed, has another unit or several ranges is ignored, which the RFC
 * allows: the whole resource is sent, and no client can request the same bytes many times in one response.
 * @see RFC 9110 14.2
 */
export function pickRange(header: string | undefined, sizeBytes: number): Part | "whole" | "unsatisfiable" {
  if (header === undefined) return "whole";
  const single = /^\s*bytes\s*=\s*(\d*)-(\d*)\s*$/i.exec(header);
  if (single === null) return "whole";
  const [, first = "", last = ""] = single;
  if (first === "" && last === "") return "whole";
  if (first !== "" && last !== "" && Number(first) > Number(last)) return "whole";
  // A suffix longer than the resource means all of it.
  const start = first === "" ? Math.max(0, sizeBytes - Number(last)) : Number(first);
  const end = first === "" || last === "" ? sizeBytes : Math.min(Number(last) + 1, sizeBytes);
  return start < end ? { start, end } : "unsatisfiable";
}
