// Answers with JSON. Given an object, koa asks whether it is a `Response`, and Node then loads all of its fetch: 20 ms
// of work for the first ping of each server.
import type Koa from "koa";

/** Makes a value the body of the answer, as koa would write it. */
export function setJsonBody(ctx: Koa.Context, value: object): void {
  ctx.type = "json";
  ctx.body = JSON.stringify(value);
}
