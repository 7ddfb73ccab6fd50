// Requests a second: ours, nginx over the same bytes as files, and nginx with its cache in front of ours, in turns.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { BenchContext, Served } from "../bench-context.ts";
import { ask } from "../http.ts";
import { nginxInFront, nginxOverFiles } from "../nginx.ts";
import type { Kind } from "../request-kinds.ts";
import { kindsOf, loadRounds } from "../request-kinds.ts";
import type { Row } from "../rows.ts";
import { tools } from "../tools.ts";
import { requestsPerSecond } from "../wrk.ts";
import type { Measure } from "./measure.ts";
import { withWorkers } from "./workers.ts";

const serverNames = ["ours", "nginx", "keeping", "front"] as const;
type ServerName = (typeof serverNames)[number];

const shareInFront = 0.9;
/** What the example configuration of nginx in front has too: so the pairing that is even in this is shown beside it. */
const keepFilesOpen = "open_file_cache max=4096 inactive=60s;";

export const requests: Measure = {
  name: "requests",
  async measure(bench) {
    if (!bench.has(tools.wrk) || !bench.has(tools.nginx)) return [];
    const served = await bench.served(bench.scale.large);
    const kinds = await kindsOf(served);
    const files = bench.path("www");
    for (const { path } of kinds) await copyTo(files, path, served, bench);
    const servers = {
      ours: served.server.url,
      nginx: await nginxOverFiles(bench, files),
      keeping: await nginxOverFiles(bench, files, keepFilesOpen),
      front: await nginxInFront(bench, served.server.url),
    };
    const rows: Row[] = [];
    for (const kind of kinds) rows.push(...(await loaded(bench, kind, servers)));
    rows.push(...(await withWorkers(bench, served, kinds)));
    return rows;
  },
};

async function copyTo(files: string, path: string, { server }: Served, { signal }: BenchContext): Promise<void> {
  const { status, body } = await ask("GET", `${server.url}/${path}`, { signal });
  if (status !== 200) throw new Error(`${path} is answered with ${status}`);
  mkdirSync(dirname(join(files, path)), { recursive: true });
  writeFileSync(join(files, path), body);
}

async function loaded(
  { signal, scale, options }: BenchContext,
  { what, path, isConditional, share }: Kind,
  servers: Readonly<Record<ServerName, string>>,
): Promise<Row[]> {
  const rates: Record<ServerName, number[]> = { ours: [], nginx: [], keeping: [], front: [] };
  let bytes = 0;
  for (let round = 0; round < loadRounds; round++) {
    for (const name of serverNames) {
      options.progress(`${what}: ${name}, round ${round + 1} of ${loadRounds}`);
      const url = `${servers[name]}/${path}`;
      // Also brings it into every cache.
      const first = await ask("GET", url, { signal });
      bytes = first.body.length;
      const modified = first.headers["last-modified"] ?? "";
      const headers = isConditional ? { "If-Modified-Since": modified } : undefined;
      const { status } = await ask("GET", url, { signal, ...(headers && { headers }) });
      if (status !== (isConditional ? 304 : 200)) throw new Error(`${name} answers ${what} with ${status}`);
      rates[name].push(await requestsPerSecond({ url, headers: headers ?? {}, seconds: scale.loadSeconds }, signal));
    }
  }
  const against = { name: "nginx over files", samples: rates.nginx };
  const measure = `requests/s, ${what}${isConditional ? "" : ` (${Math.round(bytes / 1000)} kB)`}`;
  return [
    { measure, unit: "requests/s", ours: rates.ours, against, goal: { kind: "at-least-times", factor: share } },
    {
      measure: `${measure}, nginx in front`,
      unit: "requests/s",
      ours: rates.front,
      against,
      goal: { kind: "at-least-times", factor: shareInFront },
    },
    {
      measure: `${measure}, nginx in front`,
      unit: "requests/s",
      ours: rates.front,
      against: { name: "nginx over files that it keeps open", samples: rates.keeping },
    },
  ];
}
