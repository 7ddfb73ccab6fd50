// Imports an existing repository: reads its indices, stores what the tree lacks, publishes it in one write per
// directory, removes what went away, and pings the server.
import { sleep } from "../../base/abort.ts";
import { backoffMs } from "../../base/backoff.ts";
import type { Clock } from "../../base/clock.ts";
import { limitMessage, messageOf } from "../../base/errors.ts";
import { forEachConcurrent } from "../../base/for-each-concurrent.ts";
import type { TreePath } from "../../base/names.ts";
import { isEntryName, joinPath, lastName, parseArchitecture, parseTreePath } from "../../base/names.ts";
import { packageKindOf } from "../../catalog/inspection/inspect.ts";
import { defaultInspectLimits } from "../../catalog/inspection/inspect-limits.ts";
import type {
  Inspection,
  PackageKind,
  RejectCode,
  SoundInspection,
  SourcePart,
} from "../../catalog/inspection/inspection.ts";
import type { InspectorPool } from "../../catalog/inspection/inspector-pool.ts";
import type { Layout, PackageDirectory } from "../../catalog/layout/repository-layout.ts";
import { checkBinaryControl } from "../../debian/control.ts";
import { Deb822Error, parseStanza } from "../../debian/deb822.ts";
import { Malformed } from "../../debian/malformed.ts";
import { fieldOf } from "../../debian/stanza.ts";
import type { ReleaseTrust } from "../../upstream/release-file.ts";
import { ServerUnavailable } from "../../upstream/remote-server.ts";
import type { RepositoryFiles } from "../../upstream/repository-files.ts";
import { UnusableRepository } from "../../upstream/unusable-repository.ts";
import type { PingAddress } from "../bundle.ts";
import type { LinkState, LinkStateTexts } from "../change-failed.ts";
import { ChangeFailed } from "../change-failed.ts";
import type { WaitingObserver } from "../ping-client.ts";
import { pingUntilLive } from "../ping-client.ts";
import { findProblems, orderOf } from "../upload/assign-directories.ts";
import type { LocalFile } from "../upload/local-files.ts";
import { checkListed, digestOf, openListed } from "./checked-content.ts";
import type { ImportedPackage, ImportOutcome, ImportProblem, ImportStep } from "./import-outcome.ts";
import type { ImportRecord, RecordedFile } from "./import-record.ts";
import { recordNameOf } from "./import-record.ts";
import type { DirectoryChange, ImportTarget, StoredFile, TargetDirectory, WantedFile } from "./import-target.ts";
import type { PackageSelection, SuiteChoice, WantedPackage, WantedSuite } from "./wanted-packages.ts";
import { readWantedSuite } from "./wanted-packages.ts";

export interface ImportOptions {
  readonly suites: readonly SuiteChoice[];
  readonly selection: PackageSelection;
  readonly trust: ReleaseTrust;
  /** Whether a file may replace one of the same name with different bytes. */
  readonly mayReplace: boolean;
  /** Whether a Release may be older than the last imported one. */
  readonly mayBeOlder: boolean;
  /** Whether to remove what an earlier import brought and the repository no longer lists. */
  readonly removesGone: boolean;
  readonly isDryRun: boolean;
  /** Distinguishes suites with a slash from components. */
  readonly layout: Layout;
  readonly ping: PingAddress | undefined;
  /** How long to wait after publishing until all packages are live, in ms. */
  readonly timeoutMs: number;
}

/** Receives the progress, for users. */
export interface ImportObserver {
  finished(step: ImportStep, seconds: number): void;
  /** Called when more bytes are stored; negative if a file starts again. */
  stored(bytes: number, totalBytes: number): void;
  note(text: string): void;
  /** Called if the server does not respond, or the change is not live yet. */
  waiting: WaitingObserver;
}

