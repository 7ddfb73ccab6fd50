// The event that tells receivers about a publication: its JSON, bounded, and its id.
import { createHash } from "node:crypto";
import type { Cut, Difference, ListedVersion } from "../data/repository-data.ts";
import type { WebhookEvent } from "./delivery.ts";

/** The longest body of an event, apart from its links. Standard Webhooks recommends at most 20 kB. */
export const maxEventBytes = 16_000;

/** A publication, compared with the one that was announced before. */
export interface AnnouncedPublication {
  readonly repository: string;
  /** The public name. */
  readonly suite: string;
  readonly id: string;
  /** The Date of its Release. */
  readonly dateSeconds: number;
  /** The publication that was announced before; undefined for the first one of a suite. */
  readonly previous: string | undefined;
  /** Undefined if the previous publication is no longer kept, so that nobody knows. */
  readonly differences: readonly Difference[] | undefined;
}

/** A package in the body of an event. */
type EventPackage = ListedVersion | ChangedPackage;
type ChangedPackage = Omit<Difference, "kind">;

/** @param publicUrl the URL of the server without a trailing slash; without it, there are no links */
export function publicationEvent(
  published: AnnouncedPublication,
  { publicUrl, nowMs }: { readonly publicUrl: string | undefined; readonly nowMs: number },
): WebhookEvent {
  const { repository, suite, id, previous, differences } = published;
  const of = (kind: Difference["kind"]) => differences?.filter((one) => one.kind === kind) ?? [];
  const room = { bytes: maxEventBytes };
  const changes = differences && {
    changed: cutTo(room, of("changed").map(changedPackage)),
    added: cutTo(room, of("added").flatMap(listedVersions("after"))),
    removed: cutTo(room, of("removed").flatMap(listedVersions("before"))),
  };
  const body = JSON.stringify({
    type: "repository.published",
    timestamp: new Date(nowMs).toISOString(),
    data: {
      repository,
      suite,
      publication: id,
      previousPublication: previous ?? null,
      date: new Date(published.dateSeconds * 1000).toISOString(),
      changes: changes ?? null,
      links: publicUrl === undefined ? null : linksOf(`${publicUrl}/${repository}`, published),
    },
  });
  const digest = createHash("sha256")
    .update([repository, suite, previous ?? "", id].join("\n"))
    .digest("hex");
  return { id: `msg_${digest.slice(0, 32)}`, suite, createdMs: nowMs, body };
}

function linksOf(home: string, { suite, id, previous }: AnnouncedPublication) {
  const parameters = new URLSearchParams({ from: `${suite}@${previous}`, to: `${suite}@${id}` });
  return { repository: `${home}/`, diff: previous === undefined ? null : `${home}/-/diff?${parameters}` };
}

const changedPackage = ({ name, component, architecture, before, after }: Difference): ChangedPackage => ({
  name,
  component,
  architecture,
  before,
  after,
});

const listedVersions =
  (side: "before" | "after") =>
  ({ name, component, architecture, ...versions }: Difference): readonly ListedVersion[] =>
    versions[side].map((version) => ({ name, component, version, architecture }));

/** Takes as many entries as fit into the room, which becomes smaller. */
function cutTo<Entry extends EventPackage>(room: { bytes: number }, all: readonly Entry[]): Cut<Entry> {
  const entries: Entry[] = [];
  for (const entry of all) {
    const bytes = Buffer.byteLength(JSON.stringify(entry)) + 1;
    if (bytes > room.bytes) break;
    room.bytes -= bytes;
    entries.push(entry);
  }
  return { entries, total: all.length };
}
