// Another process serves a publication from the moment on at which it is committed.
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseRepositoryName, parseSuite } from "../../../src/base/names.ts";
import { StoredRepository } from "../../../src/publishing/serve/stored-repository.ts";
import { openStateDatabase } from "../../../src/publishing/store/state-database.ts";
import { aDeb } from "../../support/debs.ts";
import { ServedFolder } from "../../support/served-folder.ts";

test("each request sees what was committed before it, also within one turn of the event loop", async () => {
  const served = new ServedFolder();
  const ids: string[] = [];
  for (const name of ["one", "two"]) {
    const deb = await aDeb({ package: name, architecture: "amd64" });
    served.put(`dists/sid/main/binary-amd64/${name}.deb`, deb, ids.length + 1);
    await served.ping();
    ids.push(served.repository.status().suites[0]?.id ?? "");
  }
  const path = join(served.state, "db");
  const stored = new StoredRepository({
    root: openStateDatabase(path, { readOnly: true }),
    stateName: parseRepositoryName("debian"),
    nestedSuites: [],
    prebuiltSuites: new Set(),
    cache: { read: () => Promise.reject(new Error("no package is read")) },
  });
  const indexNow = (): string =>
    String(stored.findNow("dists/sid/main/binary-amd64/Packages", undefined)?.bytesNow?.());
  expect(indexNow()).toContain("Package: two");
  // The pointer to the current publication, set back without a pause.
  openStateDatabase(path)
    .openDB<string, string>({ name: "debian/current" })
    .putSync(parseSuite("sid"), ids[0] ?? "");
  expect(indexNow()).not.toContain("Package: two");
  expect(indexNow()).toContain("Package: one");
});
