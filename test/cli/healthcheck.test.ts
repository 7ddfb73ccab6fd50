// The health check that container images use instead of curl.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { projectRoot } from "../support/project-files.ts";

async function statusOfCheck(url: string): Promise<number> {
  const check = spawn(process.execPath, [join(projectRoot, "dist/healthcheck.js"), url], { stdio: "ignore" });
  const [status]: unknown[] = await once(check, "close");
  return Number(status);
}

async function serverWithStatus(status: number): Promise<string> {
  const server = createServer((_request, response) => void response.writeHead(status).end("a status\n"));
  await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/healthz`;
}

test("the health check exits with 0 if the server reports that it is healthy", async () => {
  expect(await statusOfCheck(await serverWithStatus(200))).toBe(0);
});

test("the health check exits with 1 if the server responds with an error", async () => {
  expect(await statusOfCheck(await serverWithStatus(503))).toBe(1);
});

test("the health check exits with 1 if there is no server", async () => {
  expect(await statusOfCheck("http://127.0.0.1:1/healthz")).toBe(1);
});

test("the health check exits with 1 if the server accepts connections but never responds", async () => {
  const server = createServer(() => {});
  await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  expect(await statusOfCheck(`http://127.0.0.1:${(server.address() as AddressInfo).port}/healthz`)).toBe(1);
});
