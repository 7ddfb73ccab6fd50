// Commands of the operator, which reach a running server over the socket in its state directory. If no server runs,
// they are executed on the state directory itself.
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { RootDatabase } from "lmdb";
import { z } from "zod";
import { endsWithin } from "../base/ends-within.ts";
import { messageOf, RepoError } from "../base/errors.ts";
import { anyGlobMatcher } from "../base/glob.ts";
import type { Log } from "../base/log.ts";
import { silentLog } from "../base/log.ts";
import type { RepositoryName, Suite } from "../base/names.ts";
import { parseRepositoryName, parseSuite, rootPath } from "../base/names.ts";
import { yieldToEventLoop } from "../base/yield-to-event-loop.ts";
import { suitePath } from "../catalog/layout/repository-layout.ts";
import type { FleetStatus } from "../cluster/status.ts";
import { ConfigurationError } from "../config/configuration-error.ts";
import { OverridesFile, overridesFileName } from "../config/overrides-file.ts";
import type { Repository } from "../publishing/live/repository.ts";
import type { DescribedSnapshot } from "../publishing/live/snapshot-control.ts";
import { SnapshotControl } from "../publishing/live/snapshot-control.ts";
import { PublicationStore } from "../publishing/store/publication-store.ts";
import { closeStateDatabase, openStateDatabase } from "../publishing/store/state-database.ts";
import type { ReloadOptions, ReloadOutcome } from "./reload-outcome.ts";
import { databaseIn, repositoryDirectoryIn } from "./state-directory.ts";
import type { Answer } from "./state-lock.ts";
import { askServer, claimStateForCommand } from "./state-lock.ts";
import { backupCommand, backupLines } from "./state-records.ts";
import { checkState, markState } from "./state-version.ts";

/** An argument is missing, or names something that does not exist: the command exits as after a usage error. */
class ChoiceNeeded extends RepoError {
  readonly code = "operator/choice-needed";
}

/** The command cannot be executed; the message says why. */
class OperationRefused extends RepoError {
  readonly code = "operator/refused";
}

const about = { repository: z.string().optional(), suite: z.string().optional() };
const rules = z.object({
  show: z.array(z.string()).readonly().optional(),
  hide: z.array(z.string()).readonly().optional(),
  maxAgeSeconds: z.number().optional(),
  newest: z.number().optional(),
});

const question = z.discriminatedUnion("ask", [
  z.object({ ask: z.literal("snapshots"), ...about }),
  z.object({ ask: z.literal("pin"), when: z.string(), name: z.string(), ...about }),
  z.object({ ask: z.literal("unpin"), name: z.string(), ...about }),
  z.object({ ask: z.literal("rollback"), when: z.string(), ...about }),
  z.object({ ask: z.literal("resume"), ...about }),
  z.object({ ask: z.literal("overrides"), ...about }),
  z.object({
    ask: z.literal("override"),
    packages: z.string(),
    /** Null: the field is no longer set. */
    set: z.record(z.string(), z.string().nullable()),
    ...about,
  }),
  z.object({ ask: z.literal("owners"), patterns: z.array(z.string()).readonly(), ...about }),
  z.object({ ask: z.literal("view"), views: z.record(z.string(), rules), ...about }),
  z.object({ ask: z.literal("cluster"), ...about }),
  z.object({ ask: z.literal("reload"), acceptIdentityChange: z.boolean().optional(), ...about }),
]);
export type Question = z.infer<typeof question>;
/** Commands for the whole server. */
type OfServer = Extract<Question, { readonly ask: "reload" | "cluster" }>;

const backupQuestion = z.object({ ask: z.literal(backupCommand) });

