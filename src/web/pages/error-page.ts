// The page that a browser gets instead of the text of an error.
import type { ErrorPage, ErrorResponse } from "../../http/error-responses.ts";
import { Links } from "../html/links.ts";
import { template } from "../html/templates.ts";
import { contentSecurityPolicy, renderPage, renderPlainPage } from "./frame.ts";

const body = template<{
  readonly heading: string;
  readonly status: number;
  readonly code: string;
  readonly text: string;
  readonly advice: string;
  readonly next: { readonly text: string; readonly href: string };
}>(`<h1><%= it.heading %></h1>
<p class="lead"><%= it.advice %></p>
<p class="quiet"><code><%= it.status %> <%= it.code %></code>: <%= it.text %></p>
<p><a href="<%= it.next.href %>"><%= it.next.text %></a></p>`);

const explanations: Readonly<Record<number, readonly [heading: string, advice: string]>> = {
  400: ["Bad request", "The server cannot make sense of this address."],
  401: ["Readers only", "This needs the name and the password of a reader."],
  403: ["Forbidden", "This is not allowed."],
  404: ["Not found", "Nothing is at this address. It may have been removed, or the address may be wrong."],
  405: ["Not allowed", "This page can only be read."],
  429: ["Too many requests", "Wait a minute before you try again."],
  503: ["Not available now", "This may pass: try again in a moment."],
};

/**
 * Renders the page.
 * @param root as for `Links`
 * @param repository the name of the repository, if the client may know that it exists
 */
export function renderErrorPage(
  { status, code, text }: ErrorResponse,
  root: string,
  repository: string | undefined,
): ErrorPage {
  const [heading, advice] = explanations[status] ?? [
    status >= 500 ? "Server error" : "Error",
    status >= 500 ? "Something went wrong here. The log of the server says more." : "The request failed.",
  ];
  const links = repository === undefined ? undefined : new Links(root, repository);
  const next =
    links === undefined
      ? { text: "All repositories", href: root }
      : { text: `Search the packages of ${repository}`, href: links.packages() };
  const content = { title: heading, body: body({ status, code, text, heading, advice, next }) };
  const html =
    links === undefined || repository === undefined
      ? renderPlainPage(content, root)
      : renderPage(content, { links, repository });
  return { html, contentSecurityPolicy };
}
