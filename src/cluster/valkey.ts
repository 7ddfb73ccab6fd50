// The connection to Valkey (or Redis): what ioredis needs to fail fast, and to come back by itself.

import { randomUUID } from "node:crypto";
import type { CommonRedisOptions, RedisCommander } from "ioredis";
import { Cluster, Redis } from "ioredis";
import { endsWithin } from "../base/ends-within.ts";
import { messageOf, RepoError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { withResolvers } from "../base/with-resolvers.ts";
import type { ValkeySettings } from "./valkey-settings.ts";
import { addressOf } from "./valkey-settings.ts";

/** Valkey does not answer, or answers with an error. */
export class ValkeyUnavailable extends RepoError {
  readonly code = "cluster/unavailable";
}

/** The commands of one server and of a Redis Cluster. */
export type Commands = RedisCommander;

/** How long a command may take. Valkey answers within milliseconds or not at all. */
const commandTimeoutMs = 2000;
const connectTimeoutMs = 2000;
/** How often the connections are tested. Those whose packets are dropped look alive otherwise. */
const testMs = 1000;
/** The connection for subscriptions is replaced after so long without the messages of the tests. */
const maxSilenceMs = 3 * testMs;
/** How long to wait between attempts to connect. */
const maxReconnectMs = 500;

/**
 * A connection for commands and one for subscriptions. Commands fail at once while there is no connection; both
 * connect again by themselves, for ever.
 */
export class Valkey {
  /** All keys and channels begin with this. The braces keep them in one slot of a Redis Cluster. */
  readonly prefix: string;
  readonly #commands: Redis | Cluster;
  readonly #subscriber: Redis | Cluster;
  readonly #log: Log;
  /** By channel. */
  readonly #listeners = new Map<string, (message: Buffer) => void>();
  readonly #readyListeners = new Set<() => void>();
  #isLogged = false;
  /** How many commands and connections have failed. */
  errors = 0;
  /** How often a connection for commands was made. */
  connections = 0;
  readonly #testing: NodeJS.Timeout;
  /** When a message of the tests was received, or the connection was made. */
  #heardMs = 0;

  constructor(settings: ValkeySettings, log: Log) {
    this.prefix = `{tahoe-apt:${settings.name}}:`;
    this.#log = log;
    this.#commands = open(settings, {});
    this.#subscriber = open(settings, { autoResubscribe: true });
    for (const connection of [this.#commands, this.#subscriber])
      connection.on("error", (thrown: unknown) => this.#noteError(thrown));
    this.#commands.on("ready", () => {
      this.connections += 1;
      this.#noteReady();
      for (const listener of this.#readyListeners) listener();
    });
    this.#subscriber.on("messageBuffer", (channel: Buffer, message: Buffer) =>
      this.#listeners.get(channel.toString())?.(message),
    );
    this.#subscriber.on("ready", () => {
      this.#heardMs = performance.now();
      // ioredis resubscribes what was subscribed once; a first attempt without a connection is repeated here.
      for (const name of this.#listeners.keys()) void this.#subscribed(name);
    });
    const channel = `test:${randomUUID()}`;
    void this.subscribe(channel, () => {
      this.#heardMs = performance.now();
    });
    this.#testing = setInterval(() => void this.#test(this.prefix + channel), testMs).unref();
  }

  /** Whether commands can be sent now. */
  get isConnected(): boolean {
    return this.#commands.status === "ready";
  }

  /** The connection, for libraries that send commands themselves. */
  get connection(): Redis | Cluster {
    return this.#commands;
  }

  /** Runs some commands. @throws ValkeyUnavailable instead of the library's errors */
  async run<Value>(commands: (redis: Commands) => Promise<Value>): Promise<Value> {
    try {
      return await commands(this.#commands as unknown as Commands);
    } catch (thrown) {
      this.errors += 1;
      throw new ValkeyUnavailable(`Valkey does not answer: ${messageOf(thrown)}`);
    }
  }

  /**
   * Calls a function at each connection, also at the present one. Its errors are its own affair.
   * @returns a function after which it is not called any more
   */
  onReady(listener: () => void): () => void {
    this.#readyListeners.add(listener);
    if (this.isConnected) listener();
    return () => void this.#readyListeners.delete(listener);
  }

  /** @returns whether there is a connection, now or within a time */
  async isConnectedWithin(ms: number): Promise<boolean> {
    const { promise: connected, resolve } = withResolvers<void>();
    const removeListener = this.onReady(resolve);
    try {
      return await endsWithin(connected, ms);
    } finally {
      removeListener();
    }
  }

  /** Receives the messages of a channel, also after the connection was lost and made again; those meanwhile are lost. */
  async subscribe(channel: string, listener: (message: Buffer) => void): Promise<void> {
    const name = this.prefix + channel;
    this.#listeners.set(name, listener);
    if (this.#subscriber.status === "ready") await this.#subscribed(name);
  }

  async #subscribed(name: string): Promise<void> {
    await this.#subscriber.subscribe(name).catch(() => undefined);
  }

  close(): void {
    clearInterval(this.#testing);
    this.#commands.disconnect();
    this.#subscriber.disconnect();
  }

  /** Replaces connections that do not answer. @param channel has a message for each test */
  async #test(channel: string): Promise<void> {
    const [commands, subscriber] = [this.#commands, this.#subscriber];
    if (commands.status !== "ready") return;
    try {
      await commands.publish(channel, "");
    } catch (thrown) {
      if (commands.status !== "ready") return;
      this.#noteError(thrown);
      commands.disconnect(true);
    }
    if (subscriber.status === "ready" && performance.now() - this.#heardMs > maxSilenceMs) subscriber.disconnect(true);
  }

  /** An outage is logged once. */
  #noteError(thrown: unknown): void {
    this.errors += 1;
    if (this.#isLogged) return;
    this.#isLogged = true;
    this.#log.error({ error: messageOf(thrown) }, "Valkey is away");
  }

  #noteReady(): void {
    if (this.#isLogged) this.#log.info({}, "Valkey is back");
    this.#isLogged = false;
  }
}

function open(
  { urls, mode, sentinelMaster, password: secret, ca }: ValkeySettings,
  further: Pick<CommonRedisOptions, "autoResubscribe">,
): Redis | Cluster {
  const password = secret?.reveal();
  const isTls = urls.some((url) => url.startsWith("rediss:") || url.startsWith("valkeys:"));
  const options = {
    ...further,
    ...(password !== undefined && { password }),
    ...(isTls && { tls: ca === undefined ? {} : { ca } }),
    commandTimeout: commandTimeoutMs,
    connectTimeout: connectTimeoutMs,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (attempts: number) => Math.min(attempts * 50, maxReconnectMs),
  };
  const hosts = urls.map(addressOf);
  const [first] = hosts;
  if (mode === "cluster")
    return new Cluster(
      hosts.map(({ host, port }) => ({ host, port })),
      { redisOptions: options, enableOfflineQueue: false, clusterRetryStrategy: options.retryStrategy },
    );
  if (mode === "sentinel") {
    const sentinels = hosts.map(({ host, port }) => ({ host, port }));
    return new Redis({
      ...options,
      sentinels,
      name: sentinelMaster,
      sentinelRetryStrategy: options.retryStrategy,
      ...(isTls && { enableTLSForSentinelMode: true, sentinelTLS: options.tls }),
      ...(password !== undefined && { sentinelPassword: password }),
    });
  }
  return new Redis({ ...options, ...first });
}
