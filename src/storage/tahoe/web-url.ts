// Parses URLs of gateways and servers from user input.
import { RepoError } from "../../base/errors.ts";

/** Not the URL of a gateway. The message does not quote the URL, because a cap may have been pasted into it. */
export class WebapiUrlError extends RepoError {
  readonly code = "storage/bad-webapi-url";
}

/** @returns an http or https URL without a trailing slash @throws WebapiUrlError also for a URL that contains a cap */
export function parseWebUrl(raw: string): string {
  if (!URL.canParse(raw) || !/^https?:$/.test(new URL(raw).protocol)) {
    throw new WebapiUrlError("is not an http:// or https:// URL");
  }
  if (/URI(:|%3A)/i.test(raw)) {
    throw new WebapiUrlError("contains a cap; give the URL of the gateway only, and the cap in a file");
  }
  return raw.replace(/\/+$/, "");
}
