// What a configuration file may hold: the form, default and meaning of each key, and every mistake in words.
import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { z } from "zod";
import { messageOf, systemCodeOf } from "./base/errors.ts";
import { parseRepositoryName, parseSuite, parseTreePath, rootPath } from "./base/names.ts";
import { Secret } from "./base/secret.ts";
import type { Configuration, RepositoryConfiguration } from "./configuration.ts";
import { defaultLimits } from "./configuration.ts";
import { digestAlgorithms } from "./debian/digests.ts";
import { defaultScrubSeconds } from "./publishing/audit.ts";
import { maxSigningKeys } from "./signing/signer.ts";
import { parseReadCap, ReadCap } from "./storage/tahoe/caps.ts";
import { defaultCheckSeconds } from "./upkeep.ts";

const defaultListen = "127.0.0.1:8380";
const defaultState = ".tahoe-apt/server";
const defaultPollSeconds = 300;
const defaultKeepSeconds = 7 * 24 * 3600;
const defaultGracePeriodSeconds = 10;
const defaultCacheBytes = 2 * 1024 ** 3;
const maxSecretFileBytes = 64 * 1024;
const shortestGoodTokenLength = 16;
const othersMayRead = 0o077;
const maxPort = 65_535;

/** What the schema needs of its surroundings. */
export interface Surroundings {
  /** The directory that relative paths start from. */
  readonly base: string;
  /** Tells of what is allowed but unwise. */
  readonly warn: (text: string) => void;
  /** Secrets of the environment, meant for a repository that gives none of its own. */
  readonly readCap: ReadCap | undefined;
  readonly pingToken: Secret | undefined;
}

/** Why a file can't be used, in a few words. */
export function reasonOf(error: unknown): string {
  const reasons = new Map([
    ["ENOENT", "no such file or directory"],
    ["EACCES", "may not be read"],
    ["EISDIR", "is a directory"],
  ]);
  return reasons.get(systemCodeOf(error) ?? "") ?? messageOf(error);
}

/** A string that `parse` takes; what it throws is the mistake. */
const parsedBy = <Value>(parse: (raw: string) => Value) =>
  z.string().transform((raw, context): Value => {
    try {
      return parse(raw);
    } catch (error) {
      context.issues.push({ code: "custom", input: raw, message: reasonOf(error) });
      return z.NEVER;
    }
  });

function demand(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new Error(otherwise);
}

function parseGateway(raw: string): string {
  // The text is not repeated: what was pasted here by mistake may be a cap.
  demand(URL.canParse(raw) && /^https?:$/.test(new URL(raw).protocol), "is no http:// or https:// URL");
  demand(!/URI(:|%3A)/i.test(raw), "holds a cap; give the gateway alone, and the cap in a file");
  return raw.replace(/\/+$/, "");
}

function parseListen(raw: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[(?<v6>[0-9a-f:.]+)\]|(?<name>[^:[\]]+)):(?<port>\d{1,5})$/i.exec(raw);
  const host = match?.groups?.v6 ?? match?.groups?.name;
  const port = Number(match?.groups?.port);
  demand(host !== undefined && port <= maxPort, `${JSON.stringify(raw)} is not HOST:PORT`);
  return { host, port };
}

/** A Date as it stands in a Release file. @returns seconds since the epoch */
function parseDate(raw: string): number {
  const milliseconds = Date.parse(raw);
  demand(!Number.isNaN(milliseconds), `${JSON.stringify(raw)} is no date like "Sun, 22 Nov 2026 13:45:00 UTC"`);
  return Math.floor(milliseconds / 1000);
}

function readSecret(path: string, warn: (text: string) => void): Secret {
  try {
    const { mode, size } = statSync(path);
    demand(size <= maxSecretFileBytes, `is larger than ${maxSecretFileBytes} bytes`);
    const text = readFileSync(path, "utf8").trim();
    demand(text !== "", "is empty");
    if ((mode & othersMayRead) !== 0) warn(`${path}: others may read this secret; chmod 600 it`);
    return new Secret(text);
  } catch (error) {
    throw new Error(`${path}: ${reasonOf(error)}`);
  }
}

/** A list, or its only member. */
const oneOrMore = <Member extends z.ZodType>(member: Member, max = Number.POSITIVE_INFINITY) =>
  z.preprocess((raw) => (typeof raw === "string" ? [raw] : raw), z.array(member).min(1).max(max));

const text = z.string().min(1);
const positive = z.number().int().positive();
/** Some 24 days: Node's timers count milliseconds in 31 bits, and a longer one fires at once, again and again. */
const maxTimerSeconds = Math.floor((2 ** 31 - 1) / 1000);

const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Every limit of a stage by its name in the code, written as a key: `maxDscBytes` is `max_dsc_bytes`. */
function limitsOf<Stage extends { readonly [Name in keyof Stage]: number }>(defaults: Stage) {
  const entries = Object.entries<number>(defaults);
  return z
    .strictObject(Object.fromEntries(entries.map(([name, value]) => [snakeCase(name), positive.default(value)])))
    .prefault({})
    .transform((raw) => Object.fromEntries(entries.map(([name]) => [name, raw[snakeCase(name)]])) as unknown as Stage);
}

