// Three replicas of the real server with one tree, one key and one Valkey, behind HAProxy with the configuration of the
// guide; and everything bad that can happen to them.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { aCertificate } from "./certificates.ts";
import type { FileRead } from "./cuttable-links.ts";
import { CuttableLinks } from "./cuttable-links.ts";
import { blockOf } from "./documents.ts";
import { ReverseProxy } from "./proxies.ts";
import { freePort, ServerUnderTest } from "./server.ts";
import { aQuickKey } from "./signing-key.ts";
import { ValkeyUnderTest } from "./valkey.ts";
import type { SentinelUnderTest } from "./valkey-sentinel.ts";

export interface FleetOptions {
  /** A directory for everything; it is made. */
  readonly work: string;
  /** The gateway and the read cap of the tree. */
  readonly tree: { readonly webapiUrl: string; readonly readCap: string };
  readonly token: string;
  /** Additional lines at the start of the configuration. */
  readonly settings?: string;
  /** Additional tables at its end, for example limits. */
  readonly tables?: string;
  /** The names of the replicas. Three, unless the fleet is without HAProxy. */
  readonly names?: readonly string[];
  /** The directory of another version of the project, which is built: all replicas but the second run it. */
  readonly otherCheckout?: string | undefined;
  /** Where the replicas find Valkey. By default the fleet has a Valkey of its own, from which each can be cut. */
  readonly sentinel?: SentinelUnderTest;
}

/** The two links of each replica that can be cut. */
type Link = "valkey" | "grid";

export class Replica {
  readonly name: string;
  readonly port: number;
  readonly url: string;
  /** The file with its configuration. */
  readonly config: string;
  /** The version that the next start runs; undefined: this one. */
  checkout: string | undefined;
  /** What it wrote to its log in earlier lives. */
  #past = "";
  #server: ServerUnderTest | undefined;
  #isPaused = false;
  readonly #links: (link: Link, isCut: boolean) => Promise<void>;

  constructor(options: {
    readonly name: string;
    readonly port: number;
    readonly config: string;
    readonly checkout: string | undefined;
    readonly links: (link: Link, isCut: boolean) => Promise<void>;
  }) {
    this.name = options.name;
    this.port = options.port;
    this.url = `http://127.0.0.1:${options.port}`;
    this.config = options.config;
    this.checkout = options.checkout;
    this.#links = options.links;
  }

  /** Whether it runs and is not paused. */
  get isRunning(): boolean {
    return this.#server !== undefined && !this.#isPaused;
  }

  get output(): string {
    return this.#past + (this.#server?.output ?? "");
  }

  /** Resolves when it responds; `ready` waits until clients are sent to it. */
  async start(): Promise<void> {
    const { config, port, checkout } = this;
    this.#server = await ServerUnderTest.start({ flags: ["--config", config], port, checkout });
  }

  async ready(): Promise<void> {
    await this.#server?.ready();
  }

  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** As an operator does. @returns its exit code */
  async stop(): Promise<number | string | null> {
    return await this.#end("SIGTERM");
  }

