// The service manager (systemd) that started this process: which sockets it passed, and messages to it about our state.
import { spawn } from "node:child_process";
import { Socket } from "node:net";
import type { Writable } from "node:stream";
import type { Log } from "../base/log.ts";

/** Passed sockets have file descriptors from here on. @see sd_listen_fds(3) */
const firstPassedSocket = 3;

/** Half of the time after which the service manager assumes that we hang. @see sd_watchdog_enabled(3) */
const heartbeatsPerTimeout = 2;

/**
 * Sends each line of its input as one message. Node.js has no Unix datagram sockets, and starting a program from a
 * process with a large heap takes long: this shell stays small. SIGTERM may be sent to all processes of a service.
 */
const notifier = `
trap '' HUP INT TERM
command -v systemd-notify >/dev/null || exit 127
while read -r message; do systemd-notify $message; done`;

type Environment = Record<string, string | undefined>;

/** The state of this process for the service manager. Without a service manager, nothing is sent. @see sd_notify(3) */
export class ServiceManager {
  /** File descriptors of sockets that listen already. Empty: the server opens its own. */
  readonly listeningSockets: readonly number[];
  readonly #watchdogMs: number | undefined;
  readonly #messages: Writable | undefined;
  #heartbeat: NodeJS.Timeout | undefined;

  /**
   * Reads and removes the variables in which a service manager says what it offers: they are not meant for programs
   * that this one starts.
   */
  static fromEnvironment(log: Log, environment: Environment = process.env, pid: number = process.pid): ServiceManager {
    const take = (name: string): string | undefined => {
      const value = environment[name];
      delete environment[name];
      return value;
    };
    const listeningSockets = passedSockets(take("LISTEN_PID"), take("LISTEN_FDS"), pid);
    take("LISTEN_FDNAMES");
    const watchdogMs = watchdogTimeoutMs(take("WATCHDOG_PID"), take("WATCHDOG_USEC"), pid);
    const socket = take("NOTIFY_SOCKET");
    const messages = socket === undefined ? undefined : startNotifier(socket, environment.PATH, log);
    return new ServiceManager({ listeningSockets, watchdogMs, messages });
  }

  private constructor(options: {
    readonly listeningSockets: readonly number[];
    readonly watchdogMs: number | undefined;
    readonly messages: Writable | undefined;
  }) {
    this.listeningSockets = options.listeningSockets;
    this.#watchdogMs = options.watchdogMs;
    this.#messages = options.messages;
  }

  /**
   * Requests are answered, with the configuration that was given last. From the first call on, the event loop sends
   * heartbeats: if it hangs, the service manager ends and restarts this process.
   */
  ready(): void {
    this.#send("READY=1");
    if (this.#watchdogMs === undefined || this.#heartbeat !== undefined) return;
    this.#heartbeat = setInterval(() => this.#send("WATCHDOG=1"), this.#watchdogMs / heartbeatsPerTimeout);
    this.#heartbeat.unref();
  }

  /** A changed configuration is being read. `ready` must follow, even if the change is rejected. */
  reloading(): void {
    // hrtime is CLOCK_MONOTONIC, as the service manager wants.
    this.#send(`RELOADING=1 MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
  }

  stopping(): void {
    clearInterval(this.#heartbeat);
    this.#send("STOPPING=1");
  }

  /** @param message assignments without blanks in their values, separated by blanks */
  #send(message: string): void {
    this.#messages?.write(`${message}\n`);
  }
}

function passedSockets(pidOf: string | undefined, count: string | undefined, pid: number): readonly number[] {
  // Sockets for another process, for example one that started this one.
  if (Number(pidOf) !== pid || !/^\d{1,3}$/.test(count ?? "")) return [];
  return Array.from({ length: Number(count) }, (_, index) => firstPassedSocket + index);
}

function watchdogTimeoutMs(pidOf: string | undefined, microseconds: string | undefined, pid: number) {
  if (pidOf !== undefined && Number(pidOf) !== pid) return undefined;
  const timeoutMs = Number(microseconds) / 1000;
  return timeoutMs > 0 ? timeoutMs : undefined;
}

/** @returns the input of the notifier: a message a line */
function startNotifier(socket: string, path: string | undefined, log: Log): Writable {
  const child = spawn("/bin/sh", ["-c", notifier], {
    stdio: ["pipe", "ignore", "inherit"],
    env: { NOTIFY_SOCKET: socket, ...(path !== undefined && { PATH: path }) },
  });
  const failed = (reason: string): void => log.error({ reason }, "cannot send messages to the service manager");
  child.once("error", ({ message }) => failed(message));
  child.once("exit", (code) => code !== 0 && failed(code === 127 ? "systemd-notify is missing" : "its helper ended"));
  // The exit has been reported.
  child.stdin.on("error", () => undefined);
  // Neither keeps this process running.
  child.unref();
  if (child.stdin instanceof Socket) child.stdin.unref();
  return child.stdin;
}
