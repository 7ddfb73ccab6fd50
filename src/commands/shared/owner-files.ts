// The files of a tree's owner: the master bundle, the read cap, each builder's bundle and token, the server's configuration.
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

/** There is no tree's master bundle where one is needed. */
class NotATree extends RepoError {
  readonly code = "owner/no-tree";
}

/** What a new tree is told of itself. */
export interface TreeSettings {
  readonly name: RepositoryName;
  readonly gateways: readonly string[];
  /** Certificates, in PEM, that are trusted for the gateways beside those that everybody trusts. */
  readonly gatewayCa?: string | undefined;
  /** `HOST:PORT` for the server. */
  readonly listen: string;
  /** As builders and people reach the server, without a trailing slash. */
  readonly publicUrl: string | undefined;
  /** Those of its suites that have a slash in their names. */
  readonly suitesWithSlash?: readonly Suite[];
}

const builderComment =
  "# The builders that may ping. Written by tahoe-apt: of changes by hand those of `packages` alone are kept.";

const listsInFile = z.object({
  builder: z.array(z.object({ name: z.string(), packages: z.array(z.string()).optional() })).default([]),
});

/** All names of files are relative to the directory, so that it can be moved as a whole. */
export class OwnerFiles {
  readonly #directory: string;
  readonly #complain: (text: string) => void;
  readonly #signal: AbortSignal;

  /** @param signal ends waiting for another process that changes these files */
  constructor(directory: string, complain: (text: string) => void, signal = new AbortController().signal) {
    this.#directory = directory;
    this.#complain = complain;
    this.#signal = signal;
  }

