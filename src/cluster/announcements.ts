// The messages with which the publisher announces publications: first all replicas prepare one, then it becomes
// current for all at once.
import { z } from "zod";
import type { CurrentState } from "./current.ts";
import { currentState } from "./current.ts";
import { orderText } from "./members.ts";
import { parsedJson } from "./parsed-json.ts";
import type { Valkey } from "./valkey.ts";

const announcement = z.object({
  kind: z.enum(["prepare", "commit"]),
  /** The name under which the publication is kept. */
  state: z.string(),
  current: currentState,
  /** The id of the publisher. */
  from: z.string(),
});

const acknowledgement = z.object({
  state: z.string(),
  suite: z.string(),
  order: z.string(),
  /** The id of the replica that has prepared the publication. */
  from: z.string(),
});

/** `prepare`: fetch it, keep it readable by hash, and acknowledge it. `commit`: it is the current one. */
export type Announcement = z.infer<typeof announcement>;
export type Acknowledgement = z.infer<typeof acknowledgement>;

export const announcementChannel = "announce";
/** @param id of the publisher */
export const acknowledgementChannel = (id: string): string => `prepared:${id}`;

export const announcementText = (kind: Announcement["kind"], state: string, current: CurrentState, from: string) =>
  JSON.stringify({ kind, state, current, from } satisfies Announcement);

/** Tells the publisher that a replica has prepared what it has announced. @throws ValkeyUnavailable */
export async function acknowledge(
  valkey: Valkey,
  { state, current, from }: Pick<Announcement, "state" | "current" | "from">,
  by: string,
): Promise<void> {
  const prepared: Acknowledgement = { state, suite: current.suite, order: orderText(current), from: by };
  const channel = valkey.prefix + acknowledgementChannel(from);
  await valkey.run((redis) => redis.publish(channel, JSON.stringify(prepared)));
}

/** @returns undefined for a message of another form, which a newer version of the program may have sent */
export const parseAnnouncement = (message: Buffer): Announcement | undefined =>
  parsedJson(announcement, message.toString());
/** @returns undefined for a message of another form */
export const parseAcknowledgement = (message: Buffer): Acknowledgement | undefined =>
  parsedJson(acknowledgement, message.toString());
