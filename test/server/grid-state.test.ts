// What pages know of a grid: the last outcome of each gateway, and the last check of all objects.
import { expect, test } from "vitest";
import { GridState } from "../../src/server/grid-state.ts";

const silent = { looked() {}, read() {}, failed() {} };
const silentHealth = { checked() {}, ended() {}, failed() {} };

test("a gateway counts as reachable until a request fails, and again after one that succeeds", () => {
  const state = new GridState();
  const [first, second] = [state.nextGateway(silent), state.nextGateway(silent)];
  const reachable = () => state.health().gateways.map(({ isReachable }) => isReachable);
  expect(reachable()).toEqual([true, true]);
  first.failed("look", "storage/unavailable");
  second.looked(0.1);
  expect(reachable()).toEqual([false, true]);
  // A read that failed at once is reported too, without a byte.
  first.read(0.1, 0);
  expect(reachable()).toEqual([false, true]);
  first.read(0.1, 10);
  expect(reachable()).toEqual([true, true]);
  first.failed("read", "storage/gone");
  expect(reachable()).toEqual([true, true]);
});

test("the last check is known once a round has ended", () => {
  const state = new GridState();
  expect(state.health().lastCheck).toBeUndefined();
  const counts = { healthy: 5, unhealthy: 1, lost: 0, unchecked: 2, repaired: 0, renewed: 6 };
  state.checks(silentHealth).ended(counts, 1_700_000_000);
  expect(state.health().lastCheck).toEqual({
    endedSeconds: 1_700_000_000,
    healthy: 5,
    unhealthy: 1,
    lost: 0,
    unchecked: 2,
  });
});