  at(...names: readonly string[]): string {
    return join(this.#directory, ...names);
  }

  /** Every file that holds a secret, sorted. */
  async secrets(): Promise<readonly string[]> {
    const names = (await readdir(this.at("builders")))
      .filter((name) => !name.startsWith("."))
      .toSorted()
      .map((name) => join("builders", name));
    return ["master.bundle", "master.token", "tree.readcap", ...names].map((name) => this.at(name));
  }

  /** The bundle of the whole tree. @throws NotATree, BundleError */
  async master(): Promise<Bundle & { readonly root: WriteCap }> {
    if (!existsSync(this.at("master.bundle"))) {
      throw new NotATree(`${this.#directory} holds no master.bundle: it is no directory that tahoe-apt init made`);
    }
    const bundle = await readBundle(this.at("master.bundle"), this.#complain);
    const root = bundle.directories.find(({ path }) => path === rootPath);
    if (root === undefined) throw new NotATree(`${this.at("master.bundle")} holds no write cap of a tree's root`);
    return { ...bundle, root: root.cap };
  }

  /** The master bundle that is there, or one of a root that is made now. */
  async openMaster(settings: TreeSettings, makeRoot: () => Promise<WriteCap>): ReturnType<OwnerFiles["master"]> {
    await mkdir(this.at("builders"), { recursive: true, mode: 0o700 });
    await this.#alone(async () => {
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

  /** Lets the master bundle know suites with a slash in their names. */
  async addSuitesWithSlash(suites: readonly Suite[]): Promise<void> {
    await this.#alone(async () => {
      const { root: _, ...master } = await this.master();
      const known = new Set([...(master.suitesWithSlash ?? []), ...suites]);
      if (known.size === (master.suitesWithSlash ?? []).length) return;
      await writeSecretFile(this.at("master.bundle"), formatBundle({ ...master, suitesWithSlash: [...known] }));
    });
  }

  /** @returns whether the configuration is new: one that is there is its owner's to change */
  async writeServerFiles(settings: TreeSettings, readCap: ReadCap): Promise<boolean> {
    await writeSecretFile(this.at("tree.readcap"), readCap);
    await this.#alone(async () => {
      if (!existsSync(this.at("builders.toml"))) await this.#writeBuilders();
    });
    if (existsSync(this.at("tahoe-apt.toml"))) return false;
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
    return await createFile(this.at("tahoe-apt.toml"), formatToml(values), { mode: 0o600 });
  }

  builderFile(name: string): string {
    return this.at("builders", `${name}.bundle`);
  }

  /** Every builder that has a bundle here, by name. */
  async builders(): Promise<ReadonlyMap<string, Bundle>> {
    const names = (await readdir(this.at("builders"))).filter((name) => name.endsWith(".bundle")).toSorted();
    const bundles = new Map<string, Bundle>();
    for (const name of names) {
      bundles.set(name.replace(/\.bundle$/, ""), await readBundle(this.at("builders", name), this.#complain));
    }
    return bundles;
  }

  /**
   * Makes a builder known to the server, or its bundle larger.
   * @param packages patterns of the names that it may publish; undefined: as before, and all for a new builder
   */
  async writeBuilder(
    name: string,
    { gateways, gatewayCa, ping, suitesWithSlash = [] }: Bundle,
    directories: readonly BundleDirectory[],
    packages?: readonly string[],
  ): Promise<void> {
    await this.#alone(async () => {
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
      const lists = new Map(await this.#packages());
      if (packages !== undefined) lists.set(name, packages);
      await this.#writeBuilders(lists);
    });
  }

  /**
   * Gives a name to one builder alone.
   * @returns the lists that became others, by builder; undefined if there is no such builder
   * @throws NameError where the builder's list excludes the name by a pattern
   */
  async movePackage(name: string, to: string): Promise<ReadonlyMap<string, readonly string[]> | undefined> {
    return await this.#alone(async () => {
      if (!(await this.builders()).has(to)) return undefined;
      const lists = await this.#packages();
      const changed = listsWithOwner(lists, name, to);
      await this.#writeBuilders(new Map([...lists, ...changed]));
      return changed;
    });
  }

  /**
   * Takes a builder out of those that are known, for good: what follows may be interrupted and begun again.
   * @returns its bundle, until `removeBuilder`; undefined if there is no such builder
   */
  async forgetBuilder(name: string): Promise<Bundle | undefined> {
    const forgotten = this.at("builders", `${name}.revoked`);
    await this.#alone(async () => {
      if (existsSync(this.builderFile(name))) await rename(this.builderFile(name), forgotten);
      await this.#writeBuilders();
    });
    return existsSync(forgotten) ? await readBundle(forgotten, this.#complain) : undefined;
  }

  async removeBuilder(name: string): Promise<void> {
    for (const end of ["token", "revoked"]) await rm(this.at("builders", `${name}.${end}`), { force: true });
  }

  /** The contents of a secret's file. */
  async reveal(file: string): Promise<string> {
    return await readFile(file, "utf8");
  }

  /** The names that builders may publish, by builder: they stand in `builders.toml` alone. */
  async #packages(): Promise<ReadonlyMap<string, readonly string[]>> {
    const file = this.at("builders.toml");
    if (!existsSync(file)) return new Map();
    const lists = new Map<string, readonly string[]>();
    for (const { name, packages } of buildersListedIn(file)) {
      if (packages !== undefined) lists.set(name, [...new Set([...(lists.get(name) ?? []), ...packages])]);
    }
    return lists;
  }

  async #writeBuilders(known?: ReadonlyMap<string, readonly string[]>): Promise<void> {
    const lists = known ?? (await this.#packages());
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

  /** What is written depends on what was read: two commands at once must not read the same. */
  async #alone<T>(change: () => Promise<T>): Promise<T> {
    const waiting = (pid: number) => this.#complain(`waiting for process ${pid}, which changes ${this.#directory} too`);
    return await withLock(this.#directory, "owner", { signal: this.#signal, waiting }, change);
  }
}

/** @throws ConfigurationError that names the file, and what is wrong with it */
function buildersListedIn(file: string) {
  try {
    return readTomlAs(file, listsInFile).builder;
  } catch (thrown) {
    throw new ConfigurationError([messageOf(thrown)]);
  }
}
