// Sends a generated text with an ETag, or tells a client that it has this text already.
import { createHash } from "node:crypto";
import type Koa from "koa";
import { HttpError } from "./error-responses.ts";
import { precondition } from "./preconditions.ts";

export interface TextBody {
  /** The value of Content-Type. */
  readonly type: string;
  readonly text: string;
  /** Undefined if the text may change without a later date. */
  readonly lastModifiedSeconds?: number | undefined;
  /** Whether the ETag is weak; strong by default. */
  readonly isWeak?: boolean;
}

/** The characters of base64url in an ETag: 132 bits. */
const etagLength = 22;

/** Sets the body, or status 304. @throws HttpError 412 */
export function setTextBody(
  ctx: Koa.ParameterizedContext,
  { type, text, lastModifiedSeconds, isWeak = false }: TextBody,
): void {
  const etag = createHash("sha256").update(text).digest("base64url").slice(0, etagLength);
  const lastModified =
    lastModifiedSeconds === undefined ? undefined : new Date(lastModifiedSeconds * 1000).toUTCString();
  ctx.set("ETag", `${isWeak ? "W/" : ""}"${etag}"`);
  if (lastModified !== undefined) ctx.set("Last-Modified", lastModified);
  const outcome = precondition(ctx.req.headers, { etag, lastModifiedSeconds, lastModified });
  if (outcome === "failed") throw new HttpError("request/precondition", "the content has another ETag");
  if (outcome === "not-modified") {
    ctx.status = 304;
    return;
  }
  ctx.body = text;
  ctx.set("Content-Type", type);
}
