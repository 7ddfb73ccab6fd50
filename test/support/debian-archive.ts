// Debian's own archive, as this machine's apt knows it: where tests get real packages from.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fetch from "node-fetch";
import { AptRoot } from "./apt.ts";
import { debianMirror } from "./rootfs.ts";

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
const patienceMs = 15_000;

/**
 * Undefined where Debian's mirror can be reached; else why not, for a test to say when it is skipped. A test run for the
 * record (where the environment has `CI`) must have it.
 * @throws Error there
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
      signal: AbortSignal.timeout(patienceMs),
    });
    return reply.ok ? undefined : `${url} answers ${reply.status}`;
  } catch (thrown) {
    return `Debian's archive can't be reached: ${String(thrown)}`;
  }
}

/**
 * A private apt that has the archive for its only source: binaries of these architectures, and sources.
 * @param codename of a suite; by default the one that this machine is made of
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

/** The text of each stanza of the index whose name ends so, e.g. `main_binary-amd64_Packages`. */
export function archiveIndex(root: AptRoot, end: string): readonly string[] {
  const lists = join(root.directory, "state/lists");
  return readdirSync(lists)
    .filter((name) => name.endsWith(end))
    .flatMap((name) => readFileSync(join(lists, name), "utf8").split("\n\n"))
    .filter((stanza) => stanza !== "");
}
