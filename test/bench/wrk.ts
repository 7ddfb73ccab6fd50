// Load from wrk: 64 connections that ask for one URL as fast as it is answered.
import { run } from "./commands.ts";

export interface Load {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly seconds: number;
}

/** What docker/nginx.conf knows apt by. */
const aptsAgent = "Debian APT-HTTP/1.3 (2.6.1)";

/** @returns requests a second; throws if a single one went wrong */
export async function requestsPerSecond({ url, headers, seconds }: Load, signal: AbortSignal): Promise<number> {
  const fields = Object.entries({ "User-Agent": aptsAgent, ...headers }).flatMap(([name, value]) => [
    "-H",
    `${name}: ${value}`,
  ]);
  const args = ["-t1", "-c64", `-d${seconds}s`, "--timeout", "20s", ...fields, url];
  return rateOf((await run("wrk", args, { signal })).stdout.toString());
}

/**
 * Runs a task while clients send the requests of a script.
 * @param options.script a file in Lua @throws if none of their requests was answered
 */
export async function loadBeside<Result>(
  options: { readonly url: string; readonly connections: number; readonly script: string; readonly seconds: number },
  task: () => Promise<Result>,
  signal: AbortSignal,
): Promise<Result> {
  const { url, connections, script, seconds } = options;
  const args = ["-t1", `-c${connections}`, `-d${seconds}s`, "--timeout", "20s", "-s", script, url];
  const [result, { stdout }] = await Promise.all([task(), run("wrk", args, { signal })]);
  if (rateOf(stdout.toString()) === 0) throw new Error("no request of the script was answered");
  return result;
}

/** Reads what wrk prints. */
export function rateOf(report: string): number {
  const rate = /^Requests\/sec:\s+([\d.]+)$/m.exec(report)?.[1];
  const wrong = /Socket errors: .*|Non-2xx or 3xx responses: .*/.exec(report)?.[0];
  if (rate === undefined || wrong !== undefined) throw new Error(`wrk says: ${wrong ?? report}`);
  return Number(rate);
}
