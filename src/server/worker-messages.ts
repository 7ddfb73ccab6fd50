// What a server and the processes that serve HTTP for it tell each other.
import type { RepositoryName, Suite, TreePath } from "../base/names.ts";
import type { HttpLimits } from "../http/app.ts";
import type { SharedSession } from "../http/mirror-sessions.ts";
import type { Address } from "../http/server.ts";
import type { CountedMetrics } from "../observe/worker-metrics.ts";
import type { LogSettings } from "./server-log.ts";

/** All that a process needs to serve HTTP. There are no caps, keys, tokens or passwords in it. */
export interface WorkerSettings {
  readonly stateDirectory: string;
  readonly log: LogSettings;
  readonly accessLog: boolean;
  readonly behindProxy: boolean;
  /** The limits of this process: its part of those of the server. */
  readonly limits: HttpLimits;
  /** The public repositories. */
  readonly repositories: readonly {
    readonly name: RepositoryName;
    /** The directories of flat repositories. */
    readonly flat: readonly TreePath[];
    readonly nestedSuites: readonly Suite[];
    readonly prebuiltSuites: readonly Suite[];
  }[];
}

/** Where to listen. */
export interface WorkerListening {
  readonly listen: Address;
  /** File descriptors of the server. */
  readonly listeningSockets: readonly number[];
  readonly minIdleMs: number;
}

/** The sessions of clients, in the order of the keys in the question; null for those that are unknown. */
type Sessions = readonly (SharedSession | null)[];

/** The session that began later, the first one if none did. All processes have the same clock. */
export function newerOf(
  one: SharedSession | null | undefined,
  other: SharedSession | null | undefined,
): SharedSession | null {
  if (!one || !other) return one ?? other ?? null;
  return other.beganMs > one.beganMs ? other : one;
}

export type MessageToWorker =
  | { readonly kind: "start"; readonly settings: WorkerSettings; readonly listening: WorkerListening }
  | { readonly kind: "configure"; readonly settings: WorkerSettings }
  | { readonly kind: "ask-sessions"; readonly id: number; readonly keys: readonly string[] }
  | { readonly kind: "sessions"; readonly id: number; readonly sessions: Sessions }
  | { readonly kind: "stop"; readonly graceMs: number };

/** What has happened in a process since it last told it. */
export interface WorkerReport {
  /** Since its start; likewise its CPU time. */
  readonly counted: CountedMetrics;
  readonly cpuSeconds: number;
  /** How many requests it has answered, by repository and class. */
  readonly answered: readonly (readonly [repository: string, requestClass: string, requests: number])[];
  /** The files of the package cache that it has read. */
  readonly cacheReads: readonly string[];
}

export type MessageFromWorker =
  /** It receives messages from now on: earlier ones are lost. */
  | { readonly kind: "ready" }
  | { readonly kind: "listening"; readonly addresses: readonly Address[] }
  | { readonly kind: "failed"; readonly reason: string }
  | { readonly kind: "configured" }
  | { readonly kind: "ask-sessions"; readonly id: number; readonly keys: readonly string[] }
  | { readonly kind: "sessions"; readonly id: number; readonly sessions: Sessions }
  /** Sent every second: its absence shows that the process hangs. */
  | { readonly kind: "report"; readonly report: WorkerReport }
  | { readonly kind: "damaged-cache-file"; readonly file: string }
  | { readonly kind: "damaged-database" };

/** How often a process reports, in ms. */
export const reportMs = 1000;

/** The name of the Unix socket in the state directory on which the server answers what the processes pass on. */
export const forwardingSocketName = "workers";
