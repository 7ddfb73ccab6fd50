// The routes of the JSON API.
import { HttpError } from "../../http/error-responses.ts";
import { setJsonBody } from "../../http/json-body.ts";
import type { AddRoutes } from "../../http/routes.ts";
import type { RepositoryData } from "../data/repository-data.ts";

/** @param repositories all of them; private ones are readable for their readers only */
export const addApi =
  (repositories: readonly RepositoryData[]): AddRoutes =>
  (router, access) => {
    const root = "/-/api/v1";
    for (const data of repositories) {
      const base = `${root}/repositories/${data.name}`;
      router.get(`${base}/packages`, async (ctx) => {
        await access.admit(data.name, ctx.req);
        const text = new URLSearchParams(ctx.state.context.path().query).get("text") ?? undefined;
        setJsonBody(ctx, await data.packages({ text }, ctx.state.context.signal));
      });
      router.get(`${base}/packages/:name`, async (ctx) => {
        await access.admit(data.name, ctx.req);
        const found = await data.package(ctx.params.name ?? "", ctx.state.context.signal);
        if (found === undefined) throw new HttpError("request/not-found", "there is no such package");
        setJsonBody(ctx, found);
      });
    }
  };
