// File names that are odd, but valid: apt downloads them, from a server and from a site of plain files.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, inject, onTestFinished, test } from "vitest";
import { aDeb } from "../support/debs.ts";
import { ServedFolder } from "../support/served-folder.ts";
import { ServedGrid } from "../support/served-grid.ts";

const place = "dists/sid/main/binary-amd64";
const names = {
  question: "question?mark.deb",
  hash: "hash#tag.deb",
  percent: "per%cent%3f.deb",
  blank: "with a blank.deb",
  braces: "b[r]{a}c|e\\s^`.deb",
  quotes: `"quotes"<'>.deb`,
  unicode: "zoë.deb",
  long: `${"l".repeat(250)}.deb`,
  symbols: "symbols_1.0_amd64.ddeb",
} as const;

test("apt downloads packages with odd file names, and Ubuntu's packages of debug symbols", async () => {
  const grid = await ServedGrid.start(inject("webapiUrl"), `flat = ["extras"]`);
  onTestFinished(() => grid.end());
  const debs = new Map<string, Buffer>();
  for (const [name, file] of Object.entries(names)) {
    debs.set(file, await aDeb({ package: name, version: "1.0", architecture: "amd64" }));
  }
  await grid.put(place, debs);
  await grid.put("extras", new Map([["it.ddeb", await aDeb({ package: "extra", architecture: "amd64" })]]));
  expect(await grid.ping()).toMatchObject({ rejected: [] });
  const apt = grid.apt();
  onTestFinished(() => apt.close());
  await apt.update();
  for (const [name, file] of Object.entries(names)) {
    expect((await apt.download(name)).equals(debs.get(file)!), file).toBe(true);
  }
  expect((await apt.run("apt-cache", "show", "symbols")).output).toMatch(/^Filename: .*symbols_1\.0_amd64\.ddeb$/m);
  const flat = await fetch(`${grid.url}/extras/Packages`);
  expect(await flat.text()).toMatch(/^Package: extra$/m);
});

test("a ping with another Unicode form of a directory's name in Tahoe is for that directory, and creates no other", async () => {
  const grid = await ServedGrid.start(inject("webapiUrl"));
  onTestFinished(() => grid.end());
  const [composed, decomposed] = ["zoë".normalize("NFC"), "zoë".normalize("NFD")];
  await grid.put(`${place}/${composed}`, new Map([["one.deb", await aDeb({ package: "one" })]]));
  await grid.ping();
  await grid.put(`${place}/${composed}`, new Map([["two.deb", await aDeb({ package: "two" })]]));
  const answer = await grid.ping(`${place}/${encodeURIComponent(decomposed)}`);
  expect(answer).toMatchObject({ added: [`${place}/${composed}/two.deb`], removed: [], rejected: [] });
  // Nothing exists under the other form, so nothing disappears at the next poll.
  expect(await grid.ping()).toMatchObject({ added: [], removed: [], rejected: [] });
});

test("in a folder both Unicode forms may exist, and each is a separate directory", async () => {
  const served = new ServedFolder();
  const [composed, decomposed] = ["zoë".normalize("NFC"), "zoë".normalize("NFD")];
  served.put(`${place}/${composed}/one.deb`, await aDeb({ package: "one" }));
  served.put(`${place}/${decomposed}/two.deb`, await aDeb({ package: "two" }));
  expect(existsSync(join(served.folder, place, decomposed))).toBe(true);
  await served.ping();
  const packages = await served.text(`${place}/Packages`);
  expect(packages).toMatch(/^Package: one$/m);
  expect(packages).toMatch(/^Package: two$/m);
});
