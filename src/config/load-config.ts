// Loads a configuration from flags, a TOML file and the environment. No other file reads the environment.
import { dirname, resolve } from "node:path";
import { fileReasonOf, messageOf } from "../base/errors.ts";
import { Secret } from "../base/secret.ts";
import { validationMessage } from "../base/validation-messages.ts";
import type { ReadCap } from "../storage/tahoe/caps.ts";
import { parseReadCap } from "../storage/tahoe/caps.ts";
import type { Surroundings } from "./config-schema.ts";
import { schemaFor } from "./config-schema.ts";
import type { Path } from "./config-values.ts";
import { readToml, readTomlParts } from "./config-values.ts";
import type { Configuration } from "./configuration.ts";
import { ConfigurationError } from "./configuration-error.ts";
import { stateDirectoryOf } from "./named-files.ts";
import { ValidPart, valueAt } from "./valid-part.ts";

/** The flags of `serve`. None of them is a secret, because arguments are visible in the process list. */
export interface Flags {
  readonly config?: string | undefined;
  readonly name?: string | undefined;
  readonly webapi?: readonly string[] | undefined;
  readonly readcapFile?: string | undefined;
  readonly gatewayCaFile?: string | undefined;
  readonly folder?: string | undefined;
  readonly listen?: string | undefined;
  readonly state?: string | undefined;
  readonly publicUrl?: string | undefined;
  readonly pingTokenFile?: string | undefined;
  readonly archiveKeyring?: string | undefined;
  readonly acceptIdentityChange?: boolean | undefined;
  readonly logFormat?: string | undefined;
  readonly logLevel?: string | undefined;
  readonly accessLog?: boolean | undefined;
  readonly workers?: string | undefined;
}

/** The flags that are also keys of a file, or have a meaning beside one. */
type ServerFlag =
  | "config"
  | "listen"
  | "state"
  | "publicUrl"
  | "acceptIdentityChange"
  | "logFormat"
  | "logLevel"
  | "accessLog"
  | "workers";

type Environment = Readonly<Record<string, string | undefined>>;

interface Mistake {
  readonly path: Path;
  readonly message: string;
}

const defaultName = "debian";

/** The directories in which programs are searched, as in PATH. */
export const searchPath = (environment: Environment = process.env): string => environment.PATH ?? "";

/** The npm script that runs this process, e.g. `start`; undefined without npm. */
export const npmScript = (environment: Environment = process.env): string | undefined =>
  environment.npm_lifecycle_event;

/** The variables that a process needs which is told its configuration. */
const neededVariables: ReadonlySet<string> = new Set(["PATH", "TZ", "LANG", "NODE_OPTIONS", "MALLOC_ARENA_MAX"]);

/** The names of all other variables, some of which are secrets. */
export const unneededVariables = (environment: Environment = process.env): readonly string[] =>
  Object.keys(environment).filter((name) => !neededVariables.has(name));

/**
 * Loads and validates a configuration. Paths in a file are relative to the file, those in flags to `directory`.
 * @throws ConfigurationError that lists every mistake
 */
export function loadConfiguration(
  flags: Flags,
  environment: Environment = process.env,
  directory: string = process.cwd(),
): Configuration {
  const { config, listen, state, publicUrl, acceptIdentityChange = false, ...others } = flags;
  const { logFormat, logLevel, accessLog, workers, ...ofRepository } = others;
  const file = config === undefined ? undefined : resolve(directory, config);
  const stray = Object.entries(ofRepository).filter(([, value]) => value !== undefined);
  if (file !== undefined && stray.length > 0) {
    throw new ConfigurationError(stray.map(([key]) => `${flagName(key)}: has no meaning beside --config`));
  }
  const raw: Readonly<Record<string, unknown>> = {
    ...(file === undefined ? { repository: [repositoryOf(ofRepository)] } : readFileOf(file)),
    ...(listen !== undefined && { listen }),
    ...(state !== undefined && { state: resolve(directory, state) }),
    ...(publicUrl !== undefined && { public_url: publicUrl }),
    ...(logFormat !== undefined && { log_format: logFormat }),
    ...(logLevel !== undefined && { log_level: logLevel }),
    ...(accessLog !== undefined && { access_log: accessLog }),
    ...(workers !== undefined && { workers: Number(workers) }),
  };
  const readCap = file === undefined ? readCapOf(environment) : undefined;
  const pingToken = file === undefined ? secretOf(environment.TAHOE_APT_PING_TOKEN) : undefined;
  const { parsed, warnings } = parse(raw, {
    base: file === undefined ? directory : dirname(file),
    credentialsDirectory: environment.CREDENTIALS_DIRECTORY,
    readCap,
    pingToken,
  });
  const mistakes = [...mistakesOf(parsed), ...contradictions(raw, readCap !== undefined)];
  if (!parsed.success || mistakes.length > 0) {
    const place = file === undefined ? placeInFlags : placeInFile;
    throw new ConfigurationError(mistakes.map(({ path, message }) => `${place(path)}: ${message}`));
  }
  return { ...parsed.data, acceptIdentityChange, warnings };
}