export interface ImportEnvironment {
  readonly source: RepositoryFiles;
  readonly target: ImportTarget;
  readonly pool: InspectorPool;
  readonly observer: ImportObserver;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Files that are passed to the target at the same time, which limits how many it fetches and stores. */
const concurrentFiles = 256;
/** Directories that are compared with the repository at the same time. */
const concurrentDirectories = 4;
/** How often a request is tried when a server does not respond. */
const maxAttempts = 3;
const retryLimits = { firstDelayMs: 500, maxDelayMs: 5_000 } as const;

const linkStateTexts: LinkStateTexts = {
  unknown: "some directories may be changed already; the same command finishes it",
  all: "all packages are in the tree",
};

/**
 * Imports a repository. Can be interrupted and called again: what is in the tree already is not fetched again.
 * @throws ChangeFailed
 */
export async function importRepository(options: ImportOptions, environment: ImportEnvironment): Promise<ImportOutcome> {
  const run = new Import(options, environment);
  try {
    return await run.run();
  } catch (thrown) {
    throw new ChangeFailed(thrown, run.linked, linkStateTexts);
  }
}

/** A package that the tree lacks, or whose files it lacks. */
interface NewPackage {
  readonly wanted: WantedPackage;
  readonly directory: DirectoryPlan;
  /** All its files that have to be stored. */
  readonly missing: readonly StoredFile[];
  /** Its files that the directory has already. */
  readonly present: readonly StoredFile[];
  rejection: { readonly code: RejectCode; readonly reason: string } | undefined;
}

/** One directory of the tree, and one suite of the repository that fills it. */
interface DirectoryPlan {
  readonly path: TreePath;
  readonly location: PackageDirectory;
  readonly suite: WantedSuite;
  readonly recordName: string;
  readonly wanted: WantedPackage[];
  readonly before: TargetDirectory;
  /** Files of the repository that are in the directory, for the record. */
  readonly kept: Map<string, RecordedFile>;
  readonly added: NewPackage[];
  /** Files of earlier imports that the repository no longer lists. */
  readonly gone: Map<string, RecordedFile>;
}

class Import {
  linked: LinkState = "none";
  readonly #options: ImportOptions;
  readonly #environment: ImportEnvironment;
  readonly #seconds: { [Name in ImportStep]?: number } = {};
  readonly #problems: ImportProblem[] = [];
  readonly #inspections = new Map<string, Inspection>();
  #bytes = 0;

  constructor(options: ImportOptions, environment: ImportEnvironment) {
    this.#options = options;
    this.#environment = environment;
  }

