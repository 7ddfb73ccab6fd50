// What the members of a fleet tell each other: each message is passed on to what it is about in this server.
import {
  acknowledge,
  acknowledgementChannel,
  announcementChannel,
  isAnnouncedBy,
  parseAcknowledgement,
  parseAnnouncement,
} from "./announcements.ts";
import type { ReplicatedPings } from "./pings.ts";
import { answerChannel, parseAnswer, parsePing, pingChannel } from "./pings.ts";
import type { ReplicatedPublications } from "./replicated-publications.ts";
import { snapshotChannel } from "./replicated-publications.ts";
import type { Valkey } from "./valkey.ts";

export interface Recipients {
  /** The id of this replica. */
  readonly id: string;
  /** The publications that are kept under a name; none if this replica does not serve that repository. */
  publicationsOf(state: string): readonly ReplicatedPublications[];
  /** @returns undefined if this replica does not serve that repository */
  pingsOf(repository: string): ReplicatedPings | undefined;
  /** Executes the commands of other replicas about pins and rollbacks. */
  followSnapshots(publications: readonly ReplicatedPublications[]): void;
  /** There is a publication that this replica cannot take over. @param reason a text for people */
  fallBehind(reason: string): void;
}

/** Begins to receive. */
export async function receiveMessages(valkey: Valkey, to: Recipients): Promise<void> {
  const { id } = to;
  await Promise.all([
    valkey.subscribe(announcementChannel, (message) => noteAnnouncement(valkey, to, message)),
    valkey.subscribe(acknowledgementChannel(id), (message) => {
      const acknowledgement = parseAcknowledgement(message);
      if (acknowledgement === undefined) return;
      for (const each of to.publicationsOf(acknowledgement.state)) each.noteAcknowledgement(acknowledgement);
    }),
    valkey.subscribe(snapshotChannel, (message) => to.followSnapshots(to.publicationsOf(message.toString()))),
    valkey.subscribe(pingChannel, (message) => {
      const ping = parsePing(message);
      if (ping !== undefined) to.pingsOf(ping.repository)?.notePing(ping);
    }),
    valkey.subscribe(answerChannel(id), (message) => {
      const answer = parseAnswer(message);
      if (answer !== undefined) to.pingsOf(answer.repository)?.noteAnswer(answer);
    }),
  ]);
}

function noteAnnouncement(valkey: Valkey, to: Recipients, message: Buffer): void {
  if (isAnnouncedBy(message, to.id)) return;
  const announcement = parseAnnouncement(message);
  if (announcement === undefined) {
    to.fallBehind("another replica announces publications in a form that this version does not know");
    return;
  }
  const concerned = to.publicationsOf(announcement.state);
  for (const each of concerned) void each.noteAnnouncement(announcement);
  // Another configuration has a repository that this one does not have, so nothing must wait for this replica.
  if (concerned.length === 0 && announcement.kind === "prepare")
    acknowledge(valkey, announcement, to.id).catch(() => undefined);
}
