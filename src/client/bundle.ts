// A bundle: all that a builder needs to change its part of a tree, in one private file.

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

/** A directory that the bearer may change, with all below it. */
export interface BundleDirectory {
  /** Where it stands in the tree; the root's is "". */
  readonly path: TreePath;
  readonly cap: WriteCap;
}

/** The server to be told of changes. */
export interface PingAddress {
  /** `http://HOST/-/ping/NAME`, without a trailing slash: paths of the tree are added to it. */
  readonly url: string;
  /** Its scope holds the bundle's directories. */
  readonly token: Secret;
}

/** Of a builder: its directories. Of a tree's owner, the *master* bundle: the root alone. */
export interface Bundle {
  readonly name: string;
  /** The webapi URLs of gateways that stand in for each other; at least one. */
  readonly gateways: readonly string[];
  /** Certificates, in PEM, that are trusted for the gateways beside those that everybody trusts. */
  readonly gatewayCa?: string | undefined;
  /** At least one, and none within another. */
  readonly directories: readonly BundleDirectory[];
  /** Undefined: the server finds changes by its next poll. */
  readonly ping: PingAddress | undefined;
  /** Those of the tree's suites that have a slash in their names, as far as they are known. */
  readonly suitesWithSlash?: readonly Suite[] | undefined;
}

/** A bundle's file can't be used. Quotes nothing of what is in it. */
export class BundleError extends RepoError {
  readonly code = "builder/bad-bundle";
}

const maxBundleBytes = 1024 * 1024;

/** @param complain is told that others may read the file @throws BundleError */
export async function readBundle(file: string, complain: (text: string) => void): Promise<Bundle> {
  const text = await readFileOf(file, complain);
  try {
    return parseBundle(text);
  } catch (thrown) {
    if (!(thrown instanceof BundleError)) throw thrown;
    throw new BundleError(`${file}: ${thrown.message}`);
  }
}

async function readFileOf(file: string, complain: (text: string) => void): Promise<string> {
  try {
    const { mode, size } = await stat(file);
    if (size > maxBundleBytes) throw new BundleError(`it is larger than ${maxBundleBytes} bytes`);
    if (isOpenToOthers(mode)) complain(`${file}: others may read these secrets; chmod 600 it`);
    return await readFile(file, "utf8");
  } catch (thrown) {
    throw new BundleError(`cannot read the bundle ${file}: ${fileReasonOf(thrown)}`);
  }
}

/** Pings authenticate by their token; Node's fetch takes no URL with a password, and would repeat it in its error. */
function parsePingUrl(raw: string): string {
  const url = parseWebUrl(raw);
  const { username, password } = new URL(url);
  if (username !== "" || password !== "") throw new BundleError("must not hold a user or a password");
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
    message: "ping_url and ping_token belong together",
  })
  .refine(
    ({ directory }) => !directory.some((one) => directory.some((two) => one !== two && isWithin(one.path, two.path))),
    {
      message: "one directory lies within another",
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

/** @throws BundleError naming every mistake */
export function parseBundle(text: string): Bundle {
  let raw: unknown;
  try {
    raw = parseToml(text);
  } catch (thrown) {
    // Only where: the parser's message quotes the text.
    const line = thrown instanceof TomlError ? `line ${thrown.line}` : "it";
    throw new BundleError(`${line} is not valid TOML: is this the whole file that init or builder add wrote?`);
  }
  const parsed = schema.safeParse(raw, { error: validationMessage });
  if (parsed.success) return parsed.data;
  const mistakes = parsed.error.issues.map(({ path, message }) => `${path.join(".") || "the bundle"}: ${message}`);
  throw new BundleError(mistakes.join("; "));
}

/** The text of a bundle's file: a secret as a whole. */
export function formatBundle({ name, gateways, gatewayCa, directories, ping, suitesWithSlash = [] }: Bundle): Secret {
  const values = {
    name,
    webapi: gateways,
    ...(gatewayCa !== undefined && { gateway_ca: gatewayCa }),
    ...(ping && { ping_url: ping.url, ping_token: ping.token.reveal() }),
    ...(suitesWithSlash.length > 0 && { suites_with_slash: suitesWithSlash }),
    directory: directories.map(({ path, cap }) => ({ path, writecap: cap.reveal() })),
  };
  return new Secret(`# Whoever has this file may change these directories: keep it private.\n${formatToml(values)}`);
}
