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
  Limits,
  RepositoryConfiguration,
  SuiteConfiguration,
} from "./configuration.ts";
import { defaultLimits } from "./configuration.ts";
import { credentialPaths, pathsFrom } from "./file-paths.ts";
import type { KeyDocumentation } from "./key-documentation.ts";
import { since010 } from "./key-documentation.ts";
import { limitDocumentation, stageDocumentation } from "./limit-documentation.ts";
import { defaultState } from "./named-files.ts";
import { overrideRule } from "./overrides-file.ts";

const defaultListen = "127.0.0.1:8380";
const defaultPollSeconds = 300;
const defaultKeepSeconds = 7 * 24 * 3600;
const defaultGracePeriodSeconds = 10;
const defaultCacheBytes = 2 * 1024 ** 3;
const shortestGoodTokenLength = 16;
/** The database allows 126 readers; a process is one, and for some moments two. */
const maxWorkers = 48;
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
  z
    .preprocess((raw) => (typeof raw === "string" ? [raw] : raw), z.array(member).min(1).max(max))
    .meta({ orItsMember: true });

const text = z.string().min(1);
const positive = z.number().int().positive();
/** 24 days. Node's timers count milliseconds in 31 bits, which is some hours more; a longer timer fires at once. */
export const maxTimerSeconds = 24 * 24 * 3600;
/** The resolution of these timers. */
const minTimerSeconds = 0.001;

/** Returns the key of a limit: `maxDscBytes` is `max_dsc_bytes`; times in ms in the code are keys in seconds. */
const keyOfLimit = (name: string): string => configurationKey(name).replace(/_ms$/, "_seconds");

/**
 * Returns the schema of the limits of a stage, by their names in the code. Times are in seconds, which may have
 * fractions, and not longer than Node's timers allow. The keys of earlier versions in ms (`x_ms`) are accepted with a
 * warning.
 */
