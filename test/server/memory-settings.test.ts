// The memory settings of malloc and V8, which must be set before the process starts, for each way to start the server.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { projectRoot, readProjectFile } from "../support/project-files.ts";

const young = "--max-semi-space-size=4";
const setting = "MALLOC_ARENA_MAX=2";

test("the command, run by its name, sets two malloc arenas and a small young generation", async () => {
  const work = mkdtempSync(join(tmpdir(), "malloc-settings-"));
  const program = join(projectRoot, "dist/cli.js");
  chmodSync(program, 0o755);
  const flags = ["--folder", work, "--state", join(work, "state"), "--listen", "127.0.0.1:0"];
  const child = spawn(program, ["serve", ...flags], {
    env: { PATH: [dirname(process.execPath), process.env.PATH].join(delimiter) },
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(async () => {
    const exited = once(child, "exit");
    child.kill("SIGTERM");
    await exited;
    rmSync(work, { recursive: true });
  });
  await once(child.stdout, "data");
  // Node.js has replaced env in this process, so that signals reach it.
  expect(readFileSync(`/proc/${child.pid}/cmdline`, "utf8").split("\0").slice(0, 2)).toEqual(["node", young]);
  expect(readFileSync(`/proc/${child.pid}/environ`, "utf8").split("\0")).toEqual(expect.arrayContaining([setting]));
});

test("the image and npm use the same settings", () => {
  expect(readProjectFile("docker/Dockerfile")).toContain(`ENV ${setting}\n`);
  expect(readProjectFile("docker/Dockerfile")).toContain(`ENTRYPOINT ["node", "${young}", `);
  expect(readProjectFile("src/bootstrap.mjs")).toContain('{ MALLOC_ARENA_MAX: "2" }');
  expect(readProjectFile("src/bootstrap.mjs")).toContain(`"${young}", "dist/cli.js", "start"`);
});
