// Sends JSON. If the body is an object, Koa checks whether it is a `Response`, which makes Node load all of its fetch
// implementation: 20 ms for the first ping.
import type Koa from "koa";

/** Sets a value as the body, in the form that Koa would send. */
export function setJsonBody(ctx: Koa.Context, value: object): void {
  ctx.type = "json";
  ctx.body = JSON.stringify(value);
}
