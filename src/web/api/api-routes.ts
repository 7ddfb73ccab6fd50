// The routes of the JSON API.
import { STATUS_CODES } from "node:http";
import type Koa from "koa";
import type { RepositoryName } from "../../base/names.ts";
import { errorResponseOf, HttpError, methodNotAllowed } from "../../http/error-responses.ts";
import type { AddRoutes, RouteAccess, RouteState } from "../../http/routes.ts";
import { setTextBody } from "../../http/text-body.ts";
import type { RepositoryData } from "../data/repository-data.ts";
import { apiRoot, openApiDocument } from "./openapi.ts";
import type { Resource } from "./resources.ts";
import { resources } from "./resources.ts";

type Context = Koa.ParameterizedContext<RouteState> & { readonly params: Readonly<Record<string, string>> };

const methods = "GET, HEAD, OPTIONS";

/**
 * @param repositories all of them; private ones are readable for their readers only
 * @param version of this program
 */
export const addApi =
  (repositories: readonly RepositoryData[], version: string): AddRoutes =>
  (router, access) => {
    const byName = new Map<string, RepositoryData>(repositories.map((data) => [data.name, data]));
    const urlOf = (ctx: Context, name: RepositoryName) => `${access.originOf(ctx)}/${name}`;
    // Made on first use: a start need not wait for it.
    let document: object | undefined;

    const route = (path: string, answer: (ctx: Context) => Promise<void> | void) =>
      router.all(path, async (ctx: Context) => {
        try {
          if (ctx.method !== "GET" && ctx.method !== "HEAD" && ctx.method !== "OPTIONS")
            throw methodNotAllowed(ctx.method, methods);
          await answer(ctx);
        } catch (thrown) {
          sendProblem(ctx, thrown);
        }
      });

    route(`${apiRoot}/openapi.json`, (ctx) => {
      document ??= openApiDocument(version);
      sendJson(ctx, document, "public");
    });
    route(`${apiRoot}/repositories`, (ctx) => {
      const open = repositories.filter(({ name }) => !access.isPrivate(name));
      sendJson(ctx, { repositories: open.map(({ name }) => ({ name, url: urlOf(ctx, name) })) }, "public");
    });
    for (const resource of resources) {
      const path = resource.path.replaceAll(/\{(\w+)\}/g, ":$1");
      route(`${apiRoot}/repositories/:repository${path}`, async (ctx) => {
        const data = byName.get(ctx.params.repository ?? "");
        if (data === undefined) throw new HttpError("request/not-found", "there is no such repository");
        const audience = await audienceOf(ctx, data.name, access);
        const parameters = parametersOf(resource, ctx);
        if (ctx.method === "OPTIONS") return sendJson(ctx, {}, audience);
        const found = await resource.find(
          { data, url: urlOf(ctx, data.name), signal: ctx.state.context.signal },
          parameters,
        );
        if (found === undefined) throw new HttpError("request/not-found", `there is no such ${resource.name}`);
        sendJson(ctx, found, audience);
      });
    }
    route(`${apiRoot}/{*path}`, () => {
      throw new HttpError("request/not-found", `there is no such resource; ${apiRoot}/openapi.json lists them`);
    });
  };

/** @throws HttpError if the request may not read the repository */
async function audienceOf(ctx: Context, name: RepositoryName, access: RouteAccess): Promise<"public" | "private"> {
  if (!access.isPrivate(name)) return "public";
  await access.admit(name, ctx.req);
  return "private";
}

/** @throws HttpError */
function parametersOf({ parameters }: Resource, ctx: Context): object {
  const query = new URLSearchParams(ctx.state.context.path().query);
  const given = Object.keys(parameters.shape).flatMap((name) => {
    const [text, ...more] = name in ctx.params ? [ctx.params[name] ?? ""] : query.getAll(name);
    if (more.length > 0) throw new HttpError("request/malformed", `${name} is given twice`);
    if (text === undefined) return [];
    const value = name === "limit" && /^\d{1,9}$/.test(text) ? Number(text) : text;
    return [[name, value] as const];
  });
  const parsed = parameters.safeParse(Object.fromEntries(given));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new HttpError("request/malformed", `${issue?.path.join(".")}: ${issue?.message}`);
}

function sendJson(ctx: Context, value: object, audience: "public" | "private"): void {
  ctx.set("Cache-Control", audience === "private" ? "private, no-cache" : "no-cache");
  if (audience === "public") {
    ctx.set("Access-Control-Allow-Origin", "*");
    ctx.set("Access-Control-Expose-Headers", "ETag");
    ctx.set("Cross-Origin-Resource-Policy", "cross-origin");
  }
  if (ctx.method === "OPTIONS") {
    ctx.status = 204;
    ctx.set("Allow", methods);
    if (audience === "public") {
      ctx.set("Access-Control-Allow-Methods", methods);
      ctx.set("Access-Control-Allow-Headers", "If-None-Match");
      ctx.set("Access-Control-Max-Age", "86400");
    }
    return;
  }
  setTextBody(ctx, { type: "application/json; charset=utf-8", text: JSON.stringify(value) });
}

/** @throws an error that no request should meet, which is logged */
function sendProblem(ctx: Context, thrown: unknown): void {
  const { status, code, text, headers } = errorResponseOf(thrown);
  if (status === 500) throw thrown;
  for (const [name, value] of Object.entries(headers)) ctx.set(name, value);
  ctx.status = status;
  ctx.body = JSON.stringify({ type: "about:blank", title: STATUS_CODES[status] ?? "", status, code, detail: text });
  ctx.set("Content-Type", "application/problem+json");
}
