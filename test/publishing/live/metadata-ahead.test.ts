// Metadata of entries is read while other directories are still being listed, with the same checks as later.
import { expect, test, vi } from "vitest";
import { withResolvers } from "../../../src/base/with-resolvers.ts";
import { inspectContent } from "../../../src/catalog/inspection/inspect.ts";
import { defaultInspectLimits as limits } from "../../../src/catalog/inspection/inspect-limits.ts";
import { entryMetadataOf } from "../../../src/catalog/metadata/entry-metadata.ts";
import type { Tree } from "../../../src/storage/tree.ts";
import { aDeb, inChunks } from "../../support/debs.ts";
import { lookWithMetadata } from "../../support/metadata-tree.ts";
import { ServedFolder } from "../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";

/** The metadata that an honest uploader writes beside a link. */
async function metadataOf(bytes: Uint8Array): Promise<{ readonly control: string }> {
  const inspection = await inspectContent("binary", inChunks(bytes), { limits, algorithms: ["md5", "sha256"] });
  if (inspection.kind !== "binary") throw new Error("no package");
  return { control: "", ...entryMetadataOf(inspection) };
}

/** A folder whose listings contain metadata, and whose directory `late` is listed only after the test releases it. */
function withLateDirectory() {
  const said = new Map<string, unknown>();
  const events: string[] = [];
  let held: Promise<void> | undefined;
  const wrap = (tree: Tree): Tree => {
    const told = lookWithMetadata(tree, said);
    return {
      async look(path, signal) {
        if (path === `${amd64}/late`) await held;
        return await told(path, signal);
      },
      open: (file, range, signal) => tree.open(file, range, signal),
    };
  };
  const observer = { inspected: (from: string) => void events.push(from) };
  const served = new ServedFolder({ wrap, observer });
  const put = async (path: string, name: string, linkedAtSeconds = 1_700_000_000) => {
    const bytes = await aDeb({ package: name, architecture: "amd64" });
    served.put(`${amd64}/${path}`, bytes, linkedAtSeconds);
    const truth = await metadataOf(bytes);
    said.set(`${amd64}/${path}`, truth);
    return truth;
  };
  /** @returns the function that releases the directory */
  const hold = () => {
    const { promise, resolve } = withResolvers<void>();
    held = promise;
    return () => resolve();
  };
  const index = async () => (await served.bytes(`${amd64}/Packages`))?.toString() ?? "";
  return { served, said, events, put, hold, index };
}

test("metadata is read while another directory is being listed, and once for each entry", async () => {
  const { served, events, put, hold, index } = withLateDirectory();
  for (const name of ["a", "b", "c"]) await put(`early/${name}.deb`, name);
  await put("late/d.deb", "d");
  const letGo = hold();
  const pinged = served.ping();
  await vi.waitFor(() => expect(events).toEqual(["entry", "entry", "entry"]), 10_000);
  letGo();
  await pinged;
  expect(events).toEqual(["entry", "entry", "entry", "entry"]);
  expect((await index()).match(/^Package: /gm)).toHaveLength(4);
});

test("metadata that was read before its file became untrusted is not used afterwards", async () => {
  const { served, said, events, put, hold, index } = withLateDirectory();
  await put("late/other.deb", "other");
  // The scrub checks the newest files first.
  const truth = await put("early/liar.deb", "liar", 1_700_000_001);
  const lie = (field: string) =>
    said.set(`${amd64}/early/liar.deb`, { ...truth, control: `${truth.control}${field}\n` });
  lie("Depends: evil");
  await served.ping();
  expect(await index()).toContain("evil");

  lie("Depends: worse");
  const letGo = hold();
  const pinged = served.ping();
  await vi.waitFor(() => expect(events.filter((event) => event === "entry")).toHaveLength(3), 10_000);
  await served.repository.audit.scrubOne();
  letGo();
  await pinged;
  expect(await index()).not.toMatch(/evil|worse/);
});

test("the compressor threads are started for an unknown directory, and not for a known one", async () => {
  const woken = vi.fn();
  const served = new ServedFolder({ woken });
  const put = async (path: string) =>
    served.put(`${amd64}/${path}`, await aDeb({ package: "p", version: `${path.length}` }));
  await put("known/a.deb");
  await served.ping();
  expect(woken).toHaveBeenCalledTimes(1);
  await put("known/bb.deb");
  await served.ping(`${amd64}/known`);
  await put("known/ccc.deb");
  await served.ping(`${amd64}/known/ccc.deb`);
  expect(woken).toHaveBeenCalledTimes(1);
  await put("new/dddd.deb");
  await served.ping(`${amd64}/new`);
  expect(woken).toHaveBeenCalledTimes(2);
});