const limits = z
  .strictObject({
    tree: limitsOf(defaultLimits.tree),
    webapi: limitsOf(defaultLimits.webapi),
    listing: limitsOf(defaultLimits.listing),
    folder: limitsOf(defaultLimits.folder),
    inspection: limitsOf(defaultLimits.inspection),
    http: limitsOf(defaultLimits.http),
  })
  .prefault({});

const suite = z.strictObject({ codename: text.optional(), version: text.optional(), description: text.optional() });

/** The schema of the whole; files are read, and so checked, while parsing. */
export function schemaFor({ base, warn, ...environment }: Surroundings) {
  const path = text.transform((raw) => resolve(base, raw));
  const folder = parsedBy((raw) => {
    const directory = resolve(base, raw);
    demand(statSync(directory, { throwIfNoEntry: false })?.isDirectory() ?? false, `${directory}: is no directory`);
    return directory;
  });
  const secretFile = parsedBy((raw) => readSecret(resolve(base, raw), warn));
  const keyFile = parsedBy((raw) => ({
    file: resolve(base, raw),
    armored: readSecret(resolve(base, raw), warn),
  }));
  const capFile = parsedBy((raw) => parseReadCap(readSecret(resolve(base, raw), warn).reveal()));
  const builder = z.strictObject({ name: text, token_file: secretFile, directory: parsedBy(parseTreePath) });

  const repository = z
    .strictObject({
      name: parsedBy(parseRepositoryName),
      webapi: oneOrMore(parsedBy(parseGateway)),
      readcap_file: capFile,
      folder,
      origin: text,
      label: text,
      description: text,
      digests: z.array(z.enum(digestAlgorithms)),
      dates_after: parsedBy(parseDate),
      signing_key_file: oneOrMore(keyFile, maxSigningKeys),
      signing_passphrase_file: oneOrMore(secretFile, maxSigningKeys),
      ping_token_file: secretFile,
      suite: z.record(parsedBy(parseSuite), suite),
      builder: z.array(builder),
    })
    .partial()
    .required({ name: true })
    .transform((raw): RepositoryConfiguration => {
      const readCap = raw.readcap_file ?? environment.readCap;
      const pingToken = raw.ping_token_file ?? environment.pingToken;
      const builders = [
        ...(pingToken ? [{ name: "all", token: pingToken, directory: rootPath }] : []),
        ...(raw.builder ?? []).map(({ name, token_file: token, directory }) => ({ name, token, directory })),
      ];
      if (builders.some(({ token }) => token.reveal().length < shortestGoodTokenLength)) {
        warn(`${raw.name}: a ping token with fewer than ${shortestGoodTokenLength} characters can be guessed`);
      }
      return {
        name: raw.name,
        tree:
          raw.folder === undefined
            ? { kind: "tahoe", gateways: raw.webapi ?? [], readCap: readCap ?? new ReadCap("") }
            : { kind: "folder", directory: raw.folder },
        origin: raw.origin ?? raw.name,
        label: raw.label ?? raw.name,
        description: raw.description,
        suites: new Map(Object.entries(raw.suite ?? {})),
        digests: digestAlgorithms.filter(
          (algorithm) => algorithm === "sha256" || (raw.digests ?? ["md5"]).includes(algorithm),
        ),
        datesAfterSeconds: raw.dates_after,
        signingKeys: raw.signing_key_file ?? [],
        signingPassphrases: raw.signing_passphrase_file ?? [],
        builders,
      };
    });

  return z
    .strictObject({
      listen: parsedBy(parseListen).prefault(defaultListen),
      state: path.prefault(defaultState),
      public_url: parsedBy(parseGateway).optional(),
      poll_seconds: positive.max(maxTimerSeconds).default(defaultPollSeconds),
      keep_seconds: positive.default(defaultKeepSeconds),
      scrub_seconds: z.number().int().nonnegative().max(maxTimerSeconds).default(defaultScrubSeconds),
      check_seconds: z.number().int().nonnegative().max(maxTimerSeconds).default(defaultCheckSeconds),
      cache_bytes: positive.default(defaultCacheBytes),
      grace_period_seconds: positive.max(maxTimerSeconds).default(defaultGracePeriodSeconds),
      limits,
      repository: z.array(repository, "a [[repository]] is needed").min(1),
    })
    .transform(
      (raw): Omit<Configuration, "warnings"> => ({
        listen: raw.listen,
        stateDirectory: raw.state,
        publicUrl: raw.public_url,
        pollSeconds: raw.poll_seconds,
        keepSeconds: raw.keep_seconds,
        scrubSeconds: raw.scrub_seconds,
        checkSeconds: raw.check_seconds,
        cacheBytes: raw.cache_bytes,
        gracePeriodSeconds: raw.grace_period_seconds,
        limits: raw.limits,
        repositories: raw.repository,
      }),
    );
}
