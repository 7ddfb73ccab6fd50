// What the server's malloc is told, however the server is started: it must stand in the environment before Node runs.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { projectRoot, readProjectFile } from "../support/project-files.ts";

const settings = ["MALLOC_ARENA_MAX=2", "MALLOC_TRIM_THRESHOLD_=1048576"];

test("the command, run by its name, gives its malloc two arenas and has it return what is freed", async () => {
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
  // Node has taken the place of env in this process, so that signals reach it.
  expect(readFileSync(`/proc/${child.pid}/cmdline`, "utf8").split("\0")[0]).toBe("node");
  expect(readFileSync(`/proc/${child.pid}/environ`, "utf8").split("\0")).toEqual(expect.arrayContaining(settings));
});

test("the image and npm tell malloc the same", () => {
  expect(readProjectFile("docker/Dockerfile")).toContain(`ENV ${settings.join(" ")}\n`);
  const pairs = settings.map((setting) => setting.replace(/=(.*)/, ': "$1"'));
  expect(readProjectFile("src/bootstrap.mjs")).toContain(`{ ${pairs.join(", ")} }`);
});