const listed = z.array(
  z.object({ component: z.string(), package: z.string(), version: z.string(), architecture: z.string() }),
);
const rule = z.object({ packages: z.string(), suite: z.string().optional(), set: z.record(z.string(), z.string()) });
const nameShare = z.object({
  suite: z.string(),
  name: z.string(),
  owners: z.array(z.string()),
  by: z.enum(["packages", "first", "nobody"]),
  publishers: z.array(z.string()),
  rejected: z.array(z.object({ builder: z.string(), path: z.string(), reason: z.string() })),
});
const answers = {
  overrides: z.object({ file: z.string(), overrides: z.array(rule) }),
  override: z.object({ file: z.string(), rule: rule.optional(), isLive: z.boolean() }),
  snapshots: z.object({
    snapshots: z.array(
      z.object({
        suite: z.string(),
        id: z.string(),
        servedSeconds: z.number(),
        isCurrent: z.boolean(),
        pins: z.array(z.string()),
        date: z.string(),
        binaryPackages: z.number(),
        sourcePackages: z.number(),
        /** Undefined for the oldest snapshot of a suite. Only the first `maxListedChanges` packages are named. */
        changes: z
          .object({ addedCount: z.number(), removedCount: z.number(), added: listed, removed: listed })
          .optional(),
      }),
    ),
    rolledBack: z.array(z.object({ suite: z.string(), id: z.string() })),
  }),
  pin: z.object({ suite: z.string(), id: z.string() }),
  unpin: z.object({ suite: z.string(), id: z.string() }),
  rollback: z.object({ suite: z.string(), id: z.string(), isLive: z.boolean() }),
  resume: z.object({ suite: z.string(), isLive: z.boolean() }),
  /** Undefined if no server runs, or it has not surveyed the suite yet: then the caller must read the tree. */
  owners: z.object({ shares: z.array(nameShare).optional() }),
  cluster: z.object({
    self: z.string(),
    valkey: z.object({ isConnected: z.boolean(), silentSeconds: z.number().optional() }),
    replicas: z.array(
      z.object({
        id: z.string(),
        version: z.string(),
        address: z.string(),
        startedSeconds: z.number(),
        isServing: z.boolean(),
        lagSeconds: z.number(),
        current: z.record(z.string(), z.record(z.string(), z.string())),
      }),
    ),
    repositories: z.array(z.object({ name: z.string(), publisher: z.string().optional(), leaseChanges: z.number() })),
    problems: z.array(z.string()),
  }),
  reload: z.object({
    /** The changed keys that are in effect. */
    changed: z.array(z.string()),
    /** The changed keys that need a restart. */
    restart: z.array(z.string()),
    /** The repositories that were added or opened again. */
    repositories: z.array(
      z.object({
        name: z.string(),
        /** Whether their publications have the new settings. */
        isPublished: z.boolean(),
        problem: z.string().optional(),
      }),
    ),
  }),
  view: z.array(z.object({ suite: z.string(), hides: listed, shows: listed, stays: z.number() })),
};
type Answered<Ask extends Question["ask"]> = z.infer<(typeof answers)[Ask]>;

/** A repository in service, with the overrides that commands can change. */
export interface ControlledRepository {
  readonly repository: Repository;
  readonly overrides: OverridesFile;
}

/** A repository with everything that a command may need. */
interface CommandTarget {
  readonly snapshotControl: SnapshotControl;
  readonly overrides: OverridesFile;
  /** Undefined if no server runs. */
  readonly live: Repository | undefined;
}

/** A running server, as commands see it. */
export interface ControlledServer {
  readonly repositories: () => Iterable<ControlledRepository>;
  /** @returns undefined if the server cannot read its configuration again @throws ConfigurationError */
  readonly reload: (options: ReloadOptions) => Promise<ReloadOutcome | undefined>;
  /** @returns undefined if the server belongs to no cluster */
  readonly cluster: () => FleetStatus | undefined;
  /** The database of the state directory; undefined while it is not open. */
  readonly root: () => RootDatabase | undefined;
}

/** Returns the function that executes commands in a running server. */
export function answerFor({ repositories, reload, cluster, root }: ControlledServer, log: Log): Answer {
  return async (text) => {
    try {
      const asked: unknown = JSON.parse(text);
      if (backupQuestion.safeParse(asked).success) {
        const database = root();
        if (database === undefined) throw new OperationRefused("the server is starting: repeat the command");
        log.info({ asked }, "control command executed");
        return backupLines(database);
      }
      const command = question.parse(asked);
      if (command.ask === "reload") return JSON.stringify({ answer: await described(await reload(command)) });
      if (command.ask === "cluster") return JSON.stringify({ answer: clusterStatus(cluster()) });
      const targets = [...repositories()].map(
        ({ repository: live, overrides }) =>
          [live.name, { snapshotControl: live.snapshotControl, overrides, live }] as const,
      );
      const answer = await execute(command, new Map(targets));
      if (!isQuestion(command)) log.info({ asked: command, answer }, "control command executed");
      return JSON.stringify({ answer });
    } catch (thrown) {
      return JSON.stringify({ refused: messageOf(thrown), isUsage: isUsage(thrown) });
    }
  };
}

const isUsage = (thrown: unknown): boolean => thrown instanceof ChoiceNeeded || thrown instanceof ConfigurationError;