  async run(): Promise<ImportOutcome> {
    const suites = await this.#timed("read", () => this.#readSuites());
    if (this.#problems.length === 0) this.#checkSelection(suites);
    const common = { suites: suites.map(describeSuite), bytes: 0, seconds: this.#seconds };
    const empty = { packages: [], removed: [], gone: [] };
    if (this.#problems.length > 0) return { ...common, ...empty, problems: this.#problems, status: "refused" };
    const plans = await this.#timed("compare", () => this.#compare(suites));
    if (this.#problems.length > 0) return { ...common, ...empty, problems: this.#problems, status: "refused" };
    await this.#timed("store", () => this.#store(plans));
    for (const plan of plans) this.#checkPlacements(plan);
    const outcome = { ...common, ...this.#goneOf(plans), bytes: this.#bytes, problems: this.#problems };
    const packages = plans.flatMap(({ added }) => added.map((each) => this.#describe(each)));
    if (this.#problems.length > 0)
      return {
        ...outcome,
        packages: packages.filter(({ state }) => state === "rejected"),
        removed: [],
        status: "refused",
      };
    if (this.#options.isDryRun) return { ...outcome, packages, status: "planned" };
    const changed = await this.#timed("publish", () => this.#publish(plans));
    const final = await this.#pinged(changed, packages);
    const status = this.#statusOf(final, changed.length > 0);
    return { ...outcome, packages: final, status };
  }

  #statusOf(packages: readonly ImportedPackage[], isChanged: boolean): ImportOutcome["status"] {
    const states = new Set(packages.map(({ state }) => state));
    if (states.has("rejected")) return "rejected";
    if (!isChanged) return "nothing";
    return states.has("linked") || this.#options.ping === undefined ? "linked" : "live";
  }

  async #timed<T>(step: ImportStep, work: () => Promise<T>): Promise<T> {
    const startedMs = this.#environment.clock();
    const result = await work();
    const seconds = (this.#environment.clock() - startedMs) / 1000;
    this.#seconds[step] = seconds;
    this.#environment.observer.finished(step, seconds);
    return result;
  }

  async #readSuites(): Promise<readonly WantedSuite[]> {
    const { suites, trust, selection } = this.#options;
    const found: WantedSuite[] = [];
    for (const choice of suites) {
      const { source, clock } = this.#environment;
      const read = () => readWantedSuite(source, choice, trust, selection, clock());
      const suite = await this.#unlessUnusable(() => this.#retried(read));
      if (suite !== undefined) found.push(suite);
    }
    return found;
  }

  /** A misspelt name would otherwise import nothing, without a word. */
  #checkSelection(suites: readonly WantedSuite[]): void {
    const { components, architectures } = this.#options.selection;
    const offers = suites.map(({ offered }) => offered);
    const check = (what: string, named: Iterable<string>, offered: readonly string[]) => {
      for (const name of named) {
        if (offered.includes(name)) continue;
        const reason = `no chosen suite has it: they have ${[...new Set(offered)].toSorted().join(", ") || "none"}`;
        this.#addProblem({ code: "upstream/absent", file: `${what} ${name}`, reason });
      }
    };
    check(
      "--component",
      components ?? [],
      offers.flatMap((offered) => [...offered.components]),
    );
    if (offers.some((offered) => offered.architectures === undefined)) return;
    const named = [...(architectures ?? [])].filter((name) => name !== "all" && name !== "source");
    check(
      "--architecture",
      named,
      offers.flatMap((offered) => [...(offered.architectures ?? [])]),
    );
  }

  /** Compares each directory with the repository: finds out what is new, and what went away. */
  async #compare(suites: readonly WantedSuite[]): Promise<readonly DirectoryPlan[]> {
    const plans = new Map<string, DirectoryPlan>();
    for (const suite of suites) {
      for (const location of suite.locations) {
        await this.#planFor(location, suite, plans);
        // If the last package for all architectures went away, nothing else leads to its directory.
        if (location.kind === "source" || location.forInstaller) continue;
        const forAll = { ...location, architecture: parseArchitecture("all") };
        if (this.#environment.target.directoryFor(forAll) !== undefined) await this.#planFor(forAll, suite, plans);
      }
      for (const wanted of suite.packages) (await this.#planFor(wanted.location, suite, plans))?.wanted.push(wanted);
      this.#checkAge(suite, plans.values());
    }
    const names = new Map<string, string>();
    const ordered = [...plans.values()].toSorted((one, two) => orderOf(one.location) - orderOf(two.location));
    await forEachConcurrent(ordered, concurrentDirectories, (plan) => this.#comparePlan(plan, names));
    return ordered;
  }

  async #planFor(
    location: PackageDirectory,
    suite: WantedSuite,
    plans: Map<string, DirectoryPlan>,
  ): Promise<DirectoryPlan | undefined> {
    const { target } = this.#environment;
    const path = target.directoryFor(location);
    if (path === undefined) {
      const { component } = location;
      const architecture = location.kind === "source" ? "source" : location.architecture;
      const text = `${suite.choice.target}/${component} ${architecture}`;
      this.#addProblem({
        code: "builder/outside-bundle",
        file: text,
        reason:
          "the bundle has no directory for it: choose others with --suite NAME=TARGET, --component and --architecture",
      });
      return undefined;
    }
    const found = this.#options.layout.packageDirectoryOf(path);
    if (found?.suite !== location.suite) {
      this.#addProblem({
        code: "builder/outside-bundle",
        file: `${suite.choice.target}/${location.component}`,
        reason: `its directory is in the suite ${found?.suite} of the tree: choose other components with --component`,
      });
      return undefined;
    }
    const recordName = recordNameOf(suite.release, this.#environment.source.address);
    const key = `${path}\n${recordName}`;
    const known = plans.get(key);
    if (known !== undefined) return known;
    const before = await target.look(path, recordName);
    const common = { path, location, suite, recordName, before };
    const plan: DirectoryPlan = { ...common, wanted: [], kept: new Map(), added: [], gone: new Map() };
    plans.set(key, plan);
    return plan;
  }

  /** An old Release with a good signature hides updates. */
  #checkAge({ choice, release }: WantedSuite, plans: Iterable<DirectoryPlan>): void {
    if (this.#options.mayBeOlder) return;
    const dates = [...plans].flatMap(({ suite, before }) =>
      suite.release === release && before.record !== undefined ? [before.record.dateMs] : [],
    );
    const lastMs = Math.max(0, ...dates);
    if (lastMs <= release.dateMs) return;
    const [last, now] = [lastMs, release.dateMs].map((ms) => new Date(ms).toUTCString());
    this.#problems.push({
      code: "upstream/older",
      file: choice.directory === "" ? "Release" : `${choice.directory}/Release`,
      reason: `its Date, ${now}, is before that of the last import, ${last}: somebody may be hiding updates; --allow-older accepts it`,
    });
  }

  async #comparePlan(plan: DirectoryPlan, names: Map<string, string>): Promise<void> {
    const { before, wanted } = plan;
    const listed = new Set<string>();
    const unfetchable = new Set<string>();
    const seen = new Set<string>();
    for (const each of wanted) {
      for (const file of each.files) listed.add(lastName(parseTreePath(file.path)));
      if (each.flaw !== undefined) unfetchable.add(`${each.name} ${each.version} ${each.architecture}`);
      if (!each.isChosen) continue;
      // A package for all architectures is in several indices.
      const identity = `${each.kind} ${each.name} ${each.version} ${each.architecture} ${each.files.at(-1)?.sha256}`;
      if (seen.has(identity)) continue;
      seen.add(identity);
      await this.#comparePackage(plan, each, names);
    }
    for (const [name, file] of before.record?.files ?? []) {
      if (!before.names.has(name)) continue;
      // A package with a flawed stanza is listed, even if the stanza does not say which files it has.
      const isListed = listed.has(name) || unfetchable.has(file.package.join(" "));
      if (!isListed) plan.gone.set(name, file);
      else if (!plan.kept.has(name)) plan.kept.set(name, file);
    }
  }

  async #comparePackage(plan: DirectoryPlan, wanted: WantedPackage, names: Map<string, string>): Promise<void> {
    const { before, path } = plan;
    const missing: StoredFile[] = [];
    const present: StoredFile[] = [];
    const { flaw } = wanted;
    let rejection: NewPackage["rejection"] = flaw === undefined ? undefined : { code: "incomplete", reason: flaw };
    for (const file of wanted.files) {
      const name = lastName(parseTreePath(file.path));
      const kind: PackageKind = packageKindOf(name) ?? "part";
      const stored = { name, file: { ...file, kind } };
      if (!isEntryName(name)) rejection = { code: "bad-name", reason: "its name is not a valid file name" };
      if (file.sizeBytes > defaultInspectLimits.maxFileBytes)
        rejection = {
          code: "limit",
          reason: limitMessage("maxFileBytes", defaultInspectLimits.maxFileBytes, "the size of the file"),
        };
      const other = names.get(`${path}/${name}`);
      if (other !== undefined && other !== file.sha256)
        rejection = { code: "conflict", reason: `the repository has two different files named ${name} for ${path}` };
      names.set(`${path}/${name}`, other ?? file.sha256);
      const existing = before.names.has(name) ? await before.sha256Of(name) : undefined;
      if (existing === file.sha256) {
        present.push(stored);
        // What was there before any import is not the import's to remove.
        if (before.record?.files.has(name)) plan.kept.set(name, recordedFile(wanted, file.sha256));
        continue;
      }
      if (before.names.has(name) && !this.#options.mayReplace)
        rejection = {
          code: "conflict",
          reason: `${joinPath(path, name)} already exists with different bytes: --replace overwrites it`,
        };
      missing.push(stored);
    }
    if (missing.length === 0 && rejection === undefined) return;
    // The .dsc of an incomplete source package is read again, because it says which files belong to it.
    const again = missing.length > 0 ? present.filter(({ file }) => file.kind === "source") : [];
    const added: NewPackage = {
      wanted,
      directory: plan,
      missing: [...missing, ...again],
      present: present.filter(({ file }) => file.kind === "part"),
      rejection,
    };
    plan.added.push(added);
  }

  /** Fetches, inspects and stores all files that the tree lacks. */
  async #store(plans: readonly DirectoryPlan[]): Promise<void> {
    const { observer } = this.#environment;
    const files = new Map<string, { readonly file: WantedFile; readonly wanted: WantedPackage }>();
    for (const { missing, rejection, wanted } of plans.flatMap(({ added }) => added)) {
      if (rejection === undefined) for (const { file } of missing) files.set(keyOf(file), { file, wanted });
    }
    const totalBytes = [...files.values()].reduce((total, { file }) => total + file.sizeBytes, 0);
    this.#bytes = totalBytes;
    const stored = (bytes: number) => observer.stored(bytes, totalBytes);
    await forEachConcurrent(files, concurrentFiles, async ([key, { file, wanted }]) => {
      this.#environment.signal.throwIfAborted();
      const inspect = () => (this.#options.isDryRun ? this.#inspectOnly(file, wanted) : this.#storeOne(file, stored));
      const inspection = await this.#unlessUnusable(() => this.#retried(inspect));
      if (inspection !== undefined) this.#inspections.set(key, inspection);
    });
  }

  async #storeOne(file: WantedFile, stored: (bytes: number) => void): Promise<Inspection> {
    const { target, source } = this.#environment;
    return await target.store(file, source, stored);
  }