/** What is known of a configuration file that may have mistakes. */
export interface CheckedConfiguration {
  /** Every mistake in the text, and in the files that are read while it is parsed. */
  readonly mistakes: readonly string[];
  /** Everything else; undefined if nothing is left. */
  readonly valid: Configuration | undefined;
  /** Whether a key is mistaken, at least in one place, so that its absence from `valid` means nothing. */
  readonly isLeftOut: (key: string) => boolean;
}

/**
 * Loads a configuration file as `loadConfiguration` does, but with what is valid of a mistaken one.
 * @throws ConfigurationError if the file cannot be read
 */
export function loadConfigurationParts(config: string, environment: Environment = process.env): CheckedConfiguration {
  const file = resolve(config);
  const { table, mistakes: ofText, unread } = ofFile(file, readTomlParts);
  const isWhole = ofText.length === 0;
  const mistakes = isWhole ? [] : ofText.map((text) => `--config ${file}: ${text}`);
  const noted = new Set<string>();
  const note = (all: readonly Mistake[]): void => {
    for (const { path, message } of all) {
      mistakes.push(`${placeInFile(path)}: ${message}`);
      noted.add(String(path.findLast((step) => typeof step === "string")));
    }
  };
  const isLeftOut = (key: string): boolean => unread === "all" || unread.has(key) || noted.has(key);
  const settings = {
    base: dirname(file),
    credentialsDirectory: environment.CREDENTIALS_DIRECTORY,
    readCap: undefined,
    pingToken: undefined,
  };
  const part = new ValidPart(table);
  for (let isFirst = true; ; isFirst = false) {
    const { parsed, warnings } = parse(part.root, settings);
    const found = mistakesOf(parsed);
    // A key on a line that could not be read only seems to be missing.
    note(found.filter(({ path }) => part.isGenuine(path) && (isWhole || valueAt(part.root, path) !== undefined)));
    if (isFirst && isWhole) note(contradictions(table, false));
    if (parsed.success) {
      return { mistakes, valid: { ...parsed.data, acceptIdentityChange: false, warnings }, isLeftOut };
    }
    if (!part.remove(found.map(({ path }) => path))) return { mistakes, valid: undefined, isLeftOut };
  }
}

/** Parses the content of a file, or what stands for one. */
function parse(raw: object, settings: Omit<Surroundings, "warn">) {
  const warnings: string[] = [];
  const schema = schemaFor({ ...settings, warn: (text) => warnings.push(text) });
  return { parsed: schema.safeParse(raw, { error: validationMessage }), warnings };
}

const mistakesOf = ({ error }: ReturnType<typeof parse>["parsed"]): readonly Mistake[] =>
  error?.issues.flatMap(spreadKeys) ?? [];

/**
 * Returns the state directory that a configuration file names, whether or not the rest of it is valid.
 * @throws ConfigurationError
 */
export function stateDirectoryIn(config: string): string {
  return stateDirectoryOf(readFileOf(config), dirname(config));
}

const readFileOf = (path: string): Record<string, unknown> => ofFile(path, readToml);

/** @throws ConfigurationError */
function ofFile<Content>(path: string, read: (path: string) => Content): Content {
  try {
    return read(path);
  } catch (error) {
    throw new ConfigurationError([`--config ${path}: ${messageOf(error)}`]);
  }
}

