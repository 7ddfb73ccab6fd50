// The schema of the configuration file: the type and default of each key, and messages for mistakes.

import { statSync } from "node:fs";
import { resolve } from "node:path";
import { z } from "zod";
import { configurationKey } from "../base/errors.ts";
import { logFormats, logLevels } from "../base/log.ts";
import { parseComponent, parseRepositoryName, parseSuite, rootPath } from "../base/names.ts";
import { parsedBy } from "../base/parsed-by.ts";
import type { Secret } from "../base/secret.ts";
import { ownerPolicies } from "../catalog/suite/owner-rules.ts";
import type { ViewRules } from "../catalog/suite/suite-view.ts";
import type { ValkeySettings } from "../cluster/valkey-settings.ts";
import { parseValkeyUrl } from "../cluster/valkey-settings.ts";
import type { DigestAlgorithm } from "../debian/digests.ts";
import { digestAlgorithms } from "../debian/digests.ts";
import { defaultCheckSeconds } from "../health/health-check-schedule.ts";
import { defaultDateLagSeconds, maxDateLagSeconds, minDateLagSeconds } from "../publishing/build/release-date.ts";
import { defaultScrubSeconds } from "../publishing/serve/claim-audit.ts";
import { maxSigningKeys } from "../signing/signer.ts";
import { parseReadCap, ReadCap } from "../storage/tahoe/caps.ts";
import { parseWebUrl } from "../storage/tahoe/web-url.ts";
import { parseWebhookSecret } from "../web/webhooks/signature.ts";
import type { Webhook } from "../web/webhooks/webhook.ts";
import { isConfidential, parseWebhookUrl } from "../web/webhooks/webhook.ts";
import { builderIn, buildersIn } from "./builders-file.ts";
import {
  demand,
  isLoopback,
  parseDate,
  parseFlat,
  parseListen,
  readCertificates,
  readSecret,
} from "./config-values.ts";
import type {
  BuilderConfiguration,
  Configuration,
  RepositoryConfiguration,
  SuiteConfiguration,
} from "./configuration.ts";
import { defaultLimits } from "./configuration.ts";
import { credentialPaths, pathsFrom } from "./file-paths.ts";
import { defaultState } from "./named-files.ts";
import { overrideRule } from "./overrides-file.ts";

const defaultListen = "127.0.0.1:8380";
const defaultPollSeconds = 300;
const defaultKeepSeconds = 7 * 24 * 3600;
const defaultGracePeriodSeconds = 10;
const defaultCacheBytes = 2 * 1024 ** 3;
const shortestGoodTokenLength = 16;
const defaultWebhookTimeoutSeconds = 10;
const maxWebhookTimeoutSeconds = 60;
/** The old one and the new one. */
const maxWebhookSecrets = 2;
/** Clients update about once a day, and a publication is renewed when half of its validity has passed. */
const minValiditySeconds = 3600;

/** The context in which a configuration is parsed. */
export interface Surroundings {
  /** The directory that relative paths are relative to. */
  readonly base: string;
  /** The directory in which the service manager passes credentials; undefined if it passes none. */
  readonly credentialsDirectory: string | undefined;
  /** Receives warnings about values that are valid but unwise. */
  readonly warn: (text: string) => void;
  /** Secrets from the environment, for a repository without own secrets. */
  readonly readCap: ReadCap | undefined;
  readonly pingToken: Secret | undefined;
}

/** A list, or its only member alone. */
const oneOrMore = <Member extends z.ZodType>(member: Member, max = Number.POSITIVE_INFINITY) =>
  z.preprocess((raw) => (typeof raw === "string" ? [raw] : raw), z.array(member).min(1).max(max));

const text = z.string().min(1);
const positive = z.number().int().positive();
/** 24 days. Node's timers count milliseconds in 31 bits, which is some hours more; a longer timer fires at once. */
const maxTimerSeconds = 24 * 24 * 3600;
/** The resolution of these timers. */
const minTimerSeconds = 0.001;

/** Returns the key of a limit: `maxDscBytes` is `max_dsc_bytes`; times in ms in the code are keys in seconds. */
const keyOfLimit = (name: string): string => configurationKey(name).replace(/_ms$/, "_seconds");

/**
 * Returns the schema of the limits of a stage, by their names in the code. Times are in seconds, which may have
 * fractions, and not longer than Node's timers allow. The keys of earlier versions in ms (`x_ms`) are accepted with a
 * warning.
 */