  pause(): void {
    if (this.#server === undefined) throw new Error(`${this.name} does not run`);
    process.kill(this.#server.pid, "SIGSTOP");
    this.#isPaused = true;
  }

  resume(): void {
    if (this.#server === undefined || !this.#isPaused) return;
    process.kill(this.#server.pid, "SIGCONT");
    this.#isPaused = false;
  }

  /** Drops all packets between it and Valkey, or its gateway. */
  async cutFrom(link: Link): Promise<void> {
    await this.#links(link, true);
  }

  async mend(link: Link): Promise<void> {
    await this.#links(link, false);
  }

  async #end(signal: "SIGTERM" | "SIGKILL"): Promise<number | string | null> {
    const server = this.#server;
    if (server === undefined) return null;
    const ended = server.end(signal);
    if (signal === "SIGTERM") this.resume();
    const code = await ended;
    this.#past += server.output;
    this.#server = undefined;
    this.#isPaused = false;
    return code;
  }
}

/** A request of a replica for a file of the grid that was answered. */
interface ReadByReplica extends Omit<FileRead, "link"> {
  readonly replica: Replica;
}

export class Fleet {
  readonly replicas: readonly Replica[];
  /** Undefined for one replica. */
  readonly proxy: ReverseProxy | undefined;
  /** The certificate of HAProxy's authority. */
  readonly ca: Buffer;
  readonly caFile: string;
  readonly #valkey: ValkeyUnderTest | undefined;
  readonly #links: CuttableLinks;

  private constructor(parts: {
    readonly replicas: readonly Replica[];
    readonly proxy: ReverseProxy | undefined;
    readonly caFile: string;
    readonly valkey: ValkeyUnderTest | undefined;
    readonly links: CuttableLinks;
  }) {
    this.replicas = parts.replicas;
    this.proxy = parts.proxy;
    this.caFile = parts.caFile;
    this.ca = readFileSync(parts.caFile);
    this.#valkey = parts.valkey;
    this.#links = parts.links;
  }

  /** Resolves when all replicas are ready and HAProxy answers. */
  static async start(options: FleetOptions): Promise<Fleet> {
    const { work, tree, sentinel, otherCheckout, names = ["one", "two", "three"] } = options;
    mkdirSync(work, { recursive: true });
    await writeSecrets(options);
    const valkey = sentinel === undefined ? await ValkeyUnderTest.start() : undefined;
    const gatewayPort = Number(new URL(tree.webapiUrl).port);
    const links = await CuttableLinks.start(names.flatMap(() => [valkey?.port ?? 0, gatewayPort]));
    const replicas: Replica[] = [];
    for (const [index, name] of names.entries()) {
      const [valkeyLink = 0, gridLink = 0] = links.ports.slice(2 * index);
      const config = join(work, `${name}.toml`);
      writeFileSync(
        config,
        configuration(options, {
          valkeyUrl: sentinel?.url ?? `redis://127.0.0.1:${valkeyLink}`,
          name,
          isSentinel: sentinel !== undefined,
          webapiUrl: `http://127.0.0.1:${gridLink}`,
        }),
      );
      const change = async (link: Link, isCut: boolean): Promise<void> => {
        const at = 2 * index + (link === "valkey" ? 0 : 1);
        await (isCut ? links.cut(at) : links.mend(at));
      };
      const checkout = index === 1 ? undefined : otherCheckout;
      replicas.push(new Replica({ name, port: await freePort(), config, checkout, links: change }));
    }
    await Promise.all(replicas.map((replica) => replica.start()));
    await Promise.all(replicas.map((replica) => replica.ready()));
    const certificate = aCertificate(work);
    const replicaPorts = replicas.map(({ port }) => port);
    const proxying = { upstreamPort: 0, replicaPorts, certificate, directory: join(work, "haproxy") };
    const proxy = replicas.length === 3 ? await ReverseProxy.start("HAProxy before replicas", proxying) : undefined;
    return new Fleet({ replicas, proxy, caFile: certificate.caFile, valkey, links });
  }

  /** The address of HAProxy. */
  get url(): string {
    if (this.proxy === undefined) throw new Error("this fleet has no HAProxy");
    return this.proxy.url;
  }

  get valkey(): ValkeyUnderTest {
    if (this.#valkey === undefined) throw new Error("this fleet has a Sentinel");
    return this.#valkey;
  }

  /** All requests for files of the grid that were answered, in order. */
  get reads(): readonly ReadByReplica[] {
    return this.#links.reads.flatMap(({ link, cap, atMs }) => {
      const replica = this.replicas[Math.floor(link / 2)];
      return replica === undefined ? [] : [{ replica, cap, atMs }];
    });
  }

  /** How many files a replica has reserved for reading. Exact while it is paused. */
  async reservedBy({ port }: Replica): Promise<number> {
    const redis = new Redis(this.valkey.port, "127.0.0.1");
    try {
      const members = await valuesOf(redis, "*:member:*");
      const ids = members.flatMap((text) => {
        const { id, address } = JSON.parse(text.slice(text.indexOf(" "))) as { id: string; address: string };
        return address.endsWith(`:${port}`) ? [id] : [];
      });
      const readers = await valuesOf(redis, "*:reading:*");
      return readers.filter((token) => ids.some((id) => token.startsWith(`${id}/`))).length;
    } finally {
      redis.disconnect();
    }
  }

  async end(): Promise<void> {
    await this.proxy?.end();
    await Promise.all(this.replicas.map((replica) => replica.kill()));
    await this.#links.end();
    await this.#valkey?.stop();
  }
}

async function valuesOf(redis: Redis, pattern: string): Promise<readonly string[]> {
  const keys = await redis.keys(pattern);
  const values = keys.length === 0 ? [] : await redis.mget(...keys);
  return values.filter((value) => value !== null);
}

async function writeSecrets({ work, tree, token }: FleetOptions): Promise<void> {
  const privateKey = await aQuickKey();
  const secrets = { "key.asc": privateKey, readcap: tree.readCap, token };
  for (const [name, secret] of Object.entries(secrets)) writeFileSync(join(work, name), secret, { mode: 0o600 });
}

/** The configuration in the guide, without a password. */
function clusterBlock(isSentinel: boolean): string {
  const common = blockOf("toml cluster").replace(/^password_file = .*\n/m, "");
  return isSentinel ? common.replace(/^\[cluster\][\s\S]*/m, blockOf("toml sentinel")) : common;
}

/** The configurations of the replicas differ only in the addresses of the links. */
const configuration = (
  { settings = "", tables = "" }: FleetOptions,
  {
    name,
    valkeyUrl,
    isSentinel,
    webapiUrl,
  }: {
    readonly name: string;
    readonly valkeyUrl: string;
    readonly isSentinel: boolean;
    readonly webapiUrl: string;
  },
): string => `state = "state-${name}"
${settings}
${clusterBlock(isSentinel).replace(/^url = .*$/m, `url = "${valkeyUrl}"`)}
${isSentinel ? 'mode = "sentinel"' : ""}
[[repository]]
name = "debian"
webapi = "${webapiUrl}"
readcap_file = "readcap"
signing_key_file = "key.asc"
ping_token_file = "token"
${tables}
`;
