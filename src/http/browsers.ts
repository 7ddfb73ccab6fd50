// Tells browsers from other clients, and where the front page is for them.
import type { IncomingMessage } from "node:http";

/**
 * Whether a client is a browser that shows a page: only these ask for HTML by name. apt accepts `text/*` for some files,
 * curl everything.
 */
export const wantsHtml = ({ headers }: Pick<IncomingMessage, "headers">): boolean =>
  headers.accept?.toLowerCase().includes("text/html") ?? false;

/** The path from the page at a request target to the front page: `./`, or `../` as often as needed. */
export function pathToRoot(target: string): string {
  const path = target.replace(/^https?:\/\/[^/?]*/i, "").replace(/\?.*$/s, "");
  return "../".repeat(path.split("/").length - 2) || "./";
}
