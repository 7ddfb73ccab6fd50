// The health of a repository in one line.
import type { RepositoryHealth } from "../data/repository-data.ts";
import { count, duration } from "../html/formats.ts";

export interface HealthSummary {
  readonly level: "good" | "warn" | "bad";
  readonly text: string;
}

/** A key that expires sooner is worth a warning. */
const expirySoonSeconds = 30 * 86_400;

/** @returns the worst of what is known */
export function summaryOfHealth(health: RepositoryHealth, nowSeconds: number): HealthSummary {
  const { notReady, lastError, grid, suites, keys } = health;
  if (notReady !== undefined) return { level: "bad", text: "Not ready" };
  const expired = suites.filter(({ validUntilSeconds = Number.POSITIVE_INFINITY }) => validUntilSeconds < nowSeconds);
  if (expired.length > 0) return { level: "bad", text: `Expired: ${expired.map(({ suite }) => suite).join(", ")}` };
  const lost = grid?.lastCheck?.lost ?? 0;
  if (lost > 0) return { level: "bad", text: `${count(lost, "object")} of the grid cannot be read` };
  if (lastError !== undefined) return { level: "warn", text: "The last refresh failed; the previous state is served" };
  const reachable = grid?.gateways.filter(({ isReachable }) => isReachable).length ?? 1;
  if (reachable === 0) return { level: "warn", text: "No gateway to the grid responds; cached files are served" };
  const soonest = Math.min(...keys.map(({ expiresSeconds = Number.POSITIVE_INFINITY }) => expiresSeconds)) - nowSeconds;
  if (soonest < 0) return { level: "bad", text: "A signing key has expired" };
  if (soonest < expirySoonSeconds) return { level: "warn", text: `A signing key expires in ${duration(soonest)}` };
  const unhealthy = grid?.lastCheck?.unhealthy ?? 0;
  if (unhealthy > 0) return { level: "warn", text: `${count(unhealthy, "object")} of the grid lack shares` };
  return { level: "good", text: "All is well" };
}
