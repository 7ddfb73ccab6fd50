// The tree owner's files: master bundle, read cap, each builder's bundle and token, the server's configuration.
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { stringify as formatToml } from "smol-toml";
import { z } from "zod";
import { messageOf, RepoError } from "../../base/errors.ts";
import { withLock } from "../../base/lock-directory.ts";
import type { RepositoryName, Suite } from "../../base/names.ts";
import { isWithin, rootPath } from "../../base/names.ts";
import { createFile, replaceFile } from "../../base/replace-file.ts";
import { makeToken, openSecretFile, writeSecretFile } from "../../base/secret-file.ts";
import { suitePath } from "../../catalog/layout/repository-layout.ts";
import { listsWithOwner } from "../../catalog/suite/owner-rules.ts";
import type { Bundle, BundleDirectory, PingAddress } from "../../client/bundle.ts";
import { formatBundle, readBundle } from "../../client/bundle.ts";
import { readTomlAs } from "../../config/config-values.ts";
import { ConfigurationError } from "../../config/configuration-error.ts";
import type { ReadCap, WriteCap } from "../../storage/tahoe/caps.ts";

/** The directory has no master bundle. */
class NotATree extends RepoError {
  readonly code = "owner/no-tree";
}

/** Settings of a new tree. */
export interface TreeSettings {
  readonly name: RepositoryName;
  readonly gateways: readonly string[];
  /** Additional certificate authorities for the gateways, in PEM. */
  readonly gatewayCa?: string | undefined;
  /** `HOST:PORT` on which the server listens. */
  readonly listen: string;
  /** The server's URL for builders and users, without a trailing slash. */
  readonly publicUrl: string | undefined;
  /** The suites of the tree whose names contain a slash. */
  readonly suitesWithSlash?: readonly Suite[];
}

const builderComment =
  "# The builders that may ping. Written by tahoe-apt, which keeps manual changes only of `packages`.";

const publicUrlComment = `# The server's URL for builders and users. The bundles contain it, too (ping_url).
# public_url = "https://apt.example.org"
`;

const buildersFileSchema = z.object({
  builder: z.array(z.object({ name: z.string(), packages: z.array(z.string()).optional() })).default([]),
});

/** The files of one directory. They refer to each other by relative paths, so the directory can be moved. */
export class OwnerFiles {
  readonly #directory: string;
  readonly #warn: (text: string) => void;
  readonly #signal: AbortSignal;

  /** @param signal aborts waiting for another process that changes these files */
  constructor(directory: string, warn: (text: string) => void, signal = new AbortController().signal) {
    this.#directory = directory;
    this.#warn = warn;
    this.#signal = signal;
  }

