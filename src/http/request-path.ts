// Parses a request target: decodes it once and normalises the path.
import { HttpError } from "./error-responses.ts";

/** The maximum length of a request target in bytes, as sent. */
const maxTargetBytes = 8 * 1024;

/** A parsed request target. */
export interface RequestPath {
  /** The first path segment: a repository, or a reserved name such as `metrics`. "" for the root. */
  readonly mount: string;
  /** The other segments, joined by `/`; "" if there are none. Without empty segments, `.` and `..`. */
  readonly rest: string;
  /** Whether the target ended with a slash. */
  readonly trailingSlash: boolean;
  /** Without the question mark. */
  readonly query: string;
}

/**
 * Decodes a target once (`+` stays `+`), then resolves `.` and `..`. Encoded slashes and dots are equal to plain ones: for
 * flat repositories apt sends them plain, other clients encode them.
 * @throws HttpError for a malformed escape, control characters, or a `..` that leaves the first name
 * @see RFC 9112 3.2, RFC 3986 5.2.4
 */
export function parseRequestPath(target: string): RequestPath {
  if (Buffer.byteLength(target) > maxTargetBytes) {
    throw new HttpError("request/too-long", `a request target has at most ${maxTargetBytes} bytes`);
  }
  // The absolute form, as sent to proxies: the authority is ignored.
  const origin = target.startsWith("/") ? target : target.replace(/^https?:\/\/[^/?]*/i, "");
  const queryAt = origin.indexOf("?");
  const path = decode(queryAt < 0 ? origin : origin.slice(0, queryAt));
  const query = queryAt < 0 ? "" : origin.slice(queryAt + 1);
  if (!path.startsWith("/")) throw malformed("the request target is not a path");
  const names: string[] = [];
  for (const name of path.split("/")) {
    if (name === "" || name === ".") continue;
    if (name !== "..") names.push(name);
    else if (names.length > 1) names.pop();
    else throw malformed("the path leaves the repository");
  }
  return {
    mount: names[0] ?? "",
    rest: names.slice(1).join("/"),
    trailingSlash: /\/\.{0,2}$/.test(path),
    query,
  };
}

function decode(raw: string): string {
  let decoded = raw;
  if (raw.includes("%")) {
    try {
      decoded = decodeURIComponent(raw);
    } catch {
      throw malformed("a percent sign is not followed by the bytes of a UTF-8 character");
    }
  }
  if (/[\u0000-\u001f\u007f]/.test(decoded)) throw malformed("the path contains a control character");
  return decoded;
}

const malformed = (text: string): HttpError => new HttpError("request/malformed", text);
