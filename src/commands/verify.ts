// `tahoe-apt verify`: checks a public server against a tree, for anybody who has its read cap.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { text } from "node:stream/consumers";
import type { Command } from "commander";
import type { Key } from "openpgp";
import { systemClock } from "../base/clock.ts";
import { fileReasonOf, RepoError } from "../base/errors.ts";
import { silentLog } from "../base/log.ts";
import type { Suite } from "../base/names.ts";
import { joinPath, parseSuite, rootPath } from "../base/names.ts";
import { distsPath, plainLayout, suitePath } from "../catalog/layout/repository-layout.ts";
import type { Configuration, RepositoryConfiguration } from "../config/configuration.ts";
import { ConfigurationError } from "../config/configuration-error.ts";
import type { Flags } from "../config/load-config.ts";
import { loadConfiguration } from "../config/load-config.ts";
import { digestAlgorithms } from "../debian/digests.ts";
import { packagesDigestField } from "../indices/fields.ts";
import { maxReleaseBytes } from "../indices/release.ts";
import type { Placement } from "../publishing/build/stanza-renderer.ts";
import type { Repository } from "../publishing/live/repository.ts";
import { indexPath } from "../publishing/store/publication.ts";
import { inTemporaryDirectory, withOfflineRepository } from "../server/offline-repository.ts";
import { openTree } from "../server/open-tree.ts";
import { layoutOf } from "../server/repository-settings.ts";
import { unsigned } from "../signing/unsigned.ts";
import { fingerprintOf, readPublicKeys, verifyDetached, verifyInRelease } from "../signing/verify.ts";
import { withoutEntryMetadata } from "../storage/decorators/metadata-free-tree.ts";
import { RemoteServer } from "../upstream/remote-server.ts";
import type { SignedFiles, Verification, VerifiedServer } from "../verify/verify-suite.ts";
import { verifySuite } from "../verify/verify-suite.ts";
import { argument, gatewayCaOption, repeatable } from "./shared/arguments.ts";
import { print, printable, warn } from "./shared/terminal.ts";

/** The tree contains nothing to compare the server with. */
class NothingToVerify extends RepoError {
  readonly code = "verify/nothing";
}

const exitCodes = { differs: 3 } as const;
const maxKeyBytes = 1024 ** 2;
/** How much of an index is read to get one complete stanza. */
const maxStanzaBytes = 1024 ** 2;
/** How far the server's clock may be ahead of the local one. apt allows this for Date, but apt 3 not for signatures. */
const allowedAheadMs = 10_000;

const help = `
URL is the repository's root, e.g. https://apt.example.org/debian. The server is not trusted, and no token is needed:
verify checks signatures, fetches every listed file by name and through by-hash, generates the indices from the tree
and compares them with the server's stanza by stanza, and compares the packages with their hashes. Uploaders' metadata
is not trusted either: the packages in the tree are read. Views, overrides and owners of names are in the server's
configuration: without --config they appear as differences, and so does always the generated keyring package. A suite
with a slash in its name, such as bookworm/updates, must be named by --suite or the configuration.

Examples:
  tahoe-apt verify --webapi http://127.0.0.1:3456 --readcap-file debian.readcap https://apt.example.org/debian
  tahoe-apt verify --config /etc/tahoe-apt.toml --key debian.asc --packages 50 --json http://localhost:8380/debian

Exit codes: 0 no differences, 1 the check failed, 2 wrong arguments, 3 differences.
`;

interface VerifyFlags extends Pick<Flags, "config" | "webapi" | "readcapFile" | "gatewayCaFile" | "folder"> {
  readonly suite?: readonly string[];
  readonly key?: string;
  readonly packages: string;
  readonly state?: string;
  readonly json?: boolean;
}

