// The bundle: a private file with the caps, gateways and ping token that a builder needs to change its part of a tree.
import { readFile, stat } from "node:fs/promises";
import { stringify as formatToml, parse as parseToml, TomlError } from "smol-toml";
import { z } from "zod";
import { fileReasonOf, RepoError } from "../base/errors.ts";
import type { Suite, TreePath } from "../base/names.ts";
import { isWithin, parseSuite, parseTreePath } from "../base/names.ts";
import { parsedBy } from "../base/parsed-by.ts";
import { Secret } from "../base/secret.ts";
import { isOpenToOthers } from "../base/secret-file.ts";
import { validationMessage } from "../base/validation-messages.ts";
import type { WriteCap } from "../storage/tahoe/caps.ts";
import { parseWriteCap } from "../storage/tahoe/caps.ts";
import { parseCertificates } from "../storage/tahoe/certificates.ts";
import { parseWebUrl } from "../storage/tahoe/web-url.ts";

/** A directory that the owner of the bundle may change, including everything below it. */
export interface BundleDirectory {
  /** Path in the tree; "" for the root. */
  readonly path: TreePath;
  readonly cap: WriteCap;
}

/** Where to notify the server of changes. */
export interface PingAddress {
  /** `http://HOST/-/ping/NAME`, without a trailing slash: the client appends a path of the tree. */
  readonly url: string;
  /** Valid for the directories of the bundle. */
  readonly token: Secret;
}

/** A builder's bundle has the builder's directories. The *master* bundle of the tree's owner has only the root. */
export interface Bundle {
  readonly name: string;
  /** Webapi URLs of one or more gateways; if one fails, the client uses the next. */
  readonly gateways: readonly string[];
  /** Additional certificate authorities for the gateways, in PEM. */
  readonly gatewayCa?: string | undefined;
  /** At least one; none contains another. */
  readonly directories: readonly BundleDirectory[];
  /** Undefined: the server notices changes at its next poll. */
  readonly ping: PingAddress | undefined;
  /** The known suites of the tree whose names contain a slash. */
  readonly suitesWithSlash?: readonly Suite[] | undefined;
}

/** The bundle file is invalid or unreadable. The message never quotes its contents, which are secret. */
export class BundleError extends RepoError {
  readonly code = "builder/bad-bundle";
}

const maxBundleBytes = 1024 * 1024;

/** @param warn receives a warning if other users may read the file @throws BundleError */
export async function readBundle(file: string, warn: (text: string) => void): Promise<Bundle> {
  const text = await readPrivateFile(file, warn);
  try {
    return parseBundle(text);
  } catch (thrown) {
    if (!(thrown instanceof BundleError)) throw thrown;
    throw new BundleError(`${file}: ${thrown.message}`);
  }
}

async function readPrivateFile(file: string, warn: (text: string) => void): Promise<string> {
  try {
    const stats = await stat(file);
    if (stats.size > maxBundleBytes) throw new BundleError(`it is larger than ${maxBundleBytes} bytes`);
    if (isOpenToOthers(stats)) warn(`${file}: other users may read these secrets; run chmod 600 on it`);
    return await readFile(file, "utf8");
  } catch (thrown) {
    throw new BundleError(`cannot read the bundle ${file}: ${fileReasonOf(thrown)}`);
  }
}

/** Rejects credentials in the URL: Node's fetch rejects them too, and its error message would contain the password. */
export function parsePingUrl(raw: string): string {
  const url = parseWebUrl(raw);
  const { username, password } = new URL(url);
  if (username !== "" || password !== "") throw new BundleError("must not contain a user name or password");
  return url;
}

const schema = z
  .strictObject({
    name: z.string().min(1),
    webapi: z.array(parsedBy(parseWebUrl)).min(1),
    gateway_ca: parsedBy(parseCertificates).optional(),
    ping_url: parsedBy(parsePingUrl).optional(),
    ping_token: z.string().min(1).optional(),
    suites_with_slash: z.array(parsedBy(parseSuite)).optional(),
    directory: z.array(z.strictObject({ path: parsedBy(parseTreePath), writecap: parsedBy(parseWriteCap) })).min(1),
  })
  .refine((raw) => (raw.ping_url === undefined) === (raw.ping_token === undefined), {
    message: "ping_url and ping_token must be given together",
  })
  .refine(
    ({ directory }) => !directory.some((one) => directory.some((two) => one !== two && isWithin(one.path, two.path))),
    {
      message: "one directory is inside another",
    },
  )
  .transform(
    (raw): Bundle => ({
      name: raw.name,
      gateways: raw.webapi,
      gatewayCa: raw.gateway_ca,
      directories: raw.directory.map(({ path, writecap }) => ({ path, cap: writecap })),
      ping:
        raw.ping_url === undefined || raw.ping_token === undefined
          ? undefined
          : { url: raw.ping_url, token: new Secret(raw.ping_token) },
      suitesWithSlash: raw.suites_with_slash,
    }),
  );

/** @throws BundleError that lists every mistake */
export function parseBundle(text: string): Bundle {
  let raw: unknown;
  try {
    raw = parseToml(text);
  } catch (thrown) {
    // Give only the line number: the parser's message quotes the text.
    const line = thrown instanceof TomlError ? `line ${thrown.line}` : "it";
    throw new BundleError(`${line} is not valid TOML: is this the complete file from init or builder add?`);
  }
  const parsed = schema.safeParse(raw, { error: validationMessage });
  if (parsed.success) return parsed.data;
  const mistakes = parsed.error.issues.map(({ path, message }) => `${path.join(".") || "the bundle"}: ${message}`);
  throw new BundleError(mistakes.join("; "));
}

/** Formats the bundle file, which is a secret as a whole. */
export function formatBundle({ name, gateways, gatewayCa, directories, ping, suitesWithSlash = [] }: Bundle): Secret {
  const values = {
    name,
    webapi: gateways,
    ...(gatewayCa !== undefined && { gateway_ca: gatewayCa }),
    ...(ping && { ping_url: ping.url, ping_token: ping.token.reveal() }),
    ...(suitesWithSlash.length > 0 && { suites_with_slash: suitesWithSlash }),
    directory: directories.map(({ path, cap }) => ({ path, writecap: cap.reveal() })),
  };
  return new Secret(
    `# Anybody who has this file can change these directories: keep it private.\n${formatToml(values)}`,
  );
}
