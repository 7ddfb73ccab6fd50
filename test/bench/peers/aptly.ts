// aptly: a local repository, published anew after each package. Without Contents, bzip2 and signatures, in its favour.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { run } from "../commands.ts";
import { tools } from "../tools.ts";
import { copyForRun, prepared } from "./copy.ts";
import type { Peer } from "./peer.ts";

const lean = ["-skip-contents", "-skip-signing", "-skip-bz2", "-batch"];

export const aptly: Peer = {
  name: "aptly repo add + publish update (plain .gz)",
  tool: tools.aptly,
  async open({ directory, packages, count, kept, signal }) {
    // The configuration is outside of the root, which may be kept.
    const within = (root: string, config: string) => {
      writeFileSync(config, JSON.stringify({ rootDir: root, architectures: ["amd64", "all"], skipLegacyPool: true }));
      return (...args: readonly string[]) => run("aptly", [`-config=${config}`, ...args], { signal });
    };
    const filled = await prepared(join(kept, `aptly-${count}`), async (base) => {
      mkdirSync(base, { recursive: true });
      const command = within(base, `${directory}-kept.conf`);
      await command("repo", "create", "-distribution=sid", "-component=main", "bench");
      await command("repo", "add", "bench", packages);
    });
    await copyForRun(filled, directory, ["db"], signal);
    const command = within(directory, `${directory}.conf`);
    await command("publish", "repo", ...lean, "-architectures=amd64", "bench");
    return {
      async add(deb) {
        const added = await command("repo", "add", "bench", deb);
        return added.seconds + (await command("publish", "update", ...lean, "sid")).seconds;
      },
      packages: () =>
        gunzipSync(readFileSync(join(directory, "public/dists/sid/main/binary-amd64/Packages.gz"))).toString(),
    };
  },
};