  /** For a dry run: reads local files, and only the stanzas of others, which would have to be downloaded. */
  async #inspectOnly(file: WantedFile, { stanza, kind }: WantedPackage): Promise<Inspection> {
    const { source, pool, signal } = this.#environment;
    const location = await source.locationOf?.(file.path);
    if (location !== undefined) {
      const inspection =
        (await pool.inspectLocal(file.kind, { location }, signal)) ??
        (await pool.inspect(file.kind, await openListed(source, file), signal));
      await checkListed(file, inspection, async () => digestOf(await openListed(source, file)));
      return inspection;
    }
    const { sizeBytes, sha256 } = file;
    const part: Inspection = { kind: "part", sizeBytes, digests: { sha256 } };
    if (kind === "source") return part;
    try {
      checkBinaryControl(parseStanza(Buffer.from(`${stanza}\n`), defaultInspectLimits));
      return part;
    } catch (thrown) {
      if (!(thrown instanceof Malformed) && !(thrown instanceof Deb822Error)) throw thrown;
      const code = thrown instanceof Malformed ? thrown.flaw : "bad-control";
      return { kind: "rejected", code, text: messageOf(thrown) };
    }
  }

  /** Rejects packages that the server would reject in this directory. */
  #checkPlacements({ path, added }: DirectoryPlan): void {
    const { layout } = this.#options;
    const files = new Map<string, LocalFile>();
    for (const each of added) {
      each.rejection ??= this.#rejectionOf(each);
      if (each.rejection !== undefined) continue;
      for (const { name, file } of [...each.present, ...each.missing]) {
        const inspection = this.#inspections.get(keyOf(file)) ?? partOf(file);
        if (inspection.kind !== "rejected") files.set(name, { path: name, name, inspection });
      }
    }
    const problems = findProblems(
      { directory: { path }, entries: new Map(), files: [...files.values()] },
      true,
      defaultInspectLimits,
      layout,
    );
    const reasons = new Map(problems.map(({ file, reason }) => [file, reason]));
    for (const each of added) {
      if (each.rejection !== undefined) continue;
      const reason = each.missing.flatMap(({ name }) => reasons.get(name) ?? [])[0];
      if (reason !== undefined) each.rejection = { code: "wrong-place", reason };
    }
  }

  #rejectionOf({ missing, wanted }: NewPackage): NewPackage["rejection"] {
    for (const { file } of missing) {
      const inspection = this.#inspections.get(keyOf(file));
      if (inspection?.kind === "rejected") return { code: inspection.code, reason: inspection.text };
      const differing = inspection && fieldThatDiffers(wanted, inspection);
      if (differing !== undefined)
        return { code: "mismatch", reason: `its ${differing} differs from the one in the index` };
    }
    return undefined;
  }

  async #publish(plans: readonly DirectoryPlan[]): Promise<readonly DirectoryChange[]> {
    const { target } = this.#environment;
    const { removesGone } = this.#options;
    const changes: DirectoryChange[] = [];
    const empty: TreePath[] = [];
    for (const { path, location, added, gone, kept, before, recordName, suite } of plans) {
      const sound = added.filter(({ rejection }) => rejection === undefined);
      const files = new Map<string, StoredFile>();
      const recorded = new Map(kept);
      for (const { missing, wanted } of sound) {
        for (const each of missing) {
          files.set(each.name, each);
          recorded.set(each.name, recordedFile(wanted, each.file.sha256));
        }
      }
      if (!removesGone) for (const [name, file] of gone) recorded.set(name, file);
      const removed = removesGone ? gone : new Map<string, RecordedFile>();
      if (files.size === 0 && removed.size === 0) {
        if (before.names.size === 0 && suite.locations.includes(location)) empty.push(path);
        continue;
      }
      const { dateMs, identity } = suite.release;
      const record: ImportRecord = { dateMs, identity, files: recorded };
      changes.push({ path, added: [...files.values()], removed, recordName, record });
    }
    if (changes.length > 0 || empty.length > 0) {
      this.linked = "unknown";
      await target.change(changes, empty);
      this.linked = "all";
    }
    await target.close();
    return changes;
  }

  async #pinged(
    changes: readonly DirectoryChange[],
    packages: readonly ImportedPackage[],
  ): Promise<readonly ImportedPackage[]> {
    const { ping, timeoutMs } = this.#options;
    if (ping === undefined || changes.length === 0) return packages;
    return await this.#timed("ping", async () => {
      const { clock, observer, signal } = this.#environment;
      const deadlineMs = clock() + timeoutMs;
      const rejected = new Map<string, { readonly reason: string; readonly code: string }>();
      const notLive = new Map<string, string>();
      for (const path of new Set(changes.map((change) => change.path))) {
        const remainingMs = Math.max(0, deadlineMs - clock());
        const { waiting } = observer;
        const result = await pingUntilLive(ping, path, { timeoutMs: remainingMs, waiting, signal });
        if ("notLive" in result) notLive.set(path, result.notLive);
        else for (const each of result.rejected) rejected.set(each.path, each);
      }
      return packages.map((each): ImportedPackage => {
        if (each.state !== "linked") return each;
        const refused = rejected.get(each.path);
        if (refused !== undefined) return { ...each, state: "rejected", reason: refused.reason, code: refused.code };
        const reason = notLive.get(each.path.slice(0, each.path.lastIndexOf("/")));
        if (reason === undefined) return { ...each, state: "live" };
        return { ...each, reason: `the server did not confirm in time that it is live (${reason})` };
      });
    });
  }

  #goneOf(plans: readonly DirectoryPlan[]): Pick<ImportOutcome, "removed" | "gone"> {
    const gone = plans.flatMap(({ path, gone: names }) =>
      [...names]
        .filter(([name]) => packageKindOf(name) !== undefined)
        .map(
          ([
            name,
            {
              package: [package_, version, architecture],
            },
          ]) => ({
            name: package_,
            version,
            architecture,
            path: joinPath(path, name),
          }),
        ),
    );
    return this.#options.removesGone ? { removed: gone, gone: [] } : { removed: [], gone };
  }

  #describe({ wanted, directory, rejection }: NewPackage): ImportedPackage {
    const { name, version, architecture, location, files } = wanted;
    const file = files.at(-1)?.path;
    const common = {
      name,
      version,
      architecture,
      suite: location.suite,
      component: location.component,
      path: file === undefined ? directory.path : `${directory.path}/${file.slice(file.lastIndexOf("/") + 1)}`,
    };
    if (rejection !== undefined) return { ...common, state: "rejected", ...rejection };
    return { ...common, state: this.#options.isDryRun ? "planned" : "linked" };
  }

  #addProblem(problem: ImportProblem): void {
    if (!this.#problems.some(({ file }) => file === problem.file)) this.#problems.push(problem);
  }

  /** Collects problems of the repository, so that a run names all of them. */
  async #unlessUnusable<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (thrown) {
      if (!(thrown instanceof UnusableRepository)) throw thrown;
      const { code, file, reason } = thrown;
      this.#problems.push({ code, file, reason });
      return undefined;
    }
  }

  /** Tries again if the server of the repository does not respond. */
  async #retried<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (thrown) {
        if (!(thrown instanceof ServerUnavailable) || attempt >= maxAttempts) throw thrown;
        await sleep(backoffMs(attempt, retryLimits), this.#environment.signal);
      }
    }
  }
}