/** @throws OperationRefused if the server belongs to no cluster */
function clusterStatus(status: FleetStatus | undefined): Answered<"cluster"> {
  if (status === undefined)
    throw new OperationRefused("this server belongs to no cluster: its configuration has no [cluster]");
  const { replicas, repositories, problems } = status;
  return { ...status, replicas: [...replicas], repositories: [...repositories], problems: [...problems] };
}

/** How long the answer to a reload waits, in ms, for publications with the new settings. */
const publishedWithinMs = 30_000;

/** @throws OperationRefused if there was no reload */
async function described(outcome: ReloadOutcome | undefined): Promise<Answered<"reload">> {
  if (outcome === undefined) throw new OperationRefused("this server cannot read its configuration again, or stops");
  const repositories = [...outcome.published].map(async ([name, published]) => {
    const isKnown = await endsWithin(published, publishedWithinMs);
    const problem = isKnown ? await published : "its tree is still being read";
    return { name, isPublished: problem === undefined, ...(problem !== undefined && { problem }) };
  });
  return { changed: [...outcome.live], restart: [...outcome.restart], repositories: await Promise.all(repositories) };
}

/**
 * Executes a command in the server that uses a state directory or, if no server runs, on the state directory itself.
 * @param names the names of the repositories in the state directory, if they are known
 * @throws OperationRefused
 */
export async function ask<Asked extends Question>(
  stateDirectory: string,
  command: Asked,
  names: readonly RepositoryName[],
): Promise<Answered<Asked["ask"]>> {
  if (!existsSync(databaseIn(stateDirectory))) throw new OperationRefused(`${stateDirectory} holds no server's state`);
  const text = await askServer(stateDirectory, JSON.stringify(command));
  const answer = text === undefined ? await executeOnState(stateDirectory, command, names) : answerIn(text);
  return answers[command.ask].parse(answer) as Answered<Asked["ask"]>;
}

function answerIn(text: string): unknown {
  const response = z
    .object({ answer: z.unknown().optional(), refused: z.string().optional(), isUsage: z.boolean().optional() })
    .parse(JSON.parse(text || "{}"));
  if (response.isUsage === true) throw new ConfigurationError((response.refused ?? "").split("\n"));
  if (response.refused !== undefined) throw new OperationRefused(response.refused);
  if (response.answer === undefined)
    throw new OperationRefused("the process that uses the state directory is not a server");
  return response.answer;
}

async function executeOnState(
  directory: string,
  command: Question,
  names: readonly RepositoryName[],
): Promise<unknown> {
  if (command.ask === "reload") throw new OperationRefused(`no server uses ${directory}: there is nothing to reload`);
  if (command.ask === "cluster") throw new OperationRefused(`no server uses ${directory}`);
  const unlock = await claimStateForCommand(directory, (reason) => new OperationRefused(reason));
  try {
    checkState(directory, silentLog);
    const root = openStateDatabase(databaseIn(directory));
    try {
      await markState(directory, silentLog);
      const wanted = command.repository === undefined ? names : [parseRepositoryName(command.repository)];
      if (wanted.length === 0) throw new ConfigurationError(["--repository: is needed, since no server runs"]);
      const targets = wanted.map((name) => {
        const snapshotControl = new SnapshotControl(new PublicationStore(root, name));
        const overrides = new OverridesFile(
          join(repositoryDirectoryIn(directory, name), overridesFileName),
          [],
          () => {},
        );
        return [name, { snapshotControl, overrides, live: undefined }] as const;
      });
      return await execute(command, new Map(targets));
    } catch (thrown) {
      throw thrown instanceof ChoiceNeeded ? new ConfigurationError([thrown.message]) : thrown;
    } finally {
      await closeStateDatabase(root);
    }
  } finally {
    await unlock();
  }
}

