// apt-ftparchive with its cache: it looks at every file again, and reads only the new one. Digests as ours, unsigned.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { run } from "../commands.ts";
import { binaryDirectory } from "../corpus.ts";
import { tools } from "../tools.ts";
import type { Peer } from "./peer.ts";

/** The digests that our indices carry, and no more. */
export const digestOptions = ["-o=APT::FTPArchive::SHA1=false", "-o=APT::FTPArchive::SHA512=false"];

export const aptFtparchive: Peer = {
  name: "apt-ftparchive generate + release (plain .gz .xz)",
  tool: tools.aptFtparchive,
  async open({ directory, packages, signal }) {
    const index = join(directory, binaryDirectory, "Packages");
    const dists = join(directory, "dists/sid");
    mkdirSync(dirname(index), { recursive: true });
    const archive = packages.slice(0, -binaryDirectory.length);
    const config = join(directory, "generate.conf");
    writeFileSync(
      config,
      `Dir { ArchiveDir "${archive}"; CacheDir "${directory}"; };
Default { Packages::Compress ". gzip xz"; };
BinDirectory "${binaryDirectory}" { Packages "${index}"; BinCacheDB "packages.db"; };
`,
    );
    const generate = () => run("apt-ftparchive", ["-q", ...digestOptions, "generate", config], { signal });
    await generate();
    return {
      async add() {
        const generated = await generate();
        const released = await run("apt-ftparchive", ["-q", ...digestOptions, "release", dists], { signal });
        writeFileSync(join(dists, "Release"), released.stdout);
        return generated.seconds + released.seconds;
      },
      packages: () => readFileSync(index, "utf8"),
    };
  },
};
