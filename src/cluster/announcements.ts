// The messages with which the publisher announces publications: first all replicas prepare one, then it becomes
// current for all at once.
import { z } from "zod";
import type { AnnouncedState } from "./current.ts";
import { announcedState, currentState, orderOf } from "./current.ts";
import { parsedJson } from "./parsed-json.ts";
import type { SealedValues } from "./shared-values.ts";
import type { Valkey } from "./valkey.ts";

const common = {
  /** The name under which the publication is kept. */
  state: z.string(),
  /** The id of the publisher. */
  from: z.string(),
  /** Parts of the publication by their keys, sealed; in base64 on their way. */
  values: z
    .record(z.string(), z.string())
    .transform(
      (encoded): SealedValues =>
        new Map(Object.entries(encoded).map(([key, text]) => [key, Buffer.from(text, "base64")])),
    ),
};
const announcement = z.discriminatedUnion("kind", [
  z.object({ ...common, kind: z.literal("prepare"), current: announcedState }),
  z.object({ ...common, kind: z.literal("commit"), current: currentState }),
]);

const acknowledgement = z.object({
  state: z.string(),
  /** What was prepared; see `identityOf`. */
  prepared: z.string(),
  /** The id of the replica that has prepared it. */
  from: z.string(),
});

/** `prepare`: fetch it, keep it readable by hash, and acknowledge it. `commit`: it is the current one. */
export type Announcement = z.infer<typeof announcement>;
export type Acknowledgement = z.infer<typeof acknowledgement>;

export const announcementChannel = "announce";
/** @param id of the publisher */
export const acknowledgementChannel = (id: string): string => `prepared:${id}`;

/** The text of an announcement. */
export function announcementText({ values, ...announcement }: Announcement): string {
  const encoded = Object.fromEntries(Array.from(values, ([key, sealed]) => [key, sealed.toString("base64")]));
  return JSON.stringify({ ...announcement, values: encoded });
}

/** Identifies what is announced: a publication that was given up may have the same suite and Date as a later one. */
export const identityOf = (current: AnnouncedState): string =>
  `${current.suite} ${orderOf(current)} ${current.kind === "publication" ? current.digest : ""}`;

/** Tells the publisher that a replica has prepared what it has announced. @throws ValkeyUnavailable */
export async function acknowledge(
  valkey: Valkey,
  { state, current, from }: Pick<Announcement, "state" | "current" | "from">,
  by: string,
): Promise<void> {
  const acknowledged: Acknowledgement = { state, prepared: identityOf(current), from: by };
  const channel = valkey.prefix + acknowledgementChannel(from);
  await valkey.run((redis) => redis.publish(channel, JSON.stringify(acknowledged)));
}

/** Whether it is the announcement of a replica, as `announcementText` writes it. One's own need not be parsed. */
export const isAnnouncedBy = (message: Buffer, id: string): boolean => message.includes(`"from":${JSON.stringify(id)}`);

/** @returns undefined for a message of another form, which a newer version of the program may have sent */
export const parseAnnouncement = (message: Buffer): Announcement | undefined =>
  parsedJson(announcement, message.toString());
/** @returns undefined for a message of another form */
export const parseAcknowledgement = (message: Buffer): Acknowledgement | undefined =>
  parsedJson(acknowledgement, message.toString());