/** @param stopSignal returns a signal that is aborted when the process must stop */
export function addVerify(commands: Command, stopSignal: () => AbortSignal): void {
  commands
    .command("verify")
    .description("Compare a public server with a tree.")
    .argument("<url>", "the repository's root on the server")
    .option("--config <file>", "a server's configuration; the last part of URL selects the repository")
    .option("--webapi <url>", "the Tahoe gateway; repeatable: if one fails, the next is used", repeatable)
    .option("--readcap-file <file>", "the file that holds the tree's read cap")
    .addOption(gatewayCaOption())
    .option("--folder <directory>", "a local folder instead of a Tahoe tree")
    .option("--suite <name>", "only this suite; repeatable (default: all suites of the tree)", repeatable)
    .option("--key <file>", "the armoured public key for signatures (default: the server's key.asc)")
    .option("--packages <count>", "how many packages to fetch for each suite: a number, all or none", "all")
    .option("--state <directory>", "a directory to cache inspections of the tree for the next run (default: no cache)")
    .option("--json", "print a line of JSON for each suite")
    .addHelpText("after", help)
    .action(async (url: string, flags: VerifyFlags) => {
      process.exitCode = await verify(url.replace(/\/+$/, ""), flags, stopSignal());
    });
}

async function verify(url: string, flags: VerifyFlags, signal: AbortSignal): Promise<number> {
  const maxPackages = packagesOf(flags.packages);
  const suites = flags.suite?.map((raw) => argument("--suite", () => parseSuite(raw)));
  const server = new RemoteServer(url, signal, systemClock);
  const keys = await keysOf(flags.key, server);
  const { config, webapi, readcapFile, gatewayCaFile, folder } = flags;
  const configuration = loadConfiguration({ config, webapi, readcapFile, gatewayCaFile, folder });
  const named = decodeURIComponent(url.slice(url.lastIndexOf("/") + 1));
  const configured = configuration.repositories.find(({ name }) => name === named) ?? configuration.repositories[0];
  if (configured === undefined) throw new ConfigurationError(["--config: contains no repository"]);
  const chosen = suites ?? (await suitesIn(configured, configuration, signal));
  const check = async (stateDirectory: string): Promise<number> => {
    const withState: Configuration = { ...configuration, stateDirectory, acceptIdentityChange: true };
    const { repository: repositoryConfiguration, placement } = await renderedLike(server, chosen, configured);
    const options = {
      configuration: withState,
      one: repositoryConfiguration,
      signer: unsigned,
      shown: withoutEntryMetadata,
      settings: { placement },
      log: silentLog,
    };
    return await withOfflineRepository(options, async (repository) => {
      await repository.ping(rootPath, signal);
      let differs = false;
      for (const suite of chosen) {
        const verification = await verifySuite({
          suite,
          server,
          ...expectedIndices(suite, repository, signal),
          signatures: (signed) => signatureProblemsOf(signed, keys),
          maxPackages,
          signal,
        });
        await printVerification(suite, verification, flags.json ?? false);
        differs ||= verification.findings.length > 0;
      }
      return differs ? exitCodes.differs : 0;
    });
  };
  return flags.state === undefined ? await inTemporaryDirectory(check) : await check(resolve(flags.state));
}

function packagesOf(raw: string): number {
  if (raw === "all") return Number.POSITIVE_INFINITY;
  if (raw === "none") return 0;
  if (!/^\d{1,9}$/.test(raw)) throw new ConfigurationError(["--packages: must be a number, all or none"]);
  return Number(raw);
}

async function keysOf(file: string | undefined, server: VerifiedServer): Promise<readonly Key[]> {
  if (file !== undefined) {
    try {
      return await readPublicKeys(await readFile(file, "utf8"));
    } catch (thrown) {
      throw new ConfigurationError([`--key ${file}: ${fileReasonOf(thrown)}`]);
    }
  }
  const served = await server.read("key.asc", maxKeyBytes);
  if (served === undefined) throw new ConfigurationError(["--key: is required because the server has no key.asc"]);
  const keys = await readPublicKeys(served.toString());
  warn(`trusting the server's own key, ${keys.map(fingerprintOf).join(", ")}; use --key for a key that you know`);
  return keys;
}

async function suitesIn(
  repositoryConfiguration: RepositoryConfiguration,
  { limits }: Configuration,
  signal: AbortSignal,
): Promise<readonly Suite[]> {
  const tree = openTree(repositoryConfiguration.tree, limits, undefined, (each) => each);
  const dists = await tree.look(distsPath, signal);
  const names = dists?.kind === "directory" ? [...dists.entries] : [];
  const suites = names.flatMap(([name, { kind }]) =>
    kind === "directory" ? (plainLayout.suiteOf(joinPath(distsPath, name)) ?? []) : [],
  );
  for (const suite of layoutOf(repositoryConfiguration).nestedSuites) {
    if ((await tree.look(suitePath(suite), signal))?.kind === "directory") suites.push(suite);
  }
  if (suites.length === 0) throw new NothingToVerify("the tree has no suite to compare the server with");
  return suites.toSorted();
}