const repositoryOf = (flags: Omit<Flags, ServerFlag>): object => ({
  name: flags.name ?? defaultName,
  ...(flags.webapi && { webapi: flags.webapi }),
  ...(flags.readcapFile !== undefined && { readcap_file: flags.readcapFile }),
  ...(flags.gatewayCaFile !== undefined && { gateway_ca_file: flags.gatewayCaFile }),
  ...(flags.folder !== undefined && { folder: flags.folder }),
  ...(flags.pingTokenFile !== undefined && { ping_token_file: flags.pingTokenFile }),
  ...(flags.archiveKeyring !== undefined && { archive_keyring: flags.archiveKeyring }),
});

function readCapOf({ TAHOE_APT_READCAP: raw }: Environment): ReadCap | undefined {
  try {
    return raw?.trim() ? parseReadCap(raw) : undefined;
  } catch (error) {
    throw new ConfigurationError([`TAHOE_APT_READCAP: ${fileReasonOf(error)}`]);
  }
}

const secretOf = (raw: string | undefined): Secret | undefined => (raw?.trim() ? new Secret(raw.trim()) : undefined);

/** Mistakes that concern several keys. They are found in the raw values, so that all mistakes are reported together. */
function contradictions(raw: Readonly<Record<string, unknown>>, readCapInEnvironment: boolean): readonly Mistake[] {
  const repositories = Array.isArray(raw.repository) ? raw.repository : [];
  const names = repositories.map((one: unknown) => (isRecord(one) ? String(one.name).toLowerCase() : undefined));
  const sites = repositories.map((one: unknown) =>
    isRecord(one) && typeof one.export_directory === "string" ? resolve(one.export_directory) : undefined,
  );
  const ofServer: readonly Mistake[] =
    raw.cluster !== undefined && Number(raw.workers ?? 0) > 0
      ? [{ path: ["workers"], message: "conflicts with [cluster]; start more replicas instead" }]
      : [];
  const ofRepositories = repositories.filter(isRecord).flatMap((repository, index) => {
    const has = (key: string): boolean => repository[key] !== undefined;
    const at = (key: string, message: string): Mistake => ({ path: ["repository", index, key], message });
    return [
      ...(has("folder") && has("webapi")
        ? [at("folder", "conflicts with webapi; only one of them can be the tree")]
        : []),
      ...(!has("folder") && !has("webapi")
        ? [at("webapi", "is missing, and so is a folder; one of them is needed")]
        : []),
      ...(has("webapi") && !has("readcap_file") && !readCapInEnvironment
        ? [at("readcap_file", "is missing (without --config, TAHOE_APT_READCAP may hold the cap)")]
        : []),
      ...(has("signing_passphrase_file") && !has("signing_key_file")
        ? [at("signing_passphrase_file", "has no signing_key_file to open")]
        : []),
      ...(has("publish_bundle_file") && has("folder")
        ? [at("publish_bundle_file", "opens a Tahoe tree, and folder is none; export_directory makes files of it")]
        : []),
      ...(sites[index] !== undefined && sites.indexOf(sites[index]) < index
        ? [at("export_directory", "is another repository's too, and each would remove what the other has written")]
        : []),
      ...(has("gateway_ca_file") && has("folder") ? [at("gateway_ca_file", "has no gateway beside a folder")] : []),
      ...(names.indexOf(names[index]) < index ? [at("name", "is the name of another repository too")] : []),
    ];
  });
  return [...ofServer, ...ofRepositories];
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;

/** Turns one issue about several unknown keys into one for each key. */
const spreadKeys = (
  issue: Mistake & { readonly code: string; readonly keys?: readonly string[] },
): readonly Mistake[] =>
  issue.code === "unrecognized_keys" && issue.keys
    ? issue.keys.map((key) => ({ path: [...issue.path, key], message: "is not a known key" }))
    : [issue];

const placeInFile = (path: Path): string =>
  path
    .map((step) => (typeof step === "number" ? `[${step}]` : `.${String(step)}`))
    .join("")
    .replace(/^\./, "") || "the file";

/** Without a file, the keys of the only repository are flags of the same name. */
const placeInFlags = (path: Path): string => flagName(String(path[0] === "repository" ? path[2] : path[0]));

const flagName = (key: string): string =>
  `--${key.replaceAll("_", "-").replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
