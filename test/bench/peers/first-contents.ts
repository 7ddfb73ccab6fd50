// What the other tools take for a repository with Contents, from nothing to the last file, and then for one package more.
// All unsigned, in their favour.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { run } from "../commands.ts";
import type { Tool } from "../tools.ts";
import { tools } from "../tools.ts";
import { generated } from "./apt-ftparchive.ts";
import { inBatches } from "./copy.ts";
import type { PeerSurroundings } from "./peer.ts";

export interface FirstContents {
  readonly name: string;
  readonly tool: Tool;
  make(surroundings: Pick<PeerSurroundings, "directory" | "packages" | "signal">): Promise<RepositoryWithContents>;
}

/** A repository that one of the others has made. */
export interface RepositoryWithContents {
  /** How long that took. */
  readonly seconds: number;
  /** The text of Contents as it stands now. */
  contents(): string;
  /** Makes it anew with one package more, which lies among the others by now. @returns seconds */
  add(deb: string): Promise<number>;
}

const aptFtparchive: FirstContents = {
  name: "apt-ftparchive generate (plain .gz .xz), empty cache",
  tool: tools.aptFtparchive,
  async make(surroundings) {
    const contents = join(surroundings.directory, "dists/sid/main/Contents-amd64");
    const { generate } = generated(surroundings, contents);
    return { seconds: await generate(), contents: () => readFileSync(contents, "utf8"), add: generate };
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
    return {
      seconds,
      contents: () => readFileSync(join(directory, "dists/sid/main/Contents-amd64"), "utf8"),
      add: async (deb) =>
        (await run("reprepro", ["-b", directory, "--silent", "includedeb", "sid", deb], { signal })).seconds,
    };
  },
};

const aptly: FirstContents = {
  name: "aptly repo add + publish (.gz)",
  tool: tools.aptly,
  async make({ directory, packages, signal }) {
    const config = join(directory, "aptly.conf");
    const settings = { rootDir: join(directory, "root"), architectures: ["amd64", "all"], skipLegacyPool: true };
    writeFileSync(config, JSON.stringify(settings));
    const aptly = async (...commands: readonly (readonly string[])[]): Promise<number> => {
      let seconds = 0;
      for (const args of commands) seconds += (await run("aptly", [`-config=${config}`, ...args], { signal })).seconds;
      return seconds;
    };
    const lean = ["-skip-signing", "-skip-bz2", "-batch"];
    return {
      seconds: await aptly(
        ["repo", "create", "-distribution=sid", "-component=main", "bench"],
        ["repo", "add", "bench", packages],
        ["publish", "repo", ...lean, "-architectures=amd64", "bench"],
      ),
      contents: () =>
        gunzipSync(readFileSync(join(directory, "root/public/dists/sid/main/Contents-amd64.gz"))).toString(),
      add: (deb) => aptly(["repo", "add", "bench", deb], ["publish", "update", ...lean, "sid"]),
    };
  },
};

export const firstContents: readonly FirstContents[] = [aptFtparchive, reprepro, aptly];
