// Builds repositories from nothing with the real server in a separate process, to compare them with incremental ones.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fetch from "node-fetch";
import type { ServedFolder } from "./served-folder.ts";
import { sha256 } from "./served-folder.ts";
import { ServerUnderTest } from "./server.ts";
import { aSigningKey } from "./signing-key.ts";

/** The files of a suite: the text of Release without its Date, and the digest of each index. */
export type SuiteFiles = Readonly<Record<string, string>>;

/** @param read returns the bytes of a file of the suite; undefined if it does not exist */
async function suiteFiles(read: (path: string) => Promise<Buffer | undefined>): Promise<SuiteFiles> {
  const release = (await read("Release"))?.toString();
  if (release === undefined) return {};
  const files: Record<string, string> = { Release: release.replace(/^Date: .*\n/m, "") };
  for (const [, path = ""] of release.matchAll(/^ [0-9a-f]{64} [0-9]+ (.+)$/gm)) {
    const bytes = await read(path);
    files[path] = bytes === undefined ? "not served" : sha256(bytes);
  }
  return files;
}

/** The current files of the suite `sid` of a repository; empty if it has no such suite. */
export const servedFiles = (served: ServedFolder): Promise<SuiteFiles> =>
  suiteFiles((path) => served.bytes(`dists/sid/${path}`));

/** The files of the suite `sid` after builds of these folders from nothing, with descriptions in Translation-en. */
export async function freshBuilds(folders: readonly string[]): Promise<readonly SuiteFiles[]> {
  const work = mkdtempSync(join(tmpdir(), "tahoe-apt-fresh-"));
  const key = join(work, "key.asc");
  writeFileSync(key, (await aSigningKey()).reveal(), { mode: 0o600 });
  const repositories = folders.map((folder, n) => {
    const of = { name: `r${n}`, folder, origin: "test", label: "test", signing_key_file: key };
    const values = { ...of, translations: true, contents: false, pdiffs: false };
    const lines = Object.entries(values).map(([name, value]) => `${name} = ${JSON.stringify(value)}\n`);
    return `[[repository]]\n${lines.join("")}`;
  });
  const configuration = join(work, "tahoe-apt.toml");
  writeFileSync(configuration, repositories.join("\n"));
  const server = await ServerUnderTest.start({ flags: ["--config", configuration, "--state", join(work, "state")] });
  try {
    await server.ready();
    const builds: SuiteFiles[] = [];
    for (const n of folders.keys())
      builds.push(await suiteFiles((path) => fetched(`${server.url}/r${n}/dists/sid/${path}`)));
    return builds;
  } finally {
    await server.end();
    rmSync(work, { recursive: true });
  }
}

async function fetched(url: string): Promise<Buffer | undefined> {
  const reply = await fetch(url);
  const bytes = Buffer.from(await reply.arrayBuffer());
  if (reply.status === 404) return undefined;
  if (reply.status !== 200) throw new Error(`${url} answers ${reply.status}: ${bytes.toString()}`);
  return bytes;
}
