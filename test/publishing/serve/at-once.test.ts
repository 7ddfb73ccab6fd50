// Most requests are answered without waiting for anything: their files are found, and their bytes are at hand, at once.
import { expect, test } from "vitest";
import type { Resource } from "../../../src/publishing/resource.ts";
import { aDeb } from "../../support/debs.ts";
import { ServedFolder } from "../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";

test("what was published is found at once, and other files of the tree are not", async () => {
  const served = new ServedFolder();
  served.put(`${amd64}/hello_1_amd64.deb`, await aDeb({ package: "hello", version: "1", architecture: "amd64" }));
  served.put("dists/README", "a file");
  await served.ping();
  const { repository } = served;
  const findNow = (path: string): Resource | undefined => repository.findNow(path, undefined);
  const packages = findNow(`${amd64}/Packages`)?.bytesNow?.().toString() ?? "";
  const pool = /^Filename: (.*)$/m.exec(packages)?.[1] ?? "";
  const hash = findNow(`${amd64}/Packages.xz`)?.etag ?? "";
  for (const path of ["dists/sid/InRelease", `${amd64}/Packages.xz`, `${amd64}/by-hash/SHA256/${hash}`]) {
    const found = findNow(path);
    const read = await found?.read({ start: 0, end: found.sizeBytes }, new AbortController().signal);
    expect(found?.bytesNow?.()).toEqual(read);
    expect(found?.bytesNow?.().length).toBe(found?.sizeBytes);
  }
  expect(findNow(pool)).toMatchObject({ etag: expect.stringContaining(pool.split("/")[2] ?? "") });
  expect(findNow("dists/README")).toBeUndefined();
  expect(await repository.find("dists/README", { signal: new AbortController().signal })).toBeDefined();
});

test("large indices are not: they are read only when the earlier responses of their connection are sent", async () => {
  const served = new ServedFolder();
  const fields = { Description: `x\n${" y".repeat(75_000)}` };
  for (const name of ["one", "two"])
    served.put(`${amd64}/${name}.deb`, await aDeb({ package: name, architecture: "amd64", fields }));
  await served.ping();
  const found = served.repository.findNow(`${amd64}/Packages`, undefined);
  expect(found?.sizeBytes).toBeGreaterThan(256 * 1024);
  expect(found?.bytesNow).toBeUndefined();
});