const keyOf = ({ sha256, kind }: WantedFile): string => `${sha256} ${kind}`;

const partOf = ({ sizeBytes, sha256 }: WantedFile): SoundInspection => ({
  kind: "part",
  sizeBytes,
  digests: { sha256 },
});

const recordedFile = ({ name, version, architecture }: WantedPackage, sha256: string): RecordedFile => ({
  sha256,
  package: [name, version, architecture],
});

/** The patterns and the user's expectations refer to the index, and clients to the package itself. */
function fieldThatDiffers(wanted: WantedPackage, inspection: SoundInspection): string | undefined {
  if (inspection.kind === "part") return undefined;
  const stanza = inspection.kind === "binary" ? inspection.control : inspection.dsc;
  if (fieldOf(stanza, inspection.kind === "binary" ? "Package" : "Source") !== wanted.name) return "name";
  if (fieldOf(stanza, "Version") !== wanted.version) return "Version";
  if (inspection.kind === "binary" && fieldOf(stanza, "Architecture") !== wanted.architecture) return "Architecture";
  if (inspection.kind === "source" && !isSameSet(inspection.parts, wanted)) return "list of files";
  return undefined;
}

/** Whether an index lists the .dsc and exactly the files that the .dsc lists: no other file may come into the tree. */
function isSameSet(parts: readonly SourcePart[], { files }: WantedPackage): boolean {
  const names = new Set(parts.map(({ name }) => name));
  const others = files.filter(({ path }) => !path.endsWith(".dsc"));
  return others.length === names.size && others.every(({ path }) => names.has(path.slice(path.lastIndexOf("/") + 1)));
}

function describeSuite({ choice, release }: WantedSuite): ImportOutcome["suites"][number] {
  const { directory, target } = choice;
  const date = new Date(release.dateMs).toISOString();
  return { from: directory === "" ? "." : directory, suite: target, date, signedBy: release.signedBy };
}
