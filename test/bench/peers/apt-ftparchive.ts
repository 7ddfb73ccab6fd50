// apt-ftparchive with its cache: it looks at every file again, and reads only the new one. Digests as ours, unsigned.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { run } from "../commands.ts";
import { binaryDirectory } from "../corpus.ts";
import { tools } from "../tools.ts";
import type { Peer, PeerSurroundings } from "./peer.ts";

/** The digests that our indices carry, and no more. */
export const digestOptions = ["-o=APT::FTPArchive::SHA1=false", "-o=APT::FTPArchive::SHA512=false"];

/** What `apt-ftparchive generate` makes below a directory. */
interface Generated {
  /** Where the plain Packages stands. */
  readonly index: string;
  /** Makes all of it; the first time with an empty cache. @returns seconds */
  readonly generate: () => Promise<number>;
}

/** @param contents where Contents are wanted; without them there are none */
export function generated(
  { directory, packages, signal }: Pick<PeerSurroundings, "directory" | "packages" | "signal">,
  contents?: string,
): Generated {
  const index = join(directory, binaryDirectory, "Packages");
  mkdirSync(dirname(index), { recursive: true });
  const archive = packages.slice(0, -binaryDirectory.length);
  const config = join(directory, "generate.conf");
  writeFileSync(
    config,
    `Dir { ArchiveDir "${archive}"; CacheDir "${directory}"; };
Default { Packages::Compress ". gzip xz"; Contents::Compress ". gzip xz"; };
BinDirectory "${binaryDirectory}" { Packages "${index}"; ${contents === undefined ? "" : `Contents "${contents}"; `}BinCacheDB "packages.db"; };
`,
  );
  const args = ["-q", ...digestOptions, "generate", config];
  return { index, generate: async () => (await run("apt-ftparchive", args, { signal })).seconds };
}

export const aptFtparchive: Peer = {
  name: "apt-ftparchive generate + release (plain .gz .xz)",
  tool: tools.aptFtparchive,
  async open({ directory, packages, signal }) {
    const { index, generate } = generated({ directory, packages, signal });
    const dists = join(directory, "dists/sid");
    await generate();
    return {
      async add() {
        const seconds = await generate();
        const released = await run("apt-ftparchive", ["-q", ...digestOptions, "release", dists], { signal });
        writeFileSync(join(dists, "Release"), released.stdout);
        return seconds + released.seconds;
      },
      packages: () => readFileSync(index, "utf8"),
    };
  },
};
