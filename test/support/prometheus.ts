// A real Prometheus with our configuration and alerts, which are scaled down so that a test need not wait for minutes.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import fetch from "node-fetch";
import { killed } from "./killed.ts";
import { readProjectFile } from "./project-files.ts";
import { demandTool } from "./rootfs.ts";
import { freePort } from "./server.ts";

const startTimeoutMs = 30_000;
const pollMs = 50;

/** An alert as `/api/v1/alerts` has it. */
export interface Alert {
  readonly labels: { readonly alertname: string; readonly instance: string; readonly [name: string]: string };
  readonly annotations: { readonly summary: string };
  readonly state: "pending" | "firing";
  readonly activeAt: string;
}

/** One series of an instant query. */
export interface Series {
  readonly metric: { readonly [label: string]: string };
  readonly value: readonly [timeSeconds: number, value: string];
}

/**
 * The alert rules with shorter times, and nothing else changed: an alert fires after one second instead of minutes, and
 * a publication is stale after ten seconds instead of an hour.
 */
function scaledDownRules(): string {
  const rules = readProjectFile("docker/prometheus/alerts.yml");
  const scaled = rules.replaceAll(/^( +for: )\d+m$/gm, "$11s").replace("> 3600", "> 10");
  if (scaled.includes("3600") || /for: \d+m/.test(scaled)) throw new Error("a time of the rules was not scaled down");
  return scaled;
}

export class PrometheusUnderTest {
  readonly url: string;
  readonly #stop: () => Promise<void>;

  private constructor(url: string, stop: () => Promise<void>) {
    this.url = url;
    this.#stop = stop;
  }

  /** Scrapes these addresses (`HOST:PORT`) every two seconds, as the job `tahoe-apt`. */
  static async start(targets: readonly string[]): Promise<PrometheusUnderTest> {
    demandTool("prometheus", "prometheus");
    const directory = mkdtempSync(join(tmpdir(), "tahoe-apt-prometheus-"));
    const configuration = readProjectFile("docker/prometheus/prometheus.yml")
      .replace(/ +authorization:\n.*\n/, "")
      .replace(/targets: .*/, `targets: ${JSON.stringify(targets)}`)
      .replace(/scrape_interval: .*/, "scrape_interval: 2s\n  scrape_timeout: 2s")
      .replace(/evaluation_interval: .*/, "evaluation_interval: 1s");
    writeFileSync(join(directory, "prometheus.yml"), configuration);
    writeFileSync(join(directory, "alerts.yml"), scaledDownRules());
    const port = await freePort();
    const flags = [
      `--config.file=${join(directory, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(directory, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ];
    const child = spawn("prometheus", flags, { stdio: ["ignore", "ignore", "pipe"] });
    let output = "";
    child.stderr.on("data", (chunk) => (output += String(chunk)));
    const stop = async (): Promise<void> => {
      await killed(child);
      rmSync(directory, { recursive: true, force: true });
    };
    const url = `http://127.0.0.1:${port}`;
    for (const begunMs = Date.now(); Date.now() - begunMs < startTimeoutMs; await sleep(pollMs)) {
      const isReady = await fetch(`${url}/-/ready`).then(
        ({ ok }) => ok,
        () => false,
      );
      if (isReady) return new PrometheusUnderTest(url, stop);
      if (child.exitCode !== null) break;
    }
    await stop();
    throw new Error(`Prometheus did not start:\n${output}`);
  }

  /** The pending and firing alerts. */
  async alerts(): Promise<readonly Alert[]> {
    const { alerts } = (await this.#get("alerts")) as { readonly alerts: readonly Alert[] };
    return alerts;
  }

  /** Evaluates an expression now. @throws Error with Prometheus' message if it is not valid */
  async query(expression: string): Promise<readonly Series[]> {
    const { result } = (await this.#get(`query?query=${encodeURIComponent(expression)}`)) as {
      readonly result: readonly Series[];
    };
    return result;
  }

  async stop(): Promise<void> {
    await this.#stop();
  }

  async #get(path: string): Promise<unknown> {
    const reply = (await (await fetch(`${this.url}/api/v1/${path}`)).json()) as {
      readonly data?: unknown;
      readonly error?: string;
    };
    if (reply.data === undefined) throw new Error(`Prometheus answers: ${reply.error}`);
    return reply.data;
  }
}
