// What a service manager says in the environment, and the messages to it. Here a script stands for systemd-notify and
// records its arguments; test/system/systemd.test.ts has the real systemd.
import { chmodSync, mkdtempSync, readFileSync, rmSync, watch, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { silentLog } from "../../src/base/log.ts";
import { ServiceManager } from "../../src/server/service-manager.ts";

const ownPid = 4711;
const shellPath = "/usr/bin:/bin";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tahoe-apt-notify-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** An environment whose systemd-notify appends its arguments to a file. */
function recording(): { readonly environment: Record<string, string>; readonly lines: () => readonly string[] } {
  const file = join(directory, "messages");
  writeFileSync(file, "");
  writeFileSync(join(directory, "systemd-notify"), `#!/bin/sh\necho "$NOTIFY_SOCKET $*" >> ${file}\n`);
  chmodSync(join(directory, "systemd-notify"), 0o755);
  return {
    environment: { PATH: `${directory}:${shellPath}`, NOTIFY_SOCKET: "/run/notify" },
    lines: () => readFileSync(file, "utf8").trim().split("\n"),
  };
}

/** Resolves when the file of messages satisfies a condition. */
async function until(holds: () => boolean): Promise<void> {
  const watcher = watch(directory);
  try {
    while (!holds()) await new Promise((resolve) => watcher.once("change", resolve));
  } finally {
    watcher.close();
  }
}

test("all sockets that the service manager passes to this process are taken, and the variables are removed", () => {
  const environment = { LISTEN_PID: "4711", LISTEN_FDS: "2", LISTEN_FDNAMES: "http:http", HOME: "/root" };
  expect(ServiceManager.fromEnvironment(silentLog, environment, ownPid).listeningSockets).toEqual([3, 4]);
  expect(environment).toEqual({ HOME: "/root" });
});

test.each([
  ["sockets that were passed to another process", { LISTEN_PID: "4710", LISTEN_FDS: "2" }],
  ["a number of sockets for nobody", { LISTEN_FDS: "2" }],
  ["a number of sockets that is none", { LISTEN_PID: "4711", LISTEN_FDS: "two" }],
  ["more sockets than any process has", { LISTEN_PID: "4711", LISTEN_FDS: "1000000000" }],
  ["no variables", {}],
])("%s give no sockets", (_what, environment) => {
  expect(ServiceManager.fromEnvironment(silentLog, { ...environment }, ownPid).listeningSockets).toEqual([]);
});

test("messages arrive in order, a heartbeat too, but not before the server is ready", async () => {
  const { environment, lines } = recording();
  const manager = ServiceManager.fromEnvironment(
    silentLog,
    { ...environment, WATCHDOG_USEC: "100000", WATCHDOG_PID: "4711" },
    ownPid,
  );
  manager.ready();
  await until(() => lines().length >= 2);
  expect(lines().slice(0, 2)).toEqual(["/run/notify READY=1", "/run/notify WATCHDOG=1"]);
  manager.reloading();
  manager.ready();
  manager.stopping();
  await until(() => lines().some((line) => line.endsWith("STOPPING=1")));
  const others = lines().filter((line) => !line.endsWith("WATCHDOG=1"));
  expect(others.map((line) => line.replace(/\d+$/, "N"))).toEqual([
    "/run/notify READY=N",
    "/run/notify RELOADING=1 MONOTONIC_USEC=N",
    "/run/notify READY=N",
    "/run/notify STOPPING=N",
  ]);
});

test("no heartbeat is sent if the watchdog is for another process", async () => {
  const { environment, lines } = recording();
  const manager = ServiceManager.fromEnvironment(
    silentLog,
    { ...environment, WATCHDOG_USEC: "2000", WATCHDOG_PID: "4710" },
    ownPid,
  );
  manager.ready();
  manager.stopping();
  await until(() => lines().some((line) => line.endsWith("STOPPING=1")));
  expect(lines()).toEqual(["/run/notify READY=1", "/run/notify STOPPING=1"]);
});

test("if systemd-notify is missing, the log says so", async () => {
  const error = vi.fn<(context: object, message: string) => void>();
  ServiceManager.fromEnvironment({ ...silentLog, error }, { PATH: directory, NOTIFY_SOCKET: "/run/notify" });
  await vi.waitFor(() => expect(error).toHaveBeenCalled(), { timeout: 10_000 });
  expect(error).toHaveBeenCalledWith(
    { reason: "systemd-notify is missing" },
    "cannot send messages to the service manager",
  );
});
