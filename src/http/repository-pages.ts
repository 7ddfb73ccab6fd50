// Routes of each repository for setting it up: its page, its public keys, and its .sources and extrepo files.
import type Router from "@koa/router";
import type Koa from "koa";
import type { RepositoryStatus, ServedRepository } from "../publishing/served-repository.ts";
import { renderDeb822Source } from "./deb822-source.ts";
import { HttpError } from "./error-responses.ts";
import { renderExtrepo } from "./extrepo.ts";
import { renderRepository } from "./html-pages.ts";
import { addSnapshotsPage, isSnapshotsPage } from "./snapshots-page.ts";

/** Whether a path below a mount is a public key: these are readable without a password. */
export const isKey = (rest: string): boolean => rest === "key.asc" || rest === "key.gpg";

/** Whether a path below a mount is one of these routes. */
export const isRepositoryPage = (mount: string, rest: string): boolean =>
  rest === "" || isKey(rest) || isSnapshotsPage(rest) || rest === `${mount}.sources` || rest === `${mount}.yaml`;

/** @param options.uriOf returns the URL of the repository for this client, without a trailing slash */
export function addRepositoryPages<State>(
  router: Router<State>,
  repository: ServedRepository,
  { uriOf, isPrivate }: { readonly uriOf: (ctx: Koa.Context) => string; readonly isPrivate: boolean },
): void {
  const { name, key } = repository;
  const page = (path: string, type: string, body: (ctx: Koa.Context) => string | Buffer) =>
    router.get(`/${name}/${path}`, (ctx) => {
      ctx.body = body(ctx);
      ctx.set("Content-Type", type);
      ctx.set("Cache-Control", "no-cache");
    });
  router.get(`/${name}`, (ctx) => {
    ctx.status = 301;
    ctx.set("Location", `${name}/`);
    ctx.body = `the repository is at ${name}/\n`;
  });
  addSnapshotsPage(router, repository);
  page("", "text/html; charset=utf-8", (ctx) => renderRepository(uriOf(ctx), repository, isPrivate));
  page("key.asc", "application/pgp-keys", () => key.armored);
  page("key.gpg", "application/octet-stream", () => Buffer.from(key.binary));
  page(`${name}.sources`, "text/plain; charset=utf-8", (ctx) =>
    renderDeb822Source(uriOf(ctx), key, publishedStatus(repository)),
  );
  page(`${name}.yaml`, "text/plain; charset=utf-8", (ctx) =>
    renderExtrepo(name, uriOf(ctx), key, publishedStatus(repository)),
  );
}

/** @throws HttpError while there is no suite: apt would accept a file without suites silently, and find no package */
function publishedStatus(repository: ServedRepository): RepositoryStatus {
  const status = repository.status();
  if (status.suites.length > 0) return status;
  throw new HttpError("server/not-ready", status.notReady ?? "nothing is published yet");
}