async function execute(
  command: Exclude<Question, OfServer>,
  repositories: ReadonlyMap<string, CommandTarget>,
): Promise<unknown> {
  const { snapshotControl, overrides, live } = only("repository", command.repository, repositories);
  const isLive = live !== undefined;
  const suiteOf = (): Suite => {
    const suites = new Map([...snapshotControl.snapshots()].map(({ suite }) => [suite, suite]));
    for (const [suite] of snapshotControl.rolledBack()) suites.set(suite, suite);
    return only("suite", command.suite, suites);
  };
  switch (command.ask) {
    case "snapshots": {
      if (command.suite !== undefined) suiteOf();
      const isWanted = ({ suite }: { readonly suite: Suite }) => command.suite === undefined || command.suite === suite;
      const rolledBack = [...snapshotControl.rolledBack()].map(([suite, id]) => ({ suite, id }));
      const snapshots = [];
      for await (const snapshot of snapshotControl.described())
        if (isWanted(snapshot)) snapshots.push(inShort(snapshot));
      return { snapshots, rolledBack: rolledBack.filter(isWanted) };
    }
    case "pin": {
      const suite = suiteOf();
      return { suite, id: await snapshotControl.pin(suite, command.when, command.name) };
    }
    case "unpin": {
      const suite = suiteOf();
      return { suite, id: await snapshotControl.unpin(suite, command.name) };
    }
    case "rollback": {
      const suite = suiteOf();
      return { suite, id: await snapshotControl.rollBack(suite, command.when), isLive };
    }
    case "resume": {
      const suite = suiteOf();
      await snapshotControl.resume(suite);
      return { suite, isLive };
    }
    case "overrides": {
      const rules = overrides.rules().filter(({ suite }) => command.suite === undefined || suite === command.suite);
      return { file: overrides.file, overrides: rules };
    }
    case "override": {
      const set = Object.fromEntries(Object.entries(command.set).map(([name, value]) => [name, value ?? undefined]));
      // The configuration may have overrides for a suite that does not exist yet; on a command line it is probably a
      // typo.
      if (live !== undefined && command.suite !== undefined)
        only("suite", command.suite, new Map([...live.suites()].map((suite) => [suite.name as string, suite])));
      const changed = await overrides.change({ packages: command.packages, suite: command.suite }, set);
      const path = command.suite === undefined ? rootPath : suitePath(parseSuite(command.suite));
      await live?.ping(path, new AbortController().signal);
      return { file: overrides.file, ...(changed && { rule: changed }), isLive };
    }
    case "owners":
      return { shares: live && (await sharesOf(live, command.suite, command.patterns)) };
    case "view": {
      if (live === undefined) throw new OperationRefused("no server runs, and it alone knows what the tree holds");
      const views = new Map(Object.entries(command.views));
      const suites = [...live.suites()].filter(({ name }) => command.suite === undefined || command.suite === name);
      const unseen = suites.find(({ surveyed }) => !surveyed);
      if (unseen !== undefined) throw new OperationRefused(`the server has not yet seen what ${unseen.name} holds`);
      return suites.map((suite) => ({ suite: suite.name, ...suite.preview(views.get(suite.name)) }));
    }
    default:
      return command satisfies never;
  }
}

/** Whether a command changes nothing. */
const isQuestion = ({ ask }: Question): boolean => ["snapshots", "overrides", "owners", "view"].includes(ask);

/** Returns the owners of names. @returns undefined if a suite does not exist, is not surveyed yet, or has no owners */
async function sharesOf(live: Repository, suite: string | undefined, patterns: readonly string[]) {
  const isMeant = anyGlobMatcher(patterns);
  const yieldNow = yieldToEventLoop();
  const shares = [];
  const suites = [...live.suites()].filter(({ name }) => suite === undefined || suite === name);
  if (suites.length === 0 || !suites.every(({ surveyed, hasOwners }) => surveyed && hasOwners)) return undefined;
  for (const each of suites) {
    for (const share of each.shares()) {
      await yieldNow();
      if (!isMeant(share.name)) continue;
      shares.push({ suite: each.name, ...share });
    }
  }
  return shares;
}

/** The maximum number of added packages, and of removed ones, that are named for one snapshot. */
const maxListedChanges = 100;

function inShort({ changes, dateSeconds, ...snapshot }: DescribedSnapshot) {
  const date = new Date(dateSeconds * 1000).toISOString();
  const { added, removed } = changes ?? { added: [], removed: [] };
  const counted = { addedCount: added.length, removedCount: removed.length };
  const named = { added: added.slice(0, maxListedChanges), removed: removed.slice(0, maxListedChanges) };
  return { ...snapshot, date, ...(changes && { changes: { ...counted, ...named } }) };
}

/** Returns the named one, or the only one. */
function only<T>(what: string, name: string | undefined, all: ReadonlyMap<string, T>): T {
  const [first, ...others] = all.values();
  const found = name === undefined ? (others.length === 0 ? first : undefined) : all.get(name);
  if (found !== undefined) return found;
  const known = [...all.keys()].toSorted().join(", ") || "none";
  if (name === undefined && others.length > 0) throw new ChoiceNeeded(`--${what}: one of ${known} is needed`);
  throw new ChoiceNeeded(`--${what}: there is no ${what}${name === undefined ? "" : ` ${name}`}; known: ${known}`);
}
