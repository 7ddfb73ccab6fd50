// Debian's own archive, as configured for this machine's apt: the source of real packages for tests.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fetch from "node-fetch";
import { AptRoot } from "./apt.ts";
import { debianMirror } from "./rootfs.ts";

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
const timeoutMs = 15_000;

/**
 * Checks whether Debian's mirror is reachable.
 * @returns undefined if it is; else the reason, with which a test is skipped
 * @throws Error instead, if the environment has `CI`
 */
export async function archiveMissing(): Promise<string | undefined> {
  const why = await whyMissing();
  if (why !== undefined && process.env.CI !== undefined) throw new Error(why);
  return why;
}

async function whyMissing(): Promise<string | undefined> {
  if (!existsSync(keyring)) return "this test needs Debian's key: apt-get install debian-archive-keyring";
  try {
    const { url, suite } = await debianMirror();
    const reply = await fetch(`${url}dists/${suite}/InRelease`, {
      method: "HEAD",
      signal: AbortSignal.timeout(timeoutMs),
    });
    return reply.ok ? undefined : `${url} answers ${reply.status}`;
  } catch (thrown) {
    return `Debian's archive can't be reached: ${String(thrown)}`;
  }
}

/**
 * Creates a private apt that has only the archive as its source: binaries of these architectures, and sources.
 * @param codename of a suite; by default that of this machine
 */
export async function archiveApt(
  components: readonly string[],
  architectures: readonly string[],
  types: "deb" | "deb deb-src" = "deb deb-src",
  codename?: string,
): Promise<AptRoot> {
  const { url, suite } = await debianMirror();
  const source = [
    `Types: ${types}`,
    `URIs: ${url}`,
    `Suites: ${codename ?? suite}`,
    `Components: ${components.join(" ")}`,
    `Signed-By: ${keyring}`,
    "",
  ].join("\n");
  const root = new AptRoot({
    source,
    options: { "APT::Architectures": architectures.join(","), "Acquire::GzipIndexes": "false" },
  });
  await root.update();
  return root;
}

/** The text of each stanza in the index whose file name ends with `end`, e.g. `main_binary-amd64_Packages`. */
export function archiveIndex(root: AptRoot, end: string): readonly string[] {
  const lists = join(root.directory, "state/lists");
  return readdirSync(lists)
    .filter((name) => name.endsWith(end))
    .flatMap((name) => readFileSync(join(lists, name), "utf8").split("\n\n"))
    .filter((stanza) => stanza !== "");
}
