// No page and no resource of the API occupies the main thread, which serves apt, for long, however large a repository is.
import { expect, test, vi } from "vitest";
import { aDeb } from "../support/debs.ts";
import { longestComputingMs } from "../support/event-loop-block.ts";
import { servedApi } from "../support/served-api.ts";
import { ServedFolder } from "../support/served-folder.ts";

const maxComputingMs = 100;
const [packages, versions, rejects, snapshots] = [3000, 500, 5000, 50];
const alice = "dists/sid/main/binary-amd64/alice";
const bob = "dists/sid/main/binary-amd64/bob";

async function deb(name: string, version: string, number: number): Promise<Buffer> {
  const Depends = `libc6, package-${number + 1} (>= 1) | other-${number}, many`;
  const Description = `number ${number}\n A long description of number ${number}.\n The same words are everywhere.`;
  return await aDeb({ package: name, version, architecture: "amd64", fields: { Depends, Description } });
}

async function filled(served: ServedFolder): Promise<void> {
  served.put(`${bob}/late_0_amd64.deb`, await deb("late", "0", 0));
  await served.ping();
  for (let number = 0; number < packages; number++)
    served.put(`${alice}/package-${number}_1_amd64.deb`, await deb(`package-${number}`, "1", number), 1_700_000_100);
  for (let number = 0; number < versions; number++)
    served.put(`${alice}/many_1.${number}_amd64.deb`, await deb("many", `1.${number}`, number), 1_700_000_100);
  for (let number = 0; number < rejects; number++) served.put(`${alice}/broken-${number}_1_amd64.deb`, "not a package");
  await served.ping(alice);
  for (let number = 1; number <= snapshots; number++) {
    served.put(`${bob}/late_${number}_amd64.deb`, await deb("late", `${number}`, 0), 1_700_000_200 + number);
    served.remove(`${bob}/late_${number - 1}_amd64.deb`);
    await served.ping(bob);
  }
}

/** Asks for a page as a browser. @returns the longest time that the main thread computed without a pause, in ms */
async function computingMs(url: string): Promise<number> {
  return await longestComputingMs(async () => {
    const response = await fetch(url, { headers: { accept: "text/html" } });
    await response.arrayBuffer();
    expect(response.status, url).toBe(200);
  });
}

/** Again if it was too long, because collecting garbage takes time as well. */
async function leastComputingMs(url: string): Promise<number> {
  const ms = await computingMs(url);
  return ms < maxComputingMs ? ms : Math.min(ms, await computingMs(url), await computingMs(url));
}

/** Each kind of page. */
const pages = [
  "",
  "-/packages",
  "-/packages?q=number",
  "-/packages?q=everywhere&sort=name",
  "-/packages?builder=dists%2Fsid%2Fmain%2Fbinary-amd64%2Falice&sort=time",
  "-/packages/many",
  "-/packages/many/dependents",
  "-/packages/many/relations",
  "-/packages/late",
  "-/sources/many",
  "-/builders",
  `-/builders/${alice}`,
  "-/rejects",
  "-/snapshots",
  "-/diff?from=sid@OLDEST&to=sid",
  "-/health",
  "-/files",
  `${alice}/`,
  "pool/SHA256/",
  "snapshots/",
  "-/feed.atom",
  "-/badge/many.svg",
];

/** Each resource of the API, with the longest pages. */
const resources = [
  "",
  "/filters",
  "/packages?text=everywhere&limit=200",
  "/packages/many",
  "/packages/late",
  "/packages/many/dependents?limit=200",
  "/sources/many",
  "/builders",
  `/builder?directory=${alice}`,
  "/uploads?limit=200",
  "/rejects?limit=200",
  "/pending?limit=200",
  "/snapshots?limit=200",
  "/diff?from=sid@OLDEST&to=sid&limit=200",
  "/health",
];

test("each page of a large repository computes for a short time only, and one that does not is noticed", async () => {
  // Long descriptions are in Translation-en: they are found without reading all of it.
  const served = new ServedFolder({ translations: true });
  await filled(served);
  const kept = [...served.repository.snapshots()];
  const oldest = kept.at(-1)?.id ?? "";
  const { base, own } = await servedApi(served);
  const addresses = [...pages.map((path) => `${base}/debian/${path}`), ...resources.map((path) => `${own}${path}`)];
  const slow: string[] = [];
  for (const address of addresses.map((each) => each.replace("OLDEST", oldest))) {
    const ms = await leastComputingMs(address);
    if (ms >= maxComputingMs) slow.push(`${address}: ${ms} ms`);
  }
  expect(slow).toEqual([]);

  // What makes these pages expensive is there.
  const json = async (path: string): Promise<unknown> => await (await fetch(`${own}${path}`)).json();
  expect(kept.length).toBeGreaterThan(snapshots);
  expect(await json(`/diff?from=sid@${oldest}&to=sid`)).toMatchObject({ counts: { added: packages + 1, changed: 1 } });
  expect(await json("/rejects")).toMatchObject({ total: rejects });
  expect(await json("/packages/many")).toMatchObject({ suites: [{ suite: "sid", moreVersions: versions - 100 }] });
  expect(await json("/packages/late")).toMatchObject({ earlier: { total: snapshots } });
  expect(await json("/packages?text=everywhere")).toMatchObject({ total: 1000, hasMoreThanTotal: true });

  const { repository } = served;
  const status = repository.status.bind(repository);
  vi.spyOn(repository, "status").mockImplementation(() => {
    const untilMs = process.cpuUsage().user / 1000 + 300;
    while (process.cpuUsage().user / 1000 < untilMs);
    return status();
  });
  expect(await leastComputingMs(`${base}/debian/-/rejects`)).toBeGreaterThan(maxComputingMs);
});