function limitsOf<Name extends keyof Limits>(stage: Name, warn: (text: string) => void) {
  const documentation: Readonly<Record<string, KeyDocumentation>> = limitDocumentation[stage];
  const entries = Object.entries<number>({ ...defaultLimits[stage] }).map(([name, value]) => ({
    name,
    key: keyOfLimit(name),
    value,
  }));
  const keys = entries.flatMap(({ name, key, value }): [string, z.ZodType<number | undefined>][] => {
    const documented = { ...documentation[name], default: name.endsWith("Ms") ? value / 1000 : value };
    if (!key.endsWith("_seconds")) return [[key, positive.optional().meta(documented)]];
    if (!name.endsWith("Ms")) return [[key, positive.max(maxTimerSeconds).optional().meta(documented)]];
    return [
      [key, z.number().min(minTimerSeconds).max(maxTimerSeconds).optional().meta(documented)],
      [
        configurationKey(name),
        positive
          .max(maxTimerSeconds * 1000)
          .optional()
          .meta({ deprecated: true }),
      ],
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
      return Object.fromEntries(entries.map((entry) => [entry.name, limitOf(entry)])) as unknown as Limits[Name];
    })
    .meta(stageDocumentation[stage]);
}

const limitsFor = (warn: (text: string) => void) =>
  z
    .strictObject({
      tree: limitsOf("tree", warn),
      webapi: limitsOf("webapi", warn),
      listing: limitsOf("listing", warn),
      folder: limitsOf("folder", warn),
      inspection: limitsOf("inspection", warn),
      directory: limitsOf("directory", warn),
      changelog: limitsOf("changelog", warn),
      http: limitsOf("http", warn),
      webhook: limitsOf("webhook", warn),
    })
    .prefault({})
    .meta(since010("Limits prevent one package, builder or client from using up what all others need."));

const pattern = text.meta({ form: "pattern" });

const view = z
  .strictObject({
    show: z
      .array(pattern)
      .min(1)
      .meta(since010("Shows only packages of these names.", { byDefault: "all" })),
    hide: z.array(pattern).meta(since010("Hides packages of these names.")),
    max_age_seconds: positive.meta(since010("Hides packages that were first linked longer ago.")),
    newest: positive.meta(
      since010(
        "How many versions of each package and architecture are shown: the newest in Debian's order. What another " +
          "rule hides does not count.",
        { unit: "versions", byDefault: "all" },
      ),
    ),
  })
  .partial()
  .transform(({ max_age_seconds: maxAgeSeconds, ...raw }): ViewRules => ({ ...raw, maxAgeSeconds }));

const asRepository = { byDefault: "as the repository" };
const falseByDefault = { byDefault: "`false`" };

const suite = z
  .strictObject({
    codename: text.meta(since010("`Codename` in Release.", { byDefault: "the name of the suite" })),
    version: text.meta(since010("`Version` in Release, as in `13.2`.")),
    description: text.meta(since010("`Description` in Release.", asRepository)),
    not_automatic: z
      .boolean()
      .meta(
        since010("`NotAutomatic: yes`: apt installs nothing from the suite unless it is asked to.", falseByDefault),
      ),
    but_automatic_upgrades: z
      .boolean()
      .meta(
        since010(
          "`ButAutomaticUpgrades: yes`: apt upgrades what was installed from the suite. Needs `not_automatic = true`.",
          falseByDefault,
        ),
      ),
    valid_for_seconds: z
      .number()
      .int()
      .min(minValiditySeconds)
      .meta(
        since010("`Valid-Until` in Release: clients reject an older one. The server renews it automatically.", {
          byDefault: "no limit",
        }),
      ),
    signed_by: z
      .boolean()
      .meta(
        since010(
          "`Signed-By` in Release: clients then accept only the present signing keys. Needs `valid_for_seconds`.",
          falseByDefault,
        ),
      ),
    translations: z.boolean().meta(since010("As in `[[repository]]`, for this suite.", asRepository)),
    pdiffs: z.boolean().meta(since010("As in `[[repository]]`, for this suite.", asRepository)),
    contents: z.boolean().meta(since010("As in `[[repository]]`, for this suite.", asRepository)),
    // "as-found" is the name of earlier versions for "prebuilt".
    indices: z
      .preprocess((raw) => (raw === "as-found" ? "prebuilt" : raw), z.enum(["made", "prebuilt"]))
      .meta(
        since010(
          "`made`: the server makes the indices from the packages. `prebuilt`: it serves those in the tree unchanged.",
          { byDefault: "`made`" },
        ),
      ),
    view: view.meta(
      since010(
        "Rules that hide packages of the suite from the indices. They delete nothing, and packages stay available " +
          "under their paths in the tree. `*` and `?` in a pattern stand for any characters and for one.",
      ),
    ),
    package_owners: z.enum(ownerPolicies).meta(since010("As in `[[repository]]`, for this suite.", asRepository)),
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
  const reader = z.strictObject({
    name: readerName.meta(since010("The name that apt sends.")),
    password_file: secretFile.meta(since010("The password that apt sends, a secret.", { form: "file" })),
  });
  const webhookSecret = parsedBy((raw) => parseWebhookSecret(readSecret(pathOf(raw), warn)));
  const webhook = z
    .strictObject({
      url: parsedBy(parseWebhookUrl).meta(
        since010("Where events are posted. `https`, or an address of this machine or of a private network.", {
          form: "URL",
        }),
      ),
      allow_http: z.boolean().default(false).meta(since010("Permits `http` to any address.")),
      secret_file: oneOrMore(webhookSecret.meta({ form: "file" }), maxWebhookSecrets).meta(
        since010("The secret that signs requests: `whsec_` and base64. Two while it is replaced: each signs."),
      ),
      suites: z
        .array(pattern)
        .min(1)
        .optional()
        .meta(since010("Only events of these suites.", { byDefault: "all suites" })),
      timeout_seconds: positive
        .max(maxWebhookTimeoutSeconds)
        .default(defaultWebhookTimeoutSeconds)
        .meta(since010("The time for a response.")),
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
      name: parsedBy(parseRepositoryName).meta(
        since010("The repository is served at `/NAME/`. A table that is added or removed is taken over by a reload."),
      ),
      webapi: oneOrMore(parsedBy(parseWebUrl).meta({ form: "URL" }))
        .optional()
        .meta(since010("The Tahoe gateways that read the tree. If one fails, the next is used.")),
      readcap_file: capFile
        .optional()
        .meta(since010("The read cap of the tree, a secret. `webapi` needs it.", { form: "file" })),
      gateway_ca_file: parsedBy((raw) => readCertificates(pathOf(raw)))
        .optional()
        .meta(
          since010("Certificates in PEM that are trusted for `https` gateways, besides the public authorities.", {
            form: "file",
          }),
        ),
      folder: folder
        .optional()
        .meta(
          since010("A local folder that is served, in place of `webapi` and `readcap_file`.", { form: "directory" }),
        ),
      origin: text.optional().meta(since010("`Origin` in Release.", { byDefault: "`name`" })),
      label: text.optional().meta(since010("`Label` in Release.", { byDefault: "`name`" })),
      description: text.optional().meta(since010("`Description` in Release, for all suites.")),
      translations: z
        .boolean()
        .default(false)
        .meta(
          since010("Packages has only the first lines of descriptions, and `i18n/Translation-en` has the long ones."),
        ),
      pdiffs: z
        .boolean()
        .default(true)
        .meta(since010("Patches between versions of an index, with which apt updates it.")),
      contents: z.boolean().default(true).meta(since010("Contents indices, which say what file is in what package.")),
      export_directory: path
        .optional()
        .meta(since010("A static web site is written there after each publication.", { form: "directory" })),
      publish_bundle_file: parsedBy(pathOf)
        .optional()
        .meta(
          since010(
            "The bundle with the write caps for indices in the tree, which are written after each publication.",
            {
              form: "file",
            },
          ),
        ),
      flat: z
        .array(parsedBy(parseFlat).meta({ form: "directory of the tree" }))
        .default([])
        .meta(since010("Flat repositories: directories of packages without `dists`. The root may always be one.")),
      digests: z
        .array(z.enum(digestAlgorithms))
        .default(["md5", "sha256"])
        .meta(since010("Hashes of packages in the indices. SHA256 is always there.")),
      release_digests: z
        .array(z.enum(digestAlgorithms))
        .default(["sha256"])
        .meta(since010("Hashes of indices in Release. SHA256 is always there.")),
      dates_after: parsedBy(parseDate)
        .optional()
        .meta(
          since010("After a loss of the state: the last `Date` that clients received. All new ones will be later.", {
            form: "date as in Release",
          }),
        ),
      date_lag_seconds: z
        .number()
        .int()
        .min(minDateLagSeconds)
        .max(maxDateLagSeconds)
        .default(defaultDateLagSeconds)
        .meta(since010("How far the `Date` of Release lags behind the newest upload, for clients with slow clocks.")),
      signing_key_file: oneOrMore(keyFile.meta({ form: "file" }), maxSigningKeys)
        .optional()
        .meta(
          since010("Secret OpenPGP keys, ASCII-armoured. Each of them signs.", {
            byDefault: "a key that is generated in `state`",
          }),
        ),
      signing_passphrase_file: oneOrMore(secretFile.meta({ form: "file" }), maxSigningKeys)
        .optional()
        .meta(since010("Passphrases of these keys, in any order.")),
      archive_keyring: parsedBy(parseComponent)
        .optional()
        .meta(
          since010("The component that gets the package `NAME-archive-keyring` with the public keys.", {
            form: "component",
          }),
        ),
      package_owners: z
        .enum(ownerPolicies)
        .default("any")
        .meta(
          since010(
            "Who may publish a name that is in no builder's `packages`: every builder (`any`), the one that linked it " +
              "first (`first`), or only the operator (`listed`).",
          ),
        ),
      ping_token_file: secretFile.optional().meta(
        since010("The token for pings of the whole tree. Builders have their own.", {
          form: "file",
          byDefault: "without builders, a token that is generated in `state`",
        }),
      ),
      reader: z
        .array(reader)
        .optional()
        .meta(since010("A repository with readers is private: apt must authenticate as one of them (HTTP Basic).")),
      webhook: webhooks
        .optional()
        .meta(since010("A URL that is told about each publication by a signed POST (Standard Webhooks).")),
      override: z
        .array(overrideRule)
        .optional()
        .meta(
          since010(
            "Sets fields of packages in the indices. `tahoe-apt override` and `tahoe-apt phase` do the same, and " +
              "their rules come after these. The last rule for a field takes effect.",
          ),
        ),
      suite: z
        .record(parsedBy(parseSuite), suite)
        .optional()
        .meta(
          since010(
            "The settings of one suite. A suite of the tree needs no table, except if its name has a slash: " +
              '`[repository.suite."bookworm/updates"]`.',
          ),
        ),
      builder: z
        .array(builderIn(pathOf, warn))
        .optional()
        .meta(since010("A builder may ping its directory, and upload to it with its bundle.")),
      builders_file: buildersFile.optional().meta(
        since010("A TOML file with further `[[builder]]` tables. The server reads it again when it changes.", {
          form: "file",
        }),
      ),
    })
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
      if (raw.flat.length > 0 && (raw.export_directory ?? raw.publish_bundle_file) !== undefined) {
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
        flat: [...new Set([...raw.flat, rootPath])],
        packageOwners: raw.package_owners,
        translations: raw.translations,
        pdiffs: raw.pdiffs,
        contents: raw.contents,
        suites: new Map(Object.entries(raw.suite ?? {})),
        digests: withSha256(raw.digests),
        releaseDigests: withSha256(raw.release_digests),
        datesAfterSeconds: raw.dates_after,
        dateLagSeconds: raw.date_lag_seconds,
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
      url: oneOrMore(parsedBy(parseValkeyUrl).meta({ form: "URL" })).meta(
        since010(
          "The server, the Sentinels, or some nodes of the cluster: `redis://HOST:PORT/DATABASE`, `rediss://` with " +
            "TLS, or `redis+unix:///PATH`. Without a password.",
        ),
      ),
      mode: z
        .enum(["single", "sentinel", "cluster"])
        .optional()
        .meta(
          since010("What the URLs lead to: one server, Sentinels, or a Redis Cluster.", {
            byDefault: '`"single"` with one URL, `"sentinel"` with several',
          }),
        ),
      sentinel_master: text.default("mymaster").meta(since010("The name under which Sentinels know the primary.")),
      password_file: secretFile.optional().meta(since010("The password of Valkey, a secret.", { form: "file" })),
      ca_file: parsedBy((raw) => readCertificates(pathOf(raw)))
        .optional()
        .meta(
          since010("Certificates in PEM that are trusted for `rediss`, besides the public authorities.", {
            form: "file",
          }),
        ),
      name: text
        .regex(/^[A-Za-z0-9._-]{1,64}$/, "has other characters than letters, digits, '.', '_' and '-'")
        .meta(since010("The name of this fleet of servers. Several fleets can share one Valkey.")),
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
      listen: parsedBy(parseListen)
        .prefault(defaultListen)
        .meta(
          since010("The address and port of the server. Ignored if systemd passes sockets (`tahoe-apt.socket`).", {
            form: "`HOST:PORT`",
          }),
        ),
      state: path.prefault(defaultState).meta(
        since010("Where the server keeps its database, caches, and generated keys and tokens.", {
          form: "directory",
        }),
      ),
      public_url: parsedBy(parseWebUrl)
        .optional()
        .meta(
          since010(
            "The server's URL for users: in pages, in `NAME.sources`, and for changelogs and snapshots in Release.",
            { form: "URL", byDefault: "the address that each request names; no changelogs and snapshots in Release" },
          ),
        ),
      behind_proxy: z
        .boolean()
        .default(false)
        .meta(
          since010(
            "Trusts the last values of `X-Forwarded-For` and `X-Forwarded-Proto`, and `X-Request-Id`, which a reverse " +
              "proxy sets.",
          ),
        ),
      metrics_token_file: secretFile
        .optional()
        .meta(
          since010("`/metrics` then requires this Bearer token, and shows private repositories too.", { form: "file" }),
        ),
      poll_seconds: positive
        .max(maxTimerSeconds)
        .default(defaultPollSeconds)
        .meta(since010("How often the whole tree is checked, in case a ping is lost.")),
      keep_seconds: positive
        .default(defaultKeepSeconds)
        .meta(since010("How long former publications, with all files that they name, stay available.")),
      scrub_seconds: z
        .number()
        .int()
        .nonnegative()
        .max(maxTimerSeconds)
        .default(defaultScrubSeconds)
        .meta(
          since010("How often the metadata of one package is compared with its bytes. 0: only when it is downloaded."),
        ),
      check_seconds: z
        .number()
        .int()
        .nonnegative()
        .max(maxTimerSeconds)
        .default(defaultCheckSeconds)
        .meta(since010("How often all objects in the grid are checked, and their leases renewed. 0: never.")),
      cache_bytes: positive.default(defaultCacheBytes).meta(since010("The size of the package cache on disk.")),
      grace_period_seconds: positive
        .max(maxTimerSeconds)
        .default(defaultGracePeriodSeconds)
        .meta(since010("The time for requests in progress when the server stops.")),
      log_format: z
        .enum(logFormats)
        .optional()
        .meta(since010("The form of the log.", { byDefault: "`text` on a terminal, otherwise `json`" })),
      log_level: z.enum(logLevels).default("info").meta(since010("Less important lines are left out.")),
      access_log: z.boolean().default(false).meta(since010("Logs each request.")),
      workers: z
        .number()
        .int()
        .nonnegative()
        .max(maxWorkers)
        .default(0)
        .meta(
          since010(
            "How many processes serve HTTP beside the one that reads the tree and publishes. 0: that one serves it.",
            { unit: "processes" },
          ),
        ),
      cluster: cluster
        .optional()
        .meta(since010("Several servers of the same repositories share a Valkey or Redis, and work as one.")),
      limits: limitsFor(warn),
      repository: z
        .array(repository, "a [[repository]] is needed")
        .min(1)
        .meta(since010("One repository, with a tree in a grid or in a local folder. At least one is needed.")),
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
        workers: raw.workers,
        limits: raw.limits,
        repositories: raw.repository,
      };
    });
}
