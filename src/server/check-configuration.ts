// Checks the files and directories that a configuration names, and on request whether its gateways and URLs respond.
import { accessSync, constants, existsSync } from "node:fs";
import { dirname, join } from "node:path";
import fetch from "node-fetch";
import { systemClock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { silentLog } from "../base/log.ts";
import { rootPath } from "../base/names.ts";
import { withoutCaps } from "../base/redact.ts";
import { Secret } from "../base/secret.ts";
import { readBundle } from "../client/bundle.ts";
import { WriteGateways } from "../client/write-gateways.ts";
import type { Configuration, RepositoryConfiguration } from "../config/configuration.ts";
import { readKeyFile } from "../signing/key-file.ts";
import { LockedKey, openKey } from "../signing/openpgp-key.ts";
import { openGridTree } from "./open-tree.ts";
import { repositoryDirectoryIn, signingKeyName } from "./state-directory.ts";

/** Mistakes, and warnings about values that are valid but unwise. Each text names its key. */
export interface Findings {
  readonly mistakes: string[];
  readonly warnings: string[];
}

const daySeconds = 24 * 3600;
/** A key that expires within this time needs a successor now. */
const soonSeconds = 60 * daySeconds;
/** The longest wait for one gateway or for the public URL. */
const onlineTimeoutMs = 20_000;

/**
 * Checks files and directories, without changing any of them.
 * @param isLeftOut whether a key is mistaken, and so has another value here: nothing is concluded from that
 */
export async function checkFiles(configuration: Configuration, isLeftOut: (key: string) => boolean): Promise<Findings> {
  const findings: Findings = { mistakes: [], warnings: [...configuration.warnings] };
  const { mistakes } = findings;
  if (!isLeftOut("state")) noteUnwritable("state", configuration.stateDirectory, mistakes);
  for (const one of configuration.repositories) {
    const at = (key: string, text: string) => `repository.${one.name}.${key}: ${text}`;
    await checkKeys(one, { stateDirectory: configuration.stateDirectory, isLeftOut }, findings, at);
    if (one.exportDirectory !== undefined)
      noteUnwritable(at("export_directory", "").slice(0, -2), one.exportDirectory, mistakes);
    if (one.publishBundleFile !== undefined) {
      const warn = (text: string) => findings.warnings.push(at("publish_bundle_file", text));
      await note(mistakes, (why) => at("publish_bundle_file", why), readBundle(one.publishBundleFile, warn));
    }
    const builders = one.builders(() => undefined);
    for (const [index, { name, token }] of builders.entries()) {
      const other = builders.slice(0, index).find((each) => each.token.isSame(token) && each.name !== name);
      if (other !== undefined)
        findings.warnings.push(at("builder", `${other.name} and ${name} have the same token: give each its own`));
    }
  }
  return findings;
}

/** Checks gateways, read caps, write caps and the public URL. @returns a text for each that cannot be reached */
export async function checkOnline(configuration: Configuration): Promise<string[]> {
  const mistakes: string[] = [];
  const { publicUrl, limits } = configuration;
  for (const one of configuration.repositories) {
    const { tree, publishBundleFile } = one;
    const at = (key: string, text: string) => `repository.${one.name}.${key}: ${text}`;
    if (tree.kind === "tahoe") {
      for (const gateway of tree.gateways) {
        const opened = openGridTree({ ...tree, gateways: [gateway], cap: tree.readCap }, limits);
        const looked = opened.look(rootPath, AbortSignal.timeout(onlineTimeoutMs)).then((node) => {
          if (node?.kind !== "directory") throw new Error("the read cap opens no directory");
        });
        await note(mistakes, (why) => at("webapi", `${gateway}: ${why}`), looked);
      }
    }
    if (publishBundleFile === undefined) continue;
    const { gateways, gatewayCa, directories } = await readBundle(publishBundleFile, () => undefined);
    for (const { path, cap } of directories) {
      const signal = AbortSignal.timeout(onlineTimeoutMs);
      const listed = new WriteGateways(gateways, gatewayCa).retry((writer) => writer.list(cap, signal), signal);
      await note(mistakes, (why) => at("publish_bundle_file", `the directory ${path || "."}: ${why}`), listed);
    }
  }
  if (publicUrl !== undefined) {
    // Builders and clients would be sent on too, with their tokens and passwords.
    const request = { signal: AbortSignal.timeout(onlineTimeoutMs), redirect: "manual" } as const;
    const answered = fetch(`${publicUrl}/healthz`, request).then((reply) => {
      const target = reply.headers.get("location");
      if (target !== null) throw new Error(`it redirects to ${target}: name the address without a redirect`);
      if (!reply.ok) throw new Error(`it answers ${reply.status} to /healthz`);
    });
    await note(mistakes, (why) => `public_url: ${publicUrl} does not lead to a running server: ${why}`, answered);
  }
  return mistakes;
}

async function checkKeys(
  { signingKeys, signingPassphrases, name }: RepositoryConfiguration,
  { stateDirectory, isLeftOut }: { readonly stateDirectory: string; readonly isLeftOut: (key: string) => boolean },
  { mistakes, warnings }: Findings,
  at: (key: string, text: string) => string,
): Promise<void> {
  const ownFile = join(repositoryDirectoryIn(stateDirectory, name), signingKeyName);
  const generated =
    signingKeys.length === 0 && !isLeftOut("signing_key_file") && !isLeftOut("state") && existsSync(ownFile)
      ? await note(mistakes, (why) => `state: ${why}`, readKeyFile(ownFile, { log: silentLog }))
      : undefined;
  const files = generated instanceof Secret ? [{ file: ownFile, armored: generated }] : signingKeys;
  let opened = 0;
  let canSign = 0;
  for (const file of files) {
    const opening = openKey(file, { passphrases: signingPassphrases, now: systemClock }).catch((thrown: unknown) => {
      if (thrown instanceof LockedKey && isLeftOut("signing_passphrase_file")) return undefined;
      throw thrown;
    });
    const key = await note(mistakes, (why) => at("signing_key_file", why), opening);
    if (key === undefined) continue;
    opened += 1;
    const leftSeconds = (key.expiresAtSeconds ?? Number.POSITIVE_INFINITY) - systemClock() / 1000;
    if (leftSeconds > 0) canSign += 1;
    if (leftSeconds <= 0) warnings.push(at("signing_key_file", `${file.file}: has expired and signs nothing`));
    else if (leftSeconds < soonSeconds)
      warnings.push(
        at(
          "signing_key_file",
          `${file.file}: expires in ${Math.ceil(leftSeconds / daySeconds)} days: extend it, or add a second key`,
        ),
      );
  }
  if (opened > 0 && canSign === 0 && !isLeftOut("signing_key_file"))
    mistakes.push(at("signing_key_file", "no key can sign: extend one (gpg --quick-set-expire), or add another"));
}

/** @param key the place of the key for the message */
function noteUnwritable(key: string, directory: string, mistakes: string[]): void {
  let existing = directory;
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing);
  try {
    accessSync(existing, constants.W_OK | constants.X_OK);
  } catch (thrown) {
    mistakes.push(`${key}: ${directory} cannot be written: ${messageOf(thrown)}`);
  }
}

/** Waits for work, and adds its failure to the mistakes. @returns undefined after a failure */
async function note<T>(
  mistakes: string[],
  describe: (why: string) => string,
  work: Promise<T>,
): Promise<T | undefined> {
  try {
    return await work;
  } catch (thrown) {
    mistakes.push(describe(withoutCaps(messageOf(thrown))));
    return undefined;
  }
}
