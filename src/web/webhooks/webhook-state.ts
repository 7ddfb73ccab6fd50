// The state of the webhooks of a repository that survives a restart: the last announced publications, and the events
// that have not arrived.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { systemCodeOf } from "../../base/errors.ts";
import { replaceFile } from "../../base/replace-file.ts";
import type { Secret } from "../../base/secret.ts";
import type { WebhookEvent } from "./delivery.ts";

export interface WebhookState {
  /** The last publication of each suite that was announced, by public names. */
  readonly announced: ReadonlyMap<string, string>;
  /** The events that have not arrived, by `keyOf` the URL, the oldest first. */
  readonly waiting: ReadonlyMap<string, readonly WebhookEvent[]>;
}

const stored = z.object({
  announced: z.record(z.string(), z.string()),
  /** Those of all webhooks, each once. */
  events: z.array(z.object({ id: z.string(), suite: z.string(), createdMs: z.number(), body: z.string() })),
  /** The ids of events. */
  waiting: z.record(z.string(), z.array(z.string())),
});

/** Identifies a URL in the state, without the token that may be in it. */
export const keyOf = (url: Secret): string => createHash("sha256").update(url.reveal()).digest("hex");

/** @returns undefined if there is no file @throws for a file that cannot be read */
export async function readWebhookState(file: string): Promise<WebhookState | undefined> {
  const text = await readFile(file, "utf8").catch((thrown: unknown) => {
    if (systemCodeOf(thrown) === "ENOENT") return undefined;
    throw thrown;
  });
  if (text === undefined) return undefined;
  const { announced, events, waiting } = stored.parse(JSON.parse(text));
  const byId = new Map(events.map((event) => [event.id, event]));
  const eventsOf = (ids: readonly string[]) => ids.flatMap((id) => byId.get(id) ?? []);
  return {
    announced: new Map(Object.entries(announced)),
    waiting: new Map(Object.entries(waiting).map(([key, ids]) => [key, eventsOf(ids)])),
  };
}

export async function writeWebhookState(file: string, { announced, waiting }: WebhookState): Promise<void> {
  const events = new Map([...waiting.values()].flat().map((event) => [event.id, event]));
  const ids = [...waiting].map(([key, each]) => [key, each.map(({ id }) => id)] as const);
  const text = JSON.stringify({
    announced: Object.fromEntries(announced),
    events: [...events.values()],
    waiting: Object.fromEntries(ids),
  });
  await replaceFile(file, text, { mode: 0o600 });
}
