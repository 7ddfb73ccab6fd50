// Building an index after a ping: new segments are rendered once.
import { setImmediate } from "node:timers/promises";
import { afterEach, expect, test, vi } from "vitest";
import { withResolvers } from "../../../src/base/with-resolvers.ts";
import { Examiner } from "../../../src/catalog/examiner.ts";
import { StanzaRenderer } from "../../../src/publishing/build/stanza-renderer.ts";
import { SegmentStore } from "../../../src/publishing/store/segment-store.ts";
import { aDeb } from "../../support/debs.ts";
import { packageNames, ServedFolder } from "../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";

afterEach(() => vi.restoreAllMocks());

test("a ping renders only the stanzas of new packages, and copies the others from the previous index", async () => {
  const served = new ServedFolder();
  const put = async (name: string, at: number, description = "first") =>
    served.put(`${amd64}/${name}.deb`, await aDeb({ package: name, fields: { Description: description } }), at);
  for (const [at, name] of ["a", "b", "c"].entries()) await put(name, 1_700_000_000 + at);
  await served.ping();
  const rendered = vi.spyOn(Examiner.prototype, "loadInspection");
  await put("b", 1_700_000_001, "second");
  await served.ping(`${amd64}/b.deb`);
  await put("d", 1_700_000_003);
  await served.ping(`${amd64}/d.deb`);
  served.remove(`${amd64}/a.deb`);
  await served.ping(`${amd64}/a.deb`);
  expect(rendered.mock.calls.map(([{ path }]) => path)).toEqual([`${amd64}/b.deb`, `${amd64}/d.deb`]);
  expect(await packageNames(served)).toEqual(["b 1.0-1", "c 1.0-1", "d 1.0-1"]);
  expect(await served.text(`${amd64}/Packages`)).toMatch(/^Package: b\n(.+\n)+Description: second\n\nPackage: c\n/);
});

test("a segment that two indices share is built once, even if both builds start at the same time", async () => {
  const served = new ServedFolder();
  const made = vi.spyOn(SegmentStore.prototype, "put");
  for (const architecture of ["amd64", "arm64"]) served.makeDirectory(`dists/sid/main/binary-${architecture}`);
  served.put("dists/sid/main/binary-all/a.deb", await aDeb({ package: "a", architecture: "all" }));
  await served.ping();
  expect(await served.text("dists/sid/main/binary-arm64/Packages")).toBe(await served.text(`${amd64}/Packages`));
  expect(made).toHaveBeenCalledTimes(1);
});

test("after a stop, no waiting segment is rendered", async () => {
  const served = new ServedFolder();
  for (const architecture of ["amd64", "arm64", "armhf", "i386", "ppc64el", "riscv64", "s390x"]) {
    const name = `for-${architecture}`;
    served.put(`dists/sid/main/binary-${architecture}/it.deb`, await aDeb({ package: name, architecture }));
  }
  const { promise: goesOn, resolve: goOn } = withResolvers<void>();
  const rendered = vi
    .spyOn(StanzaRenderer.prototype, "render")
    .mockImplementation(async (_segment, _style, _known, signal) => {
      await goesOn;
      signal.throwIfAborted();
      return Buffer.of();
    });
  const pinged = served.ping().catch(() => "cut short");
  await vi.waitFor(() => expect(rendered).toHaveBeenCalledTimes(4), 10_000);
  const stopped = served.repository.stop();
  goOn();
  await stopped;
  expect(await pinged).toBe("cut short");
  await setImmediate();
  expect(rendered).toHaveBeenCalledTimes(4);
});
