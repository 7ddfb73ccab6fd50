// The real server on a loopback port, with any repositories.
import { connect } from "node:net";
import { systemClock } from "../../src/base/clock.ts";
import type { Log } from "../../src/base/log.ts";
import { silentLog } from "../../src/base/log.ts";
import type { AppOptions } from "../../src/http/app.ts";
import { createApp } from "../../src/http/app.ts";
import type { RequestClass } from "../../src/http/request-context.ts";
import type { RunningServer } from "../../src/http/server.ts";
import { startServer } from "../../src/http/server.ts";
import type { ServedRepository } from "../../src/publishing/served-repository.ts";
import { renderErrorPage } from "../../src/web/pages/error-page.ts";
import { addPages } from "../../src/web/pages/page-routes.ts";
import { someRepositoryData } from "./repository-data.ts";

export interface StartedApp extends RunningServer {
  readonly base: string;
  readonly answered: { requestClass: RequestClass; status: number | "cut" }[];
  /** The whole log, as one text. */
  readonly logged: () => string;
}

export async function startApp(
  repositories: readonly ServedRepository[],
  options: Partial<AppOptions> = {},
): Promise<StartedApp> {
  const answered: StartedApp["answered"] = [];
  const lines: string[] = [];
  const write = (context: object, message: string) => void lines.push(JSON.stringify({ ...context, message }));
  const log: Log = { ...silentLog, info: write, warn: write, error: write };
  const app = createApp({
    repositories: new Map(repositories.map((repository) => [repository.name, repository])),
    tokens: new Map(),
    metrics: { contentType: "text/plain; version=0.0.4; charset=utf-8", render: async () => "up 1\n" },
    observer: { answered: (requestClass, status) => void answered.push({ requestClass, status }) },
    clock: systemClock,
    log,
    furtherRoutes: async () => [
      addPages(
        repositories.map((repository) => ({ repository, data: someRepositoryData(repository) })),
        () => systemClock() / 1000,
      ),
    ],
    errorPage: renderErrorPage,
    ...options,
  });
  const { limits = {}, behindProxy = false, clock = systemClock } = options;
  const server = await startServer(app.listener, { host: "127.0.0.1", port: 0, limits, behindProxy, log, clock });
  const base = `http://127.0.0.1:${server.address.port}`;
  return { ...server, base, answered, logged: () => lines.join("\n") };
}

const closeTimeoutMs = 30_000;

/** Requests one after the other; the last one makes the server close the connection. */
export const thenClose = (requests: string): string => requests.replace(/\r\n$/, "Connection: close\r\n\r\n");

/** Sends raw text and returns everything received until the server closes the connection. @throws if it does not */
export function rawExchange(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect(port, "127.0.0.1", () => socket.write(text, "latin1"));
    const done = () => {
      socket.destroy();
      resolve(Buffer.concat(chunks).toString("latin1"));
    };
    socket.setTimeout(closeTimeoutMs, () => socket.destroy(new Error("the server left the connection open")));
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("end", done);
    socket.on("error", reject);
  });
}