/**
 * Returns a configuration with the same rendering options as the server has. The server may choose these options, so
 * such a difference is not an error.
 */
async function renderedLike(
  server: VerifiedServer,
  suites: readonly Suite[],
  configured: RepositoryConfiguration,
): Promise<{ readonly repository: RepositoryConfiguration; readonly placement: Placement }> {
  const translated = new Set<Suite>();
  let stanza: string | undefined;
  for (const suite of suites) {
    const release = (await server.read(`dists/${suite}/Release`, maxReleaseBytes))?.toString() ?? "";
    if (/ \S+\/i18n\/Translation-en$/m.test(release)) translated.add(suite);
    for (const [, path] of release.matchAll(/ (\S+\/Packages)$/gm)) {
      stanza ??= /^(?:.+\n)+/.exec(
        (await server.readStart(`dists/${suite}/${path}`, maxStanzaBytes))?.toString() ?? "",
      )?.[0];
    }
  }
  const hasField = (field: string) => stanza?.includes(`\n${field}: `) ?? false;
  // Each suite gets a table: nothing in a tree distinguishes a suite with a slash from a suite and a component.
  const rendered = suites.map((suite) => {
    const own = configured.suites.get(suite);
    return [suite, { ...own, translations: translated.has(suite) }] as const;
  });
  return {
    placement: stanza === undefined || stanza.includes("\nFilename: pool/SHA256/") ? "pool" : "tree",
    repository: {
      ...configured,
      suites: new Map([...configured.suites, ...rendered]),
      digests:
        stanza === undefined
          ? configured.digests
          : digestAlgorithms.filter((algorithm) => algorithm === "sha256" || hasField(packagesDigestField[algorithm])),
    },
  };
}

/** The indices of a suite, generated from the tree. */
function expectedIndices(suite: Suite, repository: Repository, signal: AbortSignal) {
  const publication = [...repository.publications()].find((each) => each.suite === suite);
  const indices = (publication?.indices ?? []).filter(({ late }) => late === undefined);
  return {
    indices: indices.map((index) => indexPath(index, "plain")),
    expected: async (path: string): Promise<string | undefined> => {
      const resource = await repository.find(`dists/${suite}/${path}`, { signal });
      if (resource === undefined) return undefined;
      const body = await resource.read({ start: 0 }, signal);
      return body instanceof Uint8Array ? Buffer.from(body).toString() : await text(body);
    },
  };
}

async function signatureProblemsOf(signed: SignedFiles, keys: readonly Key[]): Promise<readonly string[]> {
  const now = new Date(systemClock() + allowedAheadMs);
  const inRelease = await verifyInRelease(signed.inRelease, keys, now);
  const detached = await verifyDetached(signed.release, signed.releaseGpg, keys, now);
  const problems: string[] = [];
  for (const [name, { goodFingerprints, complaints: own }] of [
    ["InRelease", inRelease],
    ["Release.gpg", detached],
  ] as const) {
    if (goodFingerprints.length === 0)
      problems.push(`${name} has no good signature: ${own.join("; ") || "signed by none of the keys"}`);
  }
  if (inRelease.text !== undefined && inRelease.text !== signed.release) {
    problems.push("InRelease and Release have different contents");
  }
  return problems;
}

async function printVerification(
  suite: Suite,
  { findings, indices, packages }: Verification,
  json: boolean,
): Promise<void> {
  if (json) {
    await print(JSON.stringify({ suite, indices, packages, findings }));
    return;
  }
  for (const { path, text: description } of findings) await print(`${printable(path)}: ${printable(description)}`);
  const count = findings.length;
  const verdict = count === 0 ? "no differences" : `${count} ${count === 1 ? "difference" : "differences"}`;
  await print(`${suite}: ${verdict}; ${indices} indices and ${packages} packages were compared with the tree`);
}