function limitsOf<Stage extends { readonly [Name in keyof Stage]: number }>(
  stage: string,
  defaults: Stage,
  warn: (text: string) => void,
) {
  const entries = Object.entries<number>(defaults).map(([name, value]) => ({ name, key: keyOfLimit(name), value }));
  const keys = entries.flatMap(({ name, key }): [string, z.ZodType<number | undefined>][] => {
    if (!key.endsWith("_seconds")) return [[key, positive.optional()]];
    if (!name.endsWith("Ms")) return [[key, positive.max(maxTimerSeconds).optional()]];
    return [
      [key, z.number().min(minTimerSeconds).max(maxTimerSeconds).optional()],
      [configurationKey(name), positive.max(maxTimerSeconds * 1000).optional()],
    ];
  });
  return z
    .strictObject(Object.fromEntries(keys))
    .prefault({})
    .transform((raw, context) => {
      const limitOf = ({ name, key, value }: (typeof entries)[number]): number => {
        if (!name.endsWith("Ms")) return raw[key] ?? value;
        const inSeconds = raw[key];
        const oldKey = configurationKey(name);
        const inMs = raw[oldKey];
        if (inMs !== undefined) warn(`limits.${stage}.${oldKey}: is now written ${key}, in seconds`);
        if (inMs !== undefined && inSeconds !== undefined) {
          const message = `conflicts with ${key}, which means the same; only one of them can take effect`;
          context.issues.push({ code: "custom", input: inMs, path: [oldKey], message });
        }
        return inSeconds === undefined ? (inMs ?? value) : Math.round(inSeconds * 1000);
      };
      return Object.fromEntries(entries.map((entry) => [entry.name, limitOf(entry)])) as unknown as Stage;
    });
}

const limitsFor = (warn: (text: string) => void) =>
  z
    .strictObject({
      tree: limitsOf("tree", defaultLimits.tree, warn),
      webapi: limitsOf("webapi", defaultLimits.webapi, warn),
      listing: limitsOf("listing", defaultLimits.listing, warn),
      folder: limitsOf("folder", defaultLimits.folder, warn),
      inspection: limitsOf("inspection", defaultLimits.inspection, warn),
      directory: limitsOf("directory", defaultLimits.directory, warn),
      changelog: limitsOf("changelog", defaultLimits.changelog, warn),
      http: limitsOf("http", defaultLimits.http, warn),
      webhook: limitsOf("webhook", defaultLimits.webhook, warn),
    })
    .prefault({});

const view = z
  .strictObject({ show: z.array(text).min(1), hide: z.array(text), max_age_seconds: positive, newest: positive })
  .partial()
  .transform(({ max_age_seconds: maxAgeSeconds, ...raw }): ViewRules => ({ ...raw, maxAgeSeconds }));

const suite = z
  .strictObject({
    codename: text,
    version: text,
    description: text,
    not_automatic: z.boolean(),
    but_automatic_upgrades: z.boolean(),
    valid_for_seconds: z.number().int().min(minValiditySeconds),
    signed_by: z.boolean(),
    translations: z.boolean(),
    pdiffs: z.boolean(),
    contents: z.boolean(),
    // "as-found" is the name of earlier versions for "prebuilt".
    indices: z.preprocess((raw) => (raw === "as-found" ? "prebuilt" : raw), z.enum(["made", "prebuilt"])),
    view,
    package_owners: z.enum(ownerPolicies),
  })
  .partial()
  .refine((raw) => raw.but_automatic_upgrades !== true || raw.not_automatic === true, {
    path: ["but_automatic_upgrades"],
    message: "has no effect without not_automatic = true",
  })
  .refine((raw) => raw.signed_by !== true || raw.valid_for_seconds !== undefined, {
    path: ["signed_by"],
    message: "has no effect in clients without valid_for_seconds",
  })
  .transform(
    ({
      not_automatic: notAutomatic,
      but_automatic_upgrades: butAutomaticUpgrades,
      valid_for_seconds: validForSeconds,
      signed_by: signedBy,
      package_owners: packageOwners,
      ...raw
    }): SuiteConfiguration => ({
      ...raw,
      notAutomatic,
      butAutomaticUpgrades,
      validForSeconds,
      signedBy,
      packageOwners,
    }),
  );

/** Combines the builders of the configuration and of the file. Returns the same array until the file changes. */
function withOwn(
  own: readonly BuilderConfiguration[],
  ofFile: RepositoryConfiguration["builders"] | undefined,
): RepositoryConfiguration["builders"] {
  if (ofFile === undefined) return () => own;
  let known: readonly BuilderConfiguration[] | undefined;
  let all: readonly BuilderConfiguration[] = [];
  return (complain) => {
    const now = ofFile(complain);
    if (now !== known) [known, all] = [now, [...own, ...now]];
    return all;
  };
}

/** Returns SHA256 and the requested digests, in the order of strength. */
const withSha256 = (asked: readonly DigestAlgorithm[]): readonly DigestAlgorithm[] =>
  digestAlgorithms.filter((algorithm) => algorithm === "sha256" || asked.includes(algorithm));

