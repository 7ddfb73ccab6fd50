// What the other tools take for a repository with Contents, from nothing to the last file. All unsigned, in their favour.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { run } from "../commands.ts";
import { binaryDirectory } from "../corpus.ts";
import type { Tool } from "../tools.ts";
import { tools } from "../tools.ts";
import { digestOptions } from "./apt-ftparchive.ts";
import { inBatches } from "./copy.ts";
import type { PeerSurroundings } from "./peer.ts";

export interface FirstContents {
  readonly name: string;
  readonly tool: Tool;
  /** @returns the seconds that it took, and the text of Contents */
  make(
    surroundings: Pick<PeerSurroundings, "directory" | "packages" | "signal">,
  ): Promise<{ readonly seconds: number; readonly contents: string }>;
}

const aptFtparchive: FirstContents = {
  name: "apt-ftparchive generate (plain .gz .xz), empty cache",
  tool: tools.aptFtparchive,
  async make({ directory, packages, signal }) {
    const index = join(directory, binaryDirectory, "Packages");
    const contents = join(directory, "dists/sid/main/Contents-amd64");
    mkdirSync(dirname(index), { recursive: true });
    const config = join(directory, "generate.conf");
    const archive = packages.slice(0, -binaryDirectory.length);
    writeFileSync(
      config,
      `Dir { ArchiveDir "${archive}"; CacheDir "${directory}"; };
Default { Packages::Compress ". gzip xz"; Contents::Compress ". gzip xz"; };
BinDirectory "${binaryDirectory}" { Packages "${index}"; Contents "${contents}"; BinCacheDB "packages.db"; };
`,
    );
    const { seconds } = await run("apt-ftparchive", ["-q", ...digestOptions, "generate", config], { signal });
    return { seconds, contents: readFileSync(contents, "utf8") };
  },
};

const reprepro: FirstContents = {
  name: "reprepro includedeb + export (.gz .xz)",
  tool: tools.reprepro,
  async make({ directory, packages, signal }) {
    mkdirSync(join(directory, "conf"), { recursive: true });
    writeFileSync(
      join(directory, "conf/distributions"),
      "Codename: sid\nArchitectures: amd64\nComponents: main\nDebIndices: Packages Release . .gz .xz\n" +
        "Contents: percomponent nocompatsymlink . .gz .xz\n",
    );
    const options = ["-b", directory, "--silent", "--export=silent-never"];
    let seconds = 0;
    const files = readdirSync(packages).map((name) => join(packages, name));
    await inBatches(files, async (batch) => {
      seconds += (await run("reprepro", [...options, "includedeb", "sid", ...batch], { signal })).seconds;
    });
    seconds += (await run("reprepro", ["-b", directory, "export", "sid"], { signal })).seconds;
    return { seconds, contents: readFileSync(join(directory, "dists/sid/main/Contents-amd64"), "utf8") };
  },
};

const aptly: FirstContents = {
  name: "aptly repo add + publish (.gz)",
  tool: tools.aptly,
  async make({ directory, packages, signal }) {
    const config = join(directory, "aptly.conf");
    const settings = { rootDir: join(directory, "root"), architectures: ["amd64", "all"], skipLegacyPool: true };
    writeFileSync(config, JSON.stringify(settings));
    let seconds = 0;
    for (const args of [
      ["repo", "create", "-distribution=sid", "-component=main", "bench"],
      ["repo", "add", "bench", packages],
      ["publish", "repo", "-skip-signing", "-skip-bz2", "-batch", "-architectures=amd64", "bench"],
    ]) {
      seconds += (await run("aptly", [`-config=${config}`, ...args], { signal })).seconds;
    }
    const index = join(directory, "root/public/dists/sid/main/Contents-amd64.gz");
    return { seconds, contents: gunzipSync(readFileSync(index)).toString() };
  },
};

export const firstContents: readonly FirstContents[] = [aptFtparchive, reprepro, aptly];
