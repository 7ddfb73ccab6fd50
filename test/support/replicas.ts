// Replicas of one folder in this process, which share a real Valkey.
import { onTestFinished } from "vitest";
import type { Log } from "../../src/base/log.ts";
import { silentLog } from "../../src/base/log.ts";
import { parseRepositoryName, parseTreePath, rootPath } from "../../src/base/names.ts";
import { Secret } from "../../src/base/secret.ts";
import { Fleet } from "../../src/cluster/fleet.ts";
import type { ReplicatedRepository } from "../../src/cluster/replicated-repository.ts";
import type { PingOutcome } from "../../src/publishing/served-repository.ts";
import type { ServedFolderOptions } from "./served-folder.ts";
import { ServedFolder, unlistedWhile } from "./served-folder.ts";
import type { ValkeyUnderTest } from "./valkey.ts";

const name = parseRepositoryName("debian");
const noSignal = new AbortController().signal;

export interface ReplicaOptions extends ServedFolderOptions {
  /** What seals the values in Valkey. */
  readonly secret?: string;
  readonly log?: Log;
  /** The fingerprints of the signing keys. */
  readonly keys?: readonly string[];
}

/** One replica. It ends with the test. */
export class ReplicaUnderTest {
  readonly fleet: Fleet;
  readonly replicated: ReplicatedRepository;
  readonly served: ServedFolder;
  /** Whether it cannot list the folder. */
  isCutFromTree = false;

  /** @param options.folder that of the first replica */
  constructor(valkey: ValkeyUnderTest, options: ReplicaOptions = {}) {
    const log = options.log ?? silentLog;
    const secret = new Secret(options.secret ?? "a secret");
    this.fleet = new Fleet({ settings: valkey.settings(), secret, version: "1", address: "here", log, now: Date.now });
    this.replicated = this.fleet.repository({
      name,
      secret,
      signingKeys: options.keys ?? ["A"],
      settings: {},
      onPublisher: () => undefined,
    });
    const replicas = this.replicated.publicationsOf(name);
    onTestFinished(async () => await this.fleet.close());
    this.served = new ServedFolder({
      ...options,
      replicas,
      wrap: unlistedWhile(() => this.isCutFromTree),
    });
    replicas.attach(this.served.repository);
  }

  /** Begins to take part. @param pollSeconds how often the tree is read without a ping */
  async start(pollSeconds = 3600): Promise<void> {
    this.replicated.attach([this.served.repository], this.served.repository);
    this.fleet.add(this.replicated);
    await this.replicated.prepare();
    void this.served.repository.start(pollSeconds);
    await this.fleet.start();
  }

  /** Ends as by a signal. */
  async end(): Promise<void> {
    await this.served.stop();
    await this.fleet.close();
  }

  /** Loses its connection to Valkey for good, as if it was killed. */
  cut(): void {
    this.fleet.valkey.close();
  }

  /** A ping that this replica receives. */
  async ping(path = ""): Promise<PingOutcome> {
    return await this.replicated.ping(path === "" ? rootPath : parseTreePath(path), noSignal);
  }
}
