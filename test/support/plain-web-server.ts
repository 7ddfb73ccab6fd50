// Python's web server for a directory, until the test ends.
import { spawn } from "node:child_process";
import fetch from "node-fetch";
import { expect, onTestFinished } from "vitest";
import { freePort } from "./server.ts";

/** @returns its URL, once it responds */
export async function plainWebServer(directory: string): Promise<string> {
  const port = await freePort();
  const args = ["-m", "http.server", "--bind", "127.0.0.1", "--directory", directory, String(port)];
  const child = spawn("python3", args, { stdio: "ignore" });
  onTestFinished(() => void child.kill());
  const url = `http://127.0.0.1:${port}`;
  await expect
    .poll(
      () =>
        fetch(url).then(
          ({ status }) => status,
          () => 0,
        ),
      { timeout: 20_000 },
    )
    .toBe(200);
  return url;
}
