// A full state directory: published files are still served, and the server keeps running.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fetch from "node-fetch";
import { expect, onTestFinished, test } from "vitest";
import { aDeb } from "../support/debs.ts";
import { killed } from "../support/killed.ts";
import { projectRoot } from "../support/project-files.ts";

/** Larger than a database with one small publication, in the shell's blocks of 512 bytes. */
const fileLimitBlocks = 1024;

test.each([
  ["serve", "state/repositories/debian/ping-token"],
  ["start", ".tahoe-apt/caps/ping-token"],
])(
  "a database that cannot grow fails only the ping: %s continues to serve its publications",
  async (command, tokenFile) => {
    const work = mkdtempSync(join(tmpdir(), "full-disk-"));
    const packages = join(work, "tree/dists/sid/main/binary-amd64");
    mkdirSync(packages, { recursive: true });
    writeFileSync(join(packages, "a.deb"), await aDeb({ package: "a", architecture: "amd64" }));

    const state = join(work, "state");
    const serve = [join(projectRoot, "dist/cli.js"), command, "--folder", join(work, "tree"), "--state", state];
    // A file size limit simulates a full disk: with the signal ignored, a write beyond it fails.
    const limited = `trap "" XFSZ; ulimit -f ${fileLimitBlocks}; exec "$0" "$@"`;
    const server = spawn("sh", ["-c", limited, process.execPath, ...serve, "--listen", "127.0.0.1:0"], { cwd: work });
    onTestFinished(async () => {
      await killed(server);
      rmSync(work, { recursive: true, force: true });
    });
    let output = "";
    for (const stream of [server.stdout, server.stderr]) stream.on("data", (chunk) => (output += String(chunk)));
    const logFile = join(work, ".tahoe-apt/server.log");
    const log = () => output + (existsSync(logFile) ? readFileSync(logFile, "utf8") : "");
    await expect
      .poll(log, { timeout: 30_000 })
      .toMatch(/"url":"[\s\S]*"msg":"published"|"msg":"published"[\s\S]*"url":"/);
    const url = /"url":"([^"]+)"/.exec(log())?.[1] ?? "";
    const inRelease = async () => (await fetch(`${url}dists/sid/InRelease`)).text();
    // The deferred files of the first packages are a separate publication.
    await expect.poll(inRelease, { timeout: 30_000 }).toContain("/Contents-");
    const before = await inRelease();

    for (let n = 0; n < 20; n++) {
      const fields = { Description: randomBytes(24_000).toString("base64url") };
      writeFileSync(join(packages, `b${n}.deb`), await aDeb({ package: `b${n}`, architecture: "amd64", fields }));
    }
    const token = readFileSync(join(work, tokenFile), "utf8").trim();
    const ping = await fetch(url.replace(/debian\/$/, "-/ping/debian?wait=30"), {
      method: "POST",
      headers: { authorization: `Bearer ${token}` },
    });
    expect(ping.status).toBe(503);
    // lmdb reports a truncated write as a disk error; a write that begins at the limit is not
    // truncated.
    expect(await ping.text()).toMatch(/the state directory cannot be written: (i\/o error|file too large)/);
    expect(await (await fetch(url)).text()).toMatch(/be written: (i\/o error|file too large)/);
    expect(await inRelease()).toBe(before);
    expect(server.exitCode).toBeNull();
  },
);