/** Returns the schema of the whole configuration. Parsing also reads and validates the files that it names. */
export function schemaFor({ base, credentialsDirectory, warn, ...environment }: Surroundings) {
  const credentialPath = credentialPaths(credentialsDirectory, base);
  const pathOf = pathsFrom(base, credentialPath);
  const path = text.transform((raw) => resolve(base, raw));
  const folder = parsedBy((raw) => {
    const directory = resolve(base, raw);
    demand(statSync(directory, { throwIfNoEntry: false })?.isDirectory() ?? false, `${directory}: is not a directory`);
    return directory;
  });
  const secretFile = parsedBy((raw) => readSecret(pathOf(raw), warn));
  const keyFile = parsedBy((raw) => ({
    file: pathOf(raw),
    armored: readSecret(pathOf(raw), warn),
  }));
  // In HTTP basic authentication, a colon ends the name.
  const readerName = text.regex(/^[^:\p{Cc}]+$/u, "holds a colon or a control character");
  const reader = z.strictObject({ name: readerName, password_file: secretFile });
  const webhookSecret = parsedBy((raw) => parseWebhookSecret(readSecret(pathOf(raw), warn)));
  const webhook = z
    .strictObject({
      url: parsedBy(parseWebhookUrl),
      allow_http: z.boolean().default(false),
      secret_file: oneOrMore(webhookSecret, maxWebhookSecrets),
      suites: z.array(text).min(1).optional(),
      timeout_seconds: positive.max(maxWebhookTimeoutSeconds).default(defaultWebhookTimeoutSeconds),
    })
    .refine(({ url, allow_http: isAllowed }) => isAllowed || isConfidential(url), {
      path: ["url"],
      message: "is not https, nor an address of this machine or of a private network; allow_http = true permits it",
    })
    .transform(
      ({ url, secret_file: secrets, suites = [], timeout_seconds: timeoutSeconds }): Webhook => ({
        url,
        secrets,
        suites,
        timeoutSeconds,
      }),
    );
  const webhooks = z
    .array(webhook)
    .refine((all) => new Set(all.map(({ url }) => url.reveal())).size === all.length, "has the same url twice");
  const capFile = parsedBy((raw) => parseReadCap(readSecret(pathOf(raw), warn).reveal()));
  const buildersFile = parsedBy((raw) => buildersIn(pathOf(raw), credentialPath, warn));

  const repository = z
    .strictObject({
      name: parsedBy(parseRepositoryName),
      webapi: oneOrMore(parsedBy(parseWebUrl)),
      readcap_file: capFile,
      gateway_ca_file: parsedBy((raw) => readCertificates(pathOf(raw))),
      folder,
      origin: text,
      label: text,
      description: text,
      translations: z.boolean(),
      pdiffs: z.boolean(),
      contents: z.boolean(),
      export_directory: path,
      publish_bundle_file: parsedBy(pathOf),
      flat: z.array(parsedBy(parseFlat)),
      digests: z.array(z.enum(digestAlgorithms)),
      release_digests: z.array(z.enum(digestAlgorithms)),
      dates_after: parsedBy(parseDate),
      date_lag_seconds: z.number().int().min(minDateLagSeconds).max(maxDateLagSeconds),
      signing_key_file: oneOrMore(keyFile, maxSigningKeys),
      signing_passphrase_file: oneOrMore(secretFile, maxSigningKeys),
      archive_keyring: parsedBy(parseComponent),
      package_owners: z.enum(ownerPolicies),
      ping_token_file: secretFile,
      reader: z.array(reader),
      webhook: webhooks,
      override: z.array(overrideRule),
      suite: z.record(parsedBy(parseSuite), suite),
      builder: z.array(builderIn(pathOf, warn)),
      builders_file: buildersFile,
    })
    .partial()
    .required({ name: true })
    .transform((raw): RepositoryConfiguration => {
      const readCap = raw.readcap_file ?? environment.readCap;
      const pingToken = raw.ping_token_file ?? environment.pingToken;
      const own = [
        ...(pingToken ? [{ name: "all", token: pingToken, directory: rootPath }] : []),
        ...(raw.builder ?? []),
      ];
      const builders = withOwn(own, raw.builders_file);
      if (builders(warn).some(({ token }) => token.reveal().length < shortestGoodTokenLength)) {
        warn(`${raw.name}: a ping token with fewer than ${shortestGoodTokenLength} characters can be guessed`);
      }
      if (raw.flat !== undefined && (raw.export_directory ?? raw.publish_bundle_file) !== undefined) {
        warn(`${raw.name}: flat repositories are neither exported nor published into the tree`);
      }
      const readers = (raw.reader ?? []).map(({ name, password_file: password }) => ({ name, password }));
      if (readers.some(({ password }) => password.reveal().length < shortestGoodTokenLength)) {
        warn(`${raw.name}: a reader's password with fewer than ${shortestGoodTokenLength} characters can be guessed`);
      }
      if (readers.some(({ password }) => /\s/.test(password.reveal()))) {
        warn(`${raw.name}: apt's auth.conf cannot contain a reader's password with a blank`);
      }
      return {
        name: raw.name,
        tree:
          raw.folder === undefined
            ? {
                kind: "tahoe",
                gateways: raw.webapi ?? [],
                gatewayCa: raw.gateway_ca_file,
                readCap: readCap ?? new ReadCap(""),
              }
            : { kind: "folder", directory: raw.folder },
        origin: raw.origin ?? raw.name,
        label: raw.label ?? raw.name,
        description: raw.description,
        exportDirectory: raw.export_directory,
        publishBundleFile: raw.publish_bundle_file,
        flat: [...new Set([...(raw.flat ?? []), rootPath])],
        packageOwners: raw.package_owners ?? "any",
        translations: raw.translations ?? false,
        pdiffs: raw.pdiffs ?? true,
        contents: raw.contents ?? true,
        suites: new Map(Object.entries(raw.suite ?? {})),
        digests: withSha256(raw.digests ?? ["md5"]),
        releaseDigests: withSha256(raw.release_digests ?? []),
        datesAfterSeconds: raw.dates_after,
        dateLagSeconds: raw.date_lag_seconds ?? defaultDateLagSeconds,
        archiveKeyring: raw.archive_keyring,
        signingKeys: raw.signing_key_file ?? [],
        signingPassphrases: raw.signing_passphrase_file ?? [],
        builders,
        readers,
        webhooks: raw.webhook ?? [],
        overrides: raw.override ?? [],
      };
    });

  const cluster = z
    .strictObject({
      url: oneOrMore(parsedBy(parseValkeyUrl)),
      mode: z.enum(["single", "sentinel", "cluster"]).optional(),
      sentinel_master: text.default("mymaster"),
      password_file: secretFile.optional(),
      ca_file: parsedBy((raw) => readCertificates(pathOf(raw))).optional(),
      name: text.regex(/^[A-Za-z0-9._-]{1,64}$/, "has other characters than letters, digits, '.', '_' and '-'"),
    })
    .transform(
      ({
        url: urls,
        mode,
        sentinel_master: sentinelMaster,
        password_file: password,
        ca_file: ca,
        name,
      }): ValkeySettings => ({
        urls,
        mode: mode ?? (urls.length > 1 ? "sentinel" : "single"),
        sentinelMaster,
        password,
        ca,
        name,
      }),
    );

  return z
    .strictObject({
      listen: parsedBy(parseListen).prefault(defaultListen),
      state: path.prefault(defaultState),
      public_url: parsedBy(parseWebUrl).optional(),
      behind_proxy: z.boolean().default(false),
      metrics_token_file: secretFile.optional(),
      poll_seconds: positive.max(maxTimerSeconds).default(defaultPollSeconds),
      keep_seconds: positive.default(defaultKeepSeconds),
      scrub_seconds: z.number().int().nonnegative().max(maxTimerSeconds).default(defaultScrubSeconds),
      check_seconds: z.number().int().nonnegative().max(maxTimerSeconds).default(defaultCheckSeconds),
      cache_bytes: positive.default(defaultCacheBytes),
      grace_period_seconds: positive.max(maxTimerSeconds).default(defaultGracePeriodSeconds),
      log_format: z.enum(logFormats).optional(),
      log_level: z.enum(logLevels).default("info"),
      access_log: z.boolean().default(false),
      cluster: cluster.optional(),
      limits: limitsFor(warn),
      repository: z.array(repository, "a [[repository]] is needed").min(1),
    })
    .transform((raw): Omit<Configuration, "warnings" | "acceptIdentityChange"> => {
      if (raw.public_url === undefined && !isLoopback(raw.listen.host)) {
        warn(
          `public_url: is missing, although listen = "${raw.listen.host}:${raw.listen.port}" is not only for this machine: ` +
            "apt will find no changelogs and no snapshots, and NAME.sources has the address that each request names",
        );
      }
      return {
        listen: raw.listen,
        cluster: raw.cluster,
        stateDirectory: raw.state,
        publicUrl: raw.public_url,
        behindProxy: raw.behind_proxy,
        metricsToken: raw.metrics_token_file,
        pollSeconds: raw.poll_seconds,
        keepSeconds: raw.keep_seconds,
        scrubSeconds: raw.scrub_seconds,
        checkSeconds: raw.check_seconds,
        cacheBytes: raw.cache_bytes,
        gracePeriodSeconds: raw.grace_period_seconds,
        logFormat: raw.log_format,
        logLevel: raw.log_level,
        accessLog: raw.access_log,
        limits: raw.limits,
        repositories: raw.repository,
      };
    });
}
