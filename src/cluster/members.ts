// The members of a fleet: each tells every second that it is alive, and learns in the same step who else is, who holds
// which lease, and which publications are current.
import { z } from "zod";
import type { StateName } from "../base/names.ts";
import type { CurrentState, UnknownState } from "./current.ts";
import { parseOrdered } from "./current.ts";
import { parsedJson } from "./parsed-json.ts";
import { beatScript, keys, parted, releaseScript } from "./scripts.ts";
import type { Valkey } from "./valkey.ts";

/** How often a member tells that it is alive, in ms. */
export const beatMs = 1000;
/** How long a member counts as alive after that, in ms. Publications wait for it so long. */
export const aliveMs = 5000;
/** How long a lease lasts without being renewed, in ms. */
export const leaseMs = 5000;
/**
 * How long after the data of Valkey began no lease is taken and no package is read, in ms: all members tell first what
 * they have.
 */
export const settleMs = 3000;

const description = z.object({
  id: z.string(),
  /** The version of the program. */
  version: z.string(),
  /** Where it listens, for people. */
  address: z.string(),
  /** Milliseconds since the epoch. */
  startedMs: z.number(),
  /** Whether it can serve all current publications, so that further ones wait for it. */
  isServing: z.boolean(),
  /** The repositories whose trees it cannot read. */
  unreadable: z.array(z.string()).default([]),
  /** By the name of each repository: fingerprints of the settings that must be equal everywhere, by what they are. */
  settings: z.record(z.string(), z.record(z.string(), z.string())),
  /** By state name and suite: the id of the current publication. */
  current: z.record(z.string(), z.record(z.string(), z.string())),
});

/** What a member tells about itself. */
export type MemberDescription = z.infer<typeof description>;

export interface Member extends MemberDescription {
  /** When it told this, in ms by the clock of Valkey. */
  readonly toldMs: number;
}

/** Who may publish a repository. */
export interface Lease {
  /** The id of the member; undefined if there is none. */
  readonly holder: string | undefined;
  /** Increases each time the lease is taken. */
  readonly fence: string;
}

/** What a member learns when it tells that it is alive. */
export interface Heard {
  /** Milliseconds by the clock of Valkey. */
  readonly nowMs: number;
  /** By `performance.now()`, when the request was sent. */
  readonly askedMs: number;
  /** Since when Valkey has data: another value means that it has lost all. */
  readonly epoch: string;
  readonly members: readonly Member[];
  readonly leases: ReadonlyMap<string, Lease>;
  readonly current: ReadonlyMap<StateName, readonly (CurrentState | UnknownState)[]>;
}

const reply = z.tuple([
  z.string(),
  z.string(),
  z.array(z.string()),
  z.array(z.tuple([z.string(), z.string()])),
  z.array(z.array(z.string())),
]);

/** What a member tells. */
export interface Beat {
  readonly description: MemberDescription;
  /** The repositories, each with whether its lease is wanted. */
  readonly repositories: ReadonlyMap<string, boolean>;
  readonly states: readonly StateName[];
}

/** @throws ValkeyUnavailable */
export async function beat(valkey: Valkey, { description, repositories, states }: Beat): Promise<Heard> {
  const askedMs = performance.now();
  const wanted = [...repositories].flatMap(([name, isWanted]) => [name, isWanted ? "1" : "0"]);
  const { id, isServing } = description;
  const fixed = [valkey.prefix, id, JSON.stringify(description), isServing ? "1" : "0", aliveMs, leaseMs, settleMs];
  const raw = await valkey.run((redis) =>
    redis.eval(beatScript, 1, valkey.prefix + keys.epoch, ...fixed, repositories.size, ...wanted, ...states),
  );
  const [nowMs, epoch, members, leases, current] = reply.parse(raw);
  return {
    nowMs: Number(nowMs),
    askedMs,
    epoch,
    members: members.flatMap((text) => memberIn(text) ?? []),
    leases: new Map(
      [...repositories.keys()].map((name, index) => {
        const [holder = "", fence = "0"] = leases[index] ?? [];
        return [name, { holder: holder === "" ? undefined : holder, fence }];
      }),
    ),
    current: new Map(states.map((state, index) => [state, statesIn(current[index] ?? [])])),
  };
}

/** Gives leases back. @throws ValkeyUnavailable */
export async function release(valkey: Valkey, id: string, repositories: readonly string[]): Promise<void> {
  if (repositories.length === 0) return;
  const key = valkey.prefix + keys.epoch;
  await valkey.run((redis) => redis.eval(releaseScript, 1, key, valkey.prefix, id, ...repositories));
}

/** A member of a newer version may describe itself in another form: then nothing is known of it. */
function memberIn(text: string): Member | undefined {
  const [toldMs, json] = parted(text);
  const told = parsedJson(description, json);
  return told && { ...told, toldMs: Number(toldMs) };
}

/** @param pairs suite, "ORDER STATE", suite, … */
const statesIn = (pairs: readonly string[]): readonly (CurrentState | UnknownState)[] =>
  pairs.flatMap((suite, index) => (index % 2 === 0 ? (parseOrdered(suite, pairs[index + 1] ?? "") ?? []) : []));
