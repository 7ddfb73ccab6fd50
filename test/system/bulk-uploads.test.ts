// One builder uploads thousands of packages at once, or some of the maximum size: the others hardly notice.
import { expect, test } from "vitest";
import { aDeb } from "../support/debs.ts";
import { packageNames, ServedFolder } from "../support/served-folder.ts";

const place = "dists/sid/main/binary-amd64";
const tiny = (name: string) => aDeb({ package: name, architecture: "amd64", compression: "none", files: {} });

test("another builder's upload is published before the last of thousands, and each ping is answered once its own are", async () => {
  const published: number[] = [];
  const served = new ServedFolder({ observer: { published: () => published.push(1) } });
  served.put(`${place}/alice/first.deb`, await tiny("first"));
  await served.ping();
  const count = 5000;
  for (let n = 0; n < count; n++) served.put(`${place}/mallory/p${n}.deb`, await tiny(`p${n}`));
  const [order, before]: [string[], number] = [[], published.length];
  const mallory = served.ping(`${place}/mallory`).then(async (outcome) => {
    order.push("mallory");
    expect(outcome.added).toHaveLength(count);
    expect(await packageNames(served)).toHaveLength(count + 2);
  });
  // After a part is published, the rest waits for its turn.
  await expect.poll(() => published.length, { timeout: 60_000, interval: 5 }).toBeGreaterThan(before);
  served.put(`${place}/alice/second.deb`, await tiny("second"));
  const alice = served.ping(`${place}/alice/second.deb`).then(async ({ added }) => {
    order.push("alice");
    expect(added).toEqual([`${place}/alice/second.deb`]);
    expect(await packageNames(served)).toContain("second 1.0-1");
  });
  await Promise.all([mallory, alice]);
  expect(order).toEqual(["alice", "mallory"]);
  expect(published.length - before).toBeGreaterThan(2);
}, 120_000);

test("the first publication of a server contains the whole tree, however large it is", async () => {
  const published: number[] = [];
  const served = new ServedFolder({ observer: { published: () => published.push(1) } });
  for (let n = 0; n < 3000; n++) served.put(`${place}/alice/p${n}.deb`, await tiny(`p${n}`));
  await served.ping();
  expect(published).toHaveLength(1);
  expect(await packageNames(served)).toHaveLength(3000);
});

test("if there are too many rejects for a response, it contains the most recent ones", async () => {
  const served = new ServedFolder();
  for (let n = 0; n < 5100; n++) served.put(`${place}/mallory/p${n}.deb`, "no package");
  await served.ping();
  served.put(`${place}/mallory/last.deb`, "no package either");
  const { rejected } = await served.ping(`${place}/mallory`);
  expect(rejected.length).toBe(5000);
  expect(rejected.map(({ path }) => path)).toContain(`${place}/mallory/last.deb`);
  const status = served.repository.status();
  expect(status.rejected.length + (status.untoldRejections ?? 0)).toBe(5101);
});
