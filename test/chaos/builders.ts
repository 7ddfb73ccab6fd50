// Builders who upload, link, unlink and ping all the time, and remember what the server has acknowledged.
import fetch from "node-fetch";
import { parseTreePath } from "../../src/base/names.ts";
import type { WriteCap } from "../../src/storage/tahoe/caps.ts";
import type { WebapiWriter } from "../../src/storage/tahoe/webapi-writer.ts";
import { aDeb } from "../support/debs.ts";
import type { Findings } from "./findings.ts";
import { pause } from "./findings.ts";
import type { Chance } from "./random.ts";

/** The packages about which the server has given its word. */
export class Acknowledged {
  /** Must be in every index from now on. */
  readonly present = new Set<string>();
  /** Must not be in any index from now on. */
  readonly absent = new Set<string>();
  /** In the tree, but after the loss of the server's database it may not have seen them again. */
  readonly #unsure = new Set<string>();

  /** The server has lost its publications, and with them its word. */
  doubt(): void {
    for (const name of this.present) this.#unsure.add(name);
    this.present.clear();
  }

  /** The server has seen the whole tree again. */
  confirm(): void {
    for (const name of this.#unsure) this.present.add(name);
    this.#unsure.clear();
  }

  /** Nothing is promised about a package while it is being removed. */
  forget(name: string): void {
    this.present.delete(name);
    this.#unsure.delete(name);
  }
}

/** Where builders write. */
export interface WritableGrid {
  /** Runs a write when it can succeed. */
  write<T>(task: (signal: AbortSignal) => Promise<T>): Promise<T>;
}

export interface BuilderOptions {
  readonly name: string;
  readonly grid: WritableGrid;
  readonly writer: WebapiWriter;
  readonly directory: WriteCap;
  /** Returns the address of a server for a ping. */
  readonly serverUrl: () => string;
  readonly token: string;
  readonly acknowledged: Acknowledged;
  /** The caps of files that the server has inspected, for sure. */
  readonly inspected: Set<string>;
  readonly findings: Findings;
  readonly chance: Chance;
  /** How long a builder waits after each upload. */
  readonly idleMs?: readonly [least: number, most: number] | undefined;
  readonly signal: AbortSignal;
}

/** How long a builder waits for the gateway, or for the response to a ping. */
const patienceMs = 15_000;
const usualIdleMs = [50, 400] as const;
/** Beyond this number of packages, builders remove as many as they add. */
const enoughPackages = 60;

const pathOf = (builder: string): string => `dists/sid/main/binary-amd64/${builder}`;
const fileOf = (name: string): string => `${name}_1_amd64.deb`;

/** Uploads and removes packages until the signal aborts. */
export async function build(options: BuilderOptions): Promise<void> {
  const { name, chance, findings, acknowledged, signal } = options;
  const own = new Map<string, string>();
  for (let number = 0; !signal.aborted; number += 1) {
    const [oldest] = own;
    try {
      if (oldest !== undefined && own.size > enoughPackages / 3 && chance.isLikely(0.5)) {
        const [victim] = oldest;
        own.delete(victim);
        acknowledged.forget(victim);
        if ((await remove(options, victim)) && (await ping(options, fileOf(victim)))) {
          acknowledged.absent.add(victim);
          findings.count("acknowledged removals");
        }
      } else {
        const added = `chaos-${name}-${number}`;
        const cap = await upload(options, added);
        own.set(added, cap);
        if (await ping(options, fileOf(added))) {
          acknowledged.present.add(added);
          options.inspected.add(cap);
          findings.count("acknowledged uploads");
        }
      }
    } catch {
      findings.count("failed uploads");
    }
    await pause(chance.between(...(options.idleMs ?? usualIdleMs)), signal);
  }
}

/** Uploads a package and links it while all storage nodes run. @returns its cap */
async function upload({ grid, writer, directory, chance, findings }: BuilderOptions, name: string): Promise<string> {
  const fields = { Description: "x".repeat(chance.below(2000)) };
  const bytes = await aDeb({ package: name, version: "1", architecture: "amd64", fields });
  return await grid.write(async (signal) => {
    const content = await writer.upload(bytes, signal);
    findings.count("begun uploads");
    await writer.link(directory, new Map([[fileOf(name), { content, metadata: {} }]]), signal);
    return content.reveal();
  });
}

async function remove({ grid, writer, directory }: BuilderOptions, name: string): Promise<boolean> {
  await grid.write((signal) => writer.unlink(directory, parseTreePath(fileOf(name)), signal));
  return true;
}

/** @returns whether the server says that a change of a file is in its index */
async function ping({ name, serverUrl, token, findings }: BuilderOptions, file: string): Promise<boolean> {
  const url = `${serverUrl()}/-/ping/debian/${pathOf(name)}?wait=10`;
  const headers = { authorization: `Bearer ${token}` };
  findings.count("pings");
  try {
    const reply = await fetch(url, { method: "POST", headers, signal: AbortSignal.timeout(patienceMs) });
    if (reply.status === 500)
      findings.violated("no internal errors", `a ping is answered with 500: ${await reply.text()}`);
    if (reply.status !== 200) return false;
    const { status, rejected } = (await reply.json()) as { status: string; rejected: readonly { path: string }[] };
    return status === "servable" && !rejected.some(({ path }) => path.endsWith(`/${file}`));
  } catch {
    return false;
  }
}
