// reprepro: its database is filled once and kept; each run works on a copy. Unsigned, in its favour.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { run } from "../commands.ts";
import { tools } from "../tools.ts";
import { copyForRun, inBatches, prepared } from "./copy.ts";
import type { Peer } from "./peer.ts";

const distributions = (forms: string): string =>
  `Codename: sid\nArchitectures: amd64\nComponents: main\nDebIndices: Packages Release ${forms}\n`;

/** @param forms of Packages that it writes, e.g. `. .gz .xz` */
export const reprepro = (forms: string): Peer => ({
  name: `reprepro includedeb (${forms.replace(". .", "plain .")})`,
  tool: tools.reprepro,
  async open({ directory, packages, count, kept, signal }) {
    const filled = await prepared(join(kept, `reprepro-${count}`), async (base) => {
      mkdirSync(join(base, "conf"), { recursive: true });
      writeFileSync(join(base, "conf/distributions"), distributions(".gz"));
      const files = readdirSync(packages).map((name) => join(packages, name));
      const options = ["-b", base, "--silent", "--export=silent-never"];
      await inBatches(files, (batch) => run("reprepro", [...options, "includedeb", "sid", ...batch], { signal }));
      await run("reprepro", ["-b", base, "export", "sid"], { signal });
    });
    await copyForRun(filled, directory, ["db", "conf"], signal);
    writeFileSync(join(directory, "conf/distributions"), distributions(forms));
    await run("reprepro", ["-b", directory, "export", "sid"], { signal });
    return {
      async add(deb) {
        return (await run("reprepro", ["-b", directory, "--silent", "includedeb", "sid", deb], { signal })).seconds;
      },
      packages: () => gunzipSync(readFileSync(join(directory, "dists/sid/main/binary-amd64/Packages.gz"))).toString(),
    };
  },
});
