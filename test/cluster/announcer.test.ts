// How the publisher announces, with a real Valkey and other replicas that only this test acts for.
import { setImmediate as turn } from "node:timers/promises";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { silentLog } from "../../src/base/log.ts";
import { parseRepositoryName, parseSuite } from "../../src/base/names.ts";
import { withResolvers } from "../../src/base/with-resolvers.ts";
import type { Announcement } from "../../src/cluster/announcements.ts";
import { announcementChannel, identityOf, isAnnouncedBy, parseAnnouncement } from "../../src/cluster/announcements.ts";
import type { Completed } from "../../src/cluster/announcer.ts";
import { Announcer } from "../../src/cluster/announcer.ts";
import type { CurrentState } from "../../src/cluster/current.ts";
import { Doubts } from "../../src/cluster/doubts.ts";
import { Valkey } from "../../src/cluster/valkey.ts";
import { ValkeyUnderTest } from "../support/valkey.ts";

const stateName = parseRepositoryName("debian");
const [id, fence, other] = ["publisher", "1", "other"];
let valkey: ValkeyUnderTest;

beforeEach(async () => {
  valkey = await ValkeyUnderTest.start();
});
afterEach(async () => {
  await valkey.stop();
});

/** A publisher, and another replica that serves. */
async function aPublisher() {
  const connection = new Valkey(valkey.settings(), silentLog);
  onTestFinished(() => connection.close());
  await vi.waitFor(() => expect(connection.isConnected).toBe(true), 10_000);
  const { prefix } = connection;
  await connection.run((redis) =>
    Promise.all([
      redis.set(`${prefix}lease:debian`, id),
      redis.set(`${prefix}fence:debian`, fence),
      redis.sadd(`${prefix}members`, other),
      redis.set(`${prefix}alive:${other}`, "1"),
    ]),
  );
  const doubts = new Doubts();
  const lease = { repository: "debian", isHeld: true, fence };
  const fleet = { id, servingMembers: [other] };
  const announcer = new Announcer({ valkey: connection, stateName, lease, fleet, doubts, log: silentLog });
  const heard: Announcement[] = [];
  const messages: Buffer[] = [];
  await connection.subscribe(announcementChannel, (message) => {
    messages.push(message);
    const announcement = parseAnnouncement(message);
    if (announcement !== undefined) heard.push(announcement);
  });
  return { announcer, doubts, heard, messages };
}

type Publisher = Awaited<ReturnType<typeof aPublisher>>;

const aWithdrawal = (suite: string): CurrentState => ({
  kind: "withdrawal",
  suite: parseSuite(suite),
  dateSeconds: 1,
  withdrawnMs: 1000,
});
const noValues = new Map<string, Buffer>();
const completed = (current: CurrentState, serve = async (): Promise<void> => undefined): Completed => ({
  current,
  values: noValues,
  serve,
});

/** What the other replica does when it has prepared this. */
const acknowledge = ({ announcer }: Publisher, current: CurrentState) =>
  announcer.noteAcknowledgement({ state: stateName, prepared: identityOf(current), from: other });
const heardOf = ({ heard }: Publisher, wanted: CurrentState) =>
  heard.filter(({ current }) => current.suite === wanted.suite).map(({ kind }) => kind);

test("the messages of an announcement tell who has sent them without being parsed", async () => {
  const publisher = await aPublisher();
  const current = aWithdrawal("sid");
  const announcing = publisher.announcer.announce({ current, values: noValues }, async () => completed(current));
  await vi.waitFor(() => expect(heardOf(publisher, current)).toContain("prepare"), 10_000);
  acknowledge(publisher, current);
  await announcing;
  await vi.waitFor(() => expect(heardOf(publisher, current)).toContain("commit"), 10_000);
  for (const message of publisher.messages)
    expect([isAnnouncedBy(message, id), isAnnouncedBy(message, other)]).toEqual([true, false]);
});

test("two suites that are announced at the same time are both acknowledged", async () => {
  const publisher = await aPublisher();
  const suites = ["jessie", "stretch"].map(aWithdrawal);
  const announcing = suites.map(async (current) => {
    await publisher.announcer.announce({ current, values: noValues }, async () => completed(current));
  });
  for (const current of suites) {
    await vi.waitFor(() => expect(heardOf(publisher, current)).toContain("prepare"), 10_000);
    acknowledge(publisher, current);
  }
  await Promise.all(announcing);
  for (const current of suites)
    await vi.waitFor(() => expect(heardOf(publisher, current).at(-1)).toBe("commit"), 10_000);
});

test("an acknowledgement counts for 20 s: after that, whoever gave it may not be in doubt any more", async () => {
  const publisher = await aPublisher();
  const current = aWithdrawal("jessie");
  vi.useFakeTimers({ toFake: ["performance"] });
  onTestFinished(() => void vi.useRealTimers());
  const { promise: signing, resolve: sign } = withResolvers<Completed>();
  const announcing = publisher.announcer.announce({ current, values: noValues }, () => signing);
  await vi.waitFor(() => expect(heardOf(publisher, current)).toEqual(["prepare"]), 10_000);
  acknowledge(publisher, current);
  vi.advanceTimersByTime(21_000);
  sign(completed(current));
  await vi.waitFor(() => expect(heardOf(publisher, current)).toEqual(["prepare", "prepare"]), 10_000);
  acknowledge(publisher, current);
  await announcing;
  await vi.waitFor(() => expect(heardOf(publisher, current)).toEqual(["prepare", "prepare", "commit"]), 10_000);
});

test("it counts as being announced until whoever announces it has seen that it is served", async () => {
  const publisher = await aPublisher();
  const { announcer, doubts } = publisher;
  const current = aWithdrawal("jessie");
  const events: string[] = [];
  const serve = async (): Promise<void> => {
    expect(doubts.areNone).toBe(false);
    await turn();
    events.push("served");
  };
  const announcing = announcer
    .announce({ current, values: noValues }, async () => completed(current, serve))
    .then(async () => {
      // Those who called `announce` for it must hear of it, too.
      for (let step = 0; step < 10; step++) await Promise.resolve();
      events.push("told");
    });
  const ended = announcer.ended(current).then(() => events.push("ended"));
  expect([announcer.isAnnouncing(current.suite), announcer.isAnnouncing(parseSuite("sid"))]).toEqual([true, false]);
  await vi.waitFor(() => expect(heardOf(publisher, current)).toEqual(["prepare"]), 10_000);
  acknowledge(publisher, current);
  await Promise.all([announcing, ended]);
  expect(events).toEqual(["served", "told", "ended"]);
  expect([announcer.isAnnouncing(current.suite), doubts.areNone]).toEqual([false, true]);
});
