// The state of a fleet, for operators and metrics.
import type { Heard, Member } from "./members.ts";

export interface FleetStatus {
  /** The id of the replica that says this. */
  readonly self: string;
  readonly valkey: {
    readonly isConnected: boolean;
    /** Since its last answer; undefined: it has never answered. */
    readonly silentSeconds?: number;
  };
  /** What this replica knew when Valkey answered last. */
  readonly replicas: readonly ReplicaStatus[];
  readonly repositories: readonly RepositoryStatus[];
  /** What is wrong, for people. */
  readonly problems: readonly string[];
}

interface ReplicaStatus {
  readonly id: string;
  readonly version: string;
  /** Where it listens. */
  readonly address: string;
  readonly startedSeconds: number;
  /** Whether publications wait for it. */
  readonly isServing: boolean;
  /** How long the fleet has had a publication that this replica does not serve; 0 if there is none. */
  readonly lagSeconds: number;
  /** By state name and suite: the id of the current publication. */
  readonly current: Member["current"];
}

interface RepositoryStatus {
  readonly name: string;
  /** The id of the replica that publishes it. */
  readonly publisher?: string;
  readonly leaseChanges: number;
}

/** A replica that is behind for so long has a problem. */
const maxLagSeconds = 10;

/**
 * How long the fleet has had a publication that a replica does not serve.
 * @param currentOf the id of the current publication of that replica
 */
export function lagSecondsOf(
  { nowMs, current }: Pick<Heard, "nowMs" | "current">,
  currentOf: (stateName: string, suite: string) => string | undefined,
): number {
  let lag = 0;
  for (const [stateName, states] of current) {
    for (const state of states) {
      if (state.kind !== "publication") continue;
      // A replica that is ahead has published what Valkey does not know yet.
      if ((currentOf(stateName, state.suite) ?? "") < state.id) lag = Math.max(lag, (nowMs - state.servedMs) / 1000);
    }
  }
  return Math.max(0, lag);
}

/** @param heard the last answer of Valkey; undefined: there was none */
export function fleetStatus(
  heard: Heard | undefined,
  {
    self,
    isConnected,
    notReady,
    repositories,
  }: Pick<FleetStatus, "self" | "repositories"> & {
    readonly isConnected: boolean;
    readonly notReady: string | undefined;
  },
): FleetStatus {
  const silentSeconds = heard === undefined ? undefined : (performance.now() - heard.askedMs) / 1000;
  const replicas = (heard?.members ?? []).map((member) => ({
    id: member.id,
    version: member.version,
    address: member.address,
    startedSeconds: Math.floor(member.startedMs / 1000),
    isServing: member.isServing,
    lagSeconds: heard === undefined ? 0 : lagSecondsOf(heard, (state, suite) => member.current[state]?.[suite]),
    current: member.current,
  }));
  const name = ({ id, address }: { readonly id: string; readonly address: string }): string =>
    id === self ? "this replica" : `the replica at ${address} (${id})`;
  const problems = [
    ...(notReady === undefined ? [] : [`this replica is not ready: ${notReady}`]),
    ...repositories.flatMap((each) => (each.publisher === undefined ? [`no replica publishes ${each.name}`] : [])),
    ...replicas.flatMap((each) =>
      each.isServing || each.id === self ? [] : [`${name(each)} does not serve all publications yet`],
    ),
    ...replicas.flatMap((each) =>
      each.lagSeconds <= maxLagSeconds ? [] : [`${name(each)} is ${Math.round(each.lagSeconds)} s behind`],
    ),
    ...differingSettings(heard?.members ?? []),
  ];
  return {
    self,
    valkey: { isConnected, ...(silentSeconds !== undefined && { silentSeconds }) },
    replicas,
    repositories,
    problems,
  };
}

/** Settings that must be equal on all replicas and are not. */
function differingSettings(members: readonly Member[]): readonly string[] {
  const values = new Map<string, Set<string>>();
  for (const { settings } of members)
    for (const [repository, each] of Object.entries(settings))
      for (const [what, value] of Object.entries(each)) {
        const known = values.get(`${repository}: ${what}`) ?? new Set();
        values.set(`${repository}: ${what}`, known.add(value));
      }
  return [...values].flatMap(([what, different]) =>
    different.size > 1 ? [`the replicas have different settings of ${what}`] : [],
  );
}
