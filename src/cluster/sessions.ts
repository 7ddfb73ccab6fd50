// The sessions of clients that use plain names, as all replicas know them: which publication each is reading.
import { createHmac } from "node:crypto";
import type { Secret } from "../base/secret.ts";
import type { Valkey } from "./valkey.ts";

/** The form of the values. */
const version = 1;

/** The part of a session that all replicas need. */
interface Session {
  readonly id: string;
  readonly file: "Release" | "InRelease";
  readonly isPaired: boolean;
  readonly beganMs: number;
}

export class FleetSessions {
  readonly haveLoadBalancer = true;
  readonly #valkey: Valkey;
  readonly #secret: Secret;

  /** @param secret hides the addresses of clients from whoever can read Valkey */
  constructor(valkey: Valkey, secret: Secret) {
    this.#valkey = valkey;
    this.#secret = secret;
  }

  async set(key: string, session: Session, idleMs: number): Promise<void> {
    const value = JSON.stringify({ v: version, ...session });
    await this.#send((redis) => redis.set(this.#nameOf(key), value, "PX", idleMs));
  }

  extend(key: string, idleMs: number): void {
    void this.#send((redis) => redis.pexpire(this.#nameOf(key), idleMs));
  }

  async get(key: string): Promise<Session | undefined> {
    if (!this.#valkey.isConnected) return undefined;
    try {
      return parsed(await this.#valkey.run((redis) => redis.get(this.#nameOf(key))));
    } catch {
      return undefined;
    }
  }

  async #send(command: Parameters<Valkey["run"]>[0]): Promise<void> {
    if (this.#valkey.isConnected) await this.#valkey.run(command).catch(() => undefined);
  }

  #nameOf(key: string): string {
    return `${this.#valkey.prefix}session:${createHmac("sha256", this.#secret.reveal()).update(key).digest("base64url")}`;
  }
}

/** @returns undefined for what another version of the program has written */
function parsed(text: string | null): Session | undefined {
  if (text === null) return undefined;
  const { v, id, file, isPaired, beganMs } = JSON.parse(text) as Partial<Session> & { readonly v?: unknown };
  const isKnown = v === version && typeof id === "string" && (file === "Release" || file === "InRelease");
  return isKnown ? { id, file, isPaired: isPaired === true, beganMs: Number(beganMs) } : undefined;
}
