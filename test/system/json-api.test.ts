// The JSON API against its own description, by schemathesis.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { findPython } from "../../src/local/grid/python.ts";
import { aDeb } from "../support/debs.ts";
import { servedApi } from "../support/served-api.ts";
import { ServedFolder } from "../support/served-folder.ts";
import { startApp } from "../support/started-app.ts";

const run = promisify(execFile);
const release = "schemathesis==4.32.5";
const maxOutputBytes = 64 * 2 ** 20;
const { signal } = new AbortController();

/** Installs schemathesis once. @returns its command */
async function schemathesis(): Promise<string> {
  const venv = join(import.meta.dirname, "../../.tahoe-apt/schemathesis");
  const command = join(venv, "bin/schemathesis");
  const installed = join(venv, release);
  if (existsSync(installed)) return command;
  const { executable } = await findPython(signal);
  await run(executable, ["-m", "venv", "--clear", venv]);
  await run(join(venv, "bin/pip"), ["install", "--quiet", "--disable-pip-version-check", release]);
  await writeFile(installed, "");
  return command;
}

/** @returns what schemathesis found, without the URLs of its requests, which may be long */
async function report(base: string, folder: string, selected: readonly string[] = []): Promise<string> {
  const configuration = join(folder, "schemathesis.toml");
  await writeFile(configuration, '[parameters]\n"path.repository" = "debian"\n');
  const options = ["--config-file", configuration, "--no-color", "run", `${base}/-/api/v1/openapi.json`];
  const amount = ["--max-examples", "10", "--generation-deterministic", "--phases", "coverage,fuzzing"];
  const found = await run(
    await schemathesis(),
    [...options, ...amount, ...selected, "--checks", "all", "--continue-on-failure"],
    {
      cwd: folder,
      maxBuffer: maxOutputBytes,
    },
  ).catch((failed: { readonly stdout: string }) => failed);
  return found.stdout.replaceAll(/(%[0-9A-F]{2}){20,}/g, "…");
}

test("every response of the API is as its OpenAPI document says, to valid and to invalid requests", async () => {
  const served = new ServedFolder();
  for (const name of ["hello", "world"]) {
    const fields = { Description: `the ${name}`, Depends: "hello", Source: "0" };
    const bytes = await aDeb({ package: name, version: "1", architecture: "all", fields });
    served.put(`dists/sid/main/binary-amd64/alice/${name}_1_all.deb`, bytes);
  }
  await served.ping();
  const { base, logged } = await servedApi(served);
  const found = await report(base, served.state);
  expect(found).toMatch(/Test cases:\n {2}\d{3,} generated, \d{3,} passed/);
  expect(found).not.toContain("FAILURES");
  expect(logged()).not.toContain("request failed");
});

test("a response that is not as documented is found", async () => {
  const served = new ServedFolder();
  await served.ping();
  const { base } = await servedApi(served);
  const document = await (await fetch(`${base}/-/api/v1/openapi.json`)).json();
  const liar = await startApp([], {
    furtherRoutes: async () => [
      (router) => {
        router.get("/-/api/v1/openapi.json", (ctx) => {
          ctx.body = JSON.stringify(document);
        });
        router.get("/-/api/v1/repositories", (ctx) => {
          ctx.body = { repositories: [{ name: 1 }] };
        });
      },
    ],
  });
  onTestFinished(() => liar.stop(0));
  const listOnly = ["--include-path", "/-/api/v1/repositories"];
  expect(await report(liar.base, served.state, listOnly)).toContain("Response violates schema");
});
