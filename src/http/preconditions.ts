// Evaluates conditional requests: whether to send the resource, 304 or 412.
import type { IncomingHttpHeaders } from "node:http";
import type { Resource } from "../publishing/resource.ts";

type Validators = Pick<Resource, "etag" | "lastModifiedSeconds"> & {
  /** `lastModifiedSeconds` as an HTTP date. */
  readonly lastModified: string | undefined;
};

/**
 * Evaluates the preconditions of a GET or HEAD in their order of precedence.
 * @see RFC 9110 13.2.2
 */
export function precondition(
  headers: IncomingHttpHeaders,
  resource: Validators,
): "proceed" | "not-modified" | "failed" {
  const ifMatch = headers["if-match"];
  const ifUnmodifiedSince = headers["if-unmodified-since"];
  if (ifMatch !== undefined) {
    if (!lists(ifMatch, resource.etag, "strong")) return "failed";
  } else if (ifUnmodifiedSince !== undefined) {
    const seconds = parseHttpDate(ifUnmodifiedSince);
    if (seconds !== undefined && (resource.lastModifiedSeconds ?? 0) > seconds) return "failed";
  }
  const ifNoneMatch = headers["if-none-match"];
  if (ifNoneMatch !== undefined) return lists(ifNoneMatch, resource.etag, "weak") ? "not-modified" : "proceed";
  const ifModifiedSince = headers["if-modified-since"];
  return ifModifiedSince !== undefined && isDateOf(ifModifiedSince, resource) ? "not-modified" : "proceed";
}

/**
 * Whether a Range header applies: always without If-Range, else if If-Range matches the current bytes.
 * @see RFC 9110 13.1.5
 */
export function rangeMayApply(headers: IncomingHttpHeaders, resource: Validators): boolean {
  const ifRange = headers["if-range"];
  if (typeof ifRange !== "string") return true;
  return ifRange === `"${resource.etag}"` || isDateOf(ifRange, resource);
}

// Compares for equality, not "not newer than": after a rollback other bytes have an older date, and clients must get them.
const isDateOf = (date: string, { lastModified, lastModifiedSeconds }: Validators): boolean =>
  lastModifiedSeconds !== undefined && (date === lastModified || parseHttpDate(date) === lastModifiedSeconds);

function lists(field: string, etag: string, comparison: "strong" | "weak"): boolean {
  if (field.trim() === "*") return true;
  for (const [, weak, tag] of field.matchAll(/(W\/)?"([^"]*)"/g)) {
    if (tag === etag && (comparison === "weak" || weak === undefined)) return true;
  }
  return false;
}

const imfFixdate = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;
const rfc850Date = /^[A-Z][a-z]+day, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT$/;
const asctimeDate = /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}$/;

/** @returns seconds since the epoch; undefined if the text is not an HTTP date @see RFC 9110 5.6.7 */
function parseHttpDate(text: string): number | undefined {
  const isAsctime = asctimeDate.test(text);
  if (!isAsctime && !imfFixdate.test(text) && !rfc850Date.test(text)) return undefined;
  const milliseconds = Date.parse(isAsctime ? `${text} GMT` : text);
  return Number.isNaN(milliseconds) ? undefined : milliseconds / 1000;
}