  at(...names: readonly string[]): string {
    return join(this.#directory, ...names);
  }

  /** Paths of all files with secrets, sorted. */
  async secrets(): Promise<readonly string[]> {
    const names = (await readdir(this.at("builders")))
      .filter((name) => !name.startsWith("."))
      .toSorted()
      .map((name) => join("builders", name));
    return ["master.bundle", "master.token", "tree.readcap", ...names].map((name) => this.at(name));
  }

  /** Reads the bundle of the whole tree. @throws NotATree, BundleError */
  async master(): Promise<Bundle & { readonly root: WriteCap }> {
    if (!existsSync(this.at("master.bundle"))) {
      throw new NotATree(`${this.#directory} contains no master.bundle: tahoe-apt init did not create this directory`);
    }
    const bundle = await readBundle(this.at("master.bundle"), this.#warn);
    const root = bundle.directories.find(({ path }) => path === rootPath);
    if (root === undefined)
      throw new NotATree(`${this.at("master.bundle")} contains no write cap for the root of a tree`);
    return { ...bundle, root: root.cap };
  }

  /** Reads the master bundle, or creates it with a new root directory. */
  async openMaster(settings: TreeSettings, makeRoot: () => Promise<WriteCap>): ReturnType<OwnerFiles["master"]> {
    await mkdir(this.at("builders"), { recursive: true, mode: 0o700 });
    await this.#withLock(async () => {
      await openSecretFile(this.at("master.bundle"), async () => {
        const token = await openSecretFile(this.at("master.token"), makeToken);
        const { name, gateways, gatewayCa, listen, publicUrl, suitesWithSlash } = settings;
        const ping = { url: `${publicUrl ?? `http://${listen}`}/-/ping/${name}`, token };
        const directories = [{ path: rootPath, cap: await makeRoot() }];
        return formatBundle({ name: "master", gateways, gatewayCa, ping, directories, suitesWithSlash });
      });
    });
    return await this.master();
  }

  /** Adds suites with a slash in their names to the master bundle. */
  async addSuitesWithSlash(suites: readonly Suite[]): Promise<void> {
    await this.#withLock(async () => {
      const { root: _, ...master } = await this.master();
      const known = new Set([...(master.suitesWithSlash ?? []), ...suites]);
      if (known.size === (master.suitesWithSlash ?? []).length) return;
      await writeSecretFile(this.at("master.bundle"), formatBundle({ ...master, suitesWithSlash: [...known] }));
    });
  }

  /** Whether there is a configuration for the server already. */
  hasConfiguration(): boolean {
    return existsSync(this.at("tahoe-apt.toml"));
  }

  /** Writes the server's files. Never changes an existing configuration. @returns whether the configuration is new */
  async writeServerFiles(settings: TreeSettings, readCap: ReadCap): Promise<boolean> {
    await writeSecretFile(this.at("tree.readcap"), readCap);
    await this.#withLock(async () => {
      if (!existsSync(this.at("builders.toml"))) await this.#writeBuilders();
    });
    if (this.hasConfiguration()) return false;
    const { name, gateways, gatewayCa, listen, publicUrl, suitesWithSlash = [] } = settings;
    if (gatewayCa !== undefined) await replaceFile(this.at("gateway-ca.pem"), gatewayCa);
    const values = {
      listen,
      state: "state",
      ...(publicUrl !== undefined && { public_url: publicUrl }),
      repository: [
        {
          name,
          webapi: gateways,
          ...(gatewayCa !== undefined && { gateway_ca_file: "gateway-ca.pem" }),
          readcap_file: "tree.readcap",
          ping_token_file: "master.token",
          builders_file: "builders.toml",
          ...(suitesWithSlash.length > 0 && { suite: Object.fromEntries(suitesWithSlash.map((each) => [each, {}])) }),
        },
      ],
    };
    const comment = publicUrl === undefined ? publicUrlComment : "";
    return await createFile(this.at("tahoe-apt.toml"), `${comment}${formatToml(values)}`, { mode: 0o600 });
  }

  builderFile(name: string): string {
    return this.at("builders", `${name}.bundle`);
  }

  /** The bundles of all builders, by name. */
  async builders(): Promise<ReadonlyMap<string, Bundle>> {
    const names = (await readdir(this.at("builders"))).filter((name) => name.endsWith(".bundle")).toSorted();
    const bundles = new Map<string, Bundle>();
    for (const name of names) {
      bundles.set(name.replace(/\.bundle$/, ""), await readBundle(this.at("builders", name), this.#warn));
    }
    return bundles;
  }

  /**
   * Adds a builder, or adds directories to an existing one.
   * @param packages patterns of the names that it may publish; undefined: unchanged, or all names for a new builder
   */
  async writeBuilder(
    name: string,
    { gateways, gatewayCa, ping, suitesWithSlash = [] }: Bundle,
    directories: readonly BundleDirectory[],
    packages?: readonly string[],
  ): Promise<void> {
    await this.#withLock(async () => {
      const token = await openSecretFile(this.at("builders", `${name}.token`), makeToken);
      const before = (await this.builders()).get(name);
      const kept = (before?.directories ?? []).filter(({ path }) => !directories.some((one) => one.path === path));
      const own: PingAddress | undefined = ping && { url: ping.url, token };
      const all = [...kept, ...directories];
      const suites = [...new Set([...(before?.suitesWithSlash ?? []), ...suitesWithSlash])].filter((suite) =>
        all.some(({ path }) => isWithin(path, suitePath(suite))),
      );
      const bundle = { name, gateways, gatewayCa, ping: own, directories: all, suitesWithSlash: suites };
      await writeSecretFile(this.builderFile(name), formatBundle(bundle));
      const lists = new Map(await this.#packageLists());
      if (packages !== undefined) lists.set(name, packages);
      await this.#writeBuilders(lists);
    });
  }

  /**
   * Makes a builder the only owner of a package name.
   * @returns the changed lists, by builder; undefined if there is no such builder
   * @throws NameError if a pattern in the builder's list excludes the name
   */
  async movePackage(name: string, to: string): Promise<ReadonlyMap<string, readonly string[]> | undefined> {
    return await this.#withLock(async () => {
      if (!(await this.builders()).has(to)) return undefined;
      const lists = await this.#packageLists();
      const changed = listsWithOwner(lists, name, to);
      await this.#writeBuilders(new Map([...lists, ...changed]));
      return changed;
    });
  }

  /**
   * Removes a builder from the list, but keeps its bundle until `removeBuilder`, so that an interrupted revocation can
   * be resumed.
   * @returns its bundle; undefined if there is no such builder
   */
  async forgetBuilder(name: string): Promise<Bundle | undefined> {
    const forgotten = this.at("builders", `${name}.revoked`);
    await this.#withLock(async () => {
      if (existsSync(this.builderFile(name))) await rename(this.builderFile(name), forgotten);
      await this.#writeBuilders();
    });
    return existsSync(forgotten) ? await readBundle(forgotten, this.#warn) : undefined;
  }

  async removeBuilder(name: string): Promise<void> {
    for (const end of ["token", "revoked"]) await rm(this.at("builders", `${name}.${end}`), { force: true });
  }

  /** Reads a file that contains a secret. */
  async reveal(file: string): Promise<string> {
    return await readFile(file, "utf8");
  }

  /** The patterns that each builder may publish; they are stored only in `builders.toml`. */
  async #packageLists(): Promise<ReadonlyMap<string, readonly string[]>> {
    const file = this.at("builders.toml");
    if (!existsSync(file)) return new Map();
    const lists = new Map<string, readonly string[]>();
    for (const { name, packages } of buildersListedIn(file)) {
      if (packages !== undefined) lists.set(name, [...new Set([...(lists.get(name) ?? []), ...packages])]);
    }
    return lists;
  }

  async #writeBuilders(newLists?: ReadonlyMap<string, readonly string[]>): Promise<void> {
    const lists = newLists ?? (await this.#packageLists());
    const builder = [...(await this.builders())].flatMap(([name, { directories }]) => {
      const packages = lists.get(name);
      return directories.map(({ path }) => ({
        name,
        token_file: `builders/${name}.token`,
        directory: path,
        ...(packages && { packages }),
      }));
    });
    const text = `${builderComment}\n${formatToml({ builder })}`;
    await replaceFile(this.at("builders.toml"), text);
  }

  /** Prevents that two concurrent commands read the same state, and one overwrites the change of the other. */
  async #withLock<T>(change: () => Promise<T>): Promise<T> {
    const waiting = (pid: number) =>
      this.#warn(`waiting for process ${pid}, which is also changing ${this.#directory}`);
    return await withLock(this.#directory, "owner", { signal: this.#signal, waiting }, change);
  }
}

/** @throws ConfigurationError with the name of the file and the mistake */
function buildersListedIn(file: string) {
  try {
    return readTomlAs(file, buildersFileSchema).builder;
  } catch (thrown) {
    throw new ConfigurationError([messageOf(thrown)]);
  }
}
