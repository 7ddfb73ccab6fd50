// Runs HTTP transcripts: scenes that consist of a request and the expected response.
import { readFileSync } from "node:fs";
import type { IncomingHttpHeaders } from "node:http";
import { request } from "node:http";
import { expect, test } from "vitest";

/*
 * A transcript is a text of scenes, separated by blank lines:
 *
 *   # A sentence: the scene's name.
 *   GET /debian/dists/sid/InRelease
 *   > If-None-Match: "abc"             a header field of the request
 *   status 304
 *   header etag == "abc"               or:  header x ~ REGEXP,  header x absent
 *   body empty                         or:  body == TEXT with \n,  body ~ REGEXP,  body length N
 *
 * The path is sent unchanged. {name} is replaced by a variable. In every scene, the response must have no
 * Content-Encoding, and every error must have a body that begins with its status and code.
 */

interface Scene {
  readonly title: string;
  readonly method: string;
  readonly target: string;
  readonly headers: { readonly [name: string]: string };
  readonly expectations: readonly string[];
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Registers one test for each scene of a file. @param place available when the tests run */
export function playTranscript(
  file: URL,
  place: () => { readonly port: number },
  variables: { readonly [name: string]: string } = {},
): void {
  const text = readFileSync(file, "utf8").replace(/\{(\w+)\}/g, (whole, name: string) => variables[name] ?? whole);
  const scenes = text.split(/\n\s*\n/).filter((block) => /^[A-Z]+ /m.test(block));
  if (scenes.length === 0) throw new Error(`${file.pathname} holds no scene`);
  for (const scene of scenes.map(parseScene)) {
    test(scene.title, async () => {
      const { title: _title, method, target, headers } = scene;
      const reply = await ask(place().port, method, target, headers);
      expect(reply.headers["content-encoding"]).toBeUndefined();
      if (reply.status >= 400 && method !== "HEAD") {
        expect(reply.body.toString()).toMatch(new RegExp(`^${reply.status} [a-z-]+/[a-z-]+: .+\n$`));
      }
      for (const expectation of scene.expectations) check(expectation, reply);
    });
  }
}

/** Sends a request with an unchanged target. Rejects if the response is truncated. */
export function ask(
  port: number,
  method: string,
  target: string,
  headers: { readonly [name: string]: string } = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const asking = request({ host: "127.0.0.1", port, method, path: target, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) });
      });
    });
    asking.on("error", reject);
    asking.end();
  });
}

function parseScene(block: string): Scene {
  const lines = block.split("\n").filter((line) => line.trim() !== "");
  const title = lines
    .filter((line) => line.startsWith("#"))
    .map((line) => line.slice(1).trim())
    .join(" ");
  const [requestLine = "", ...rest] = lines.filter((line) => !line.startsWith("#"));
  const [method = "", target = ""] = requestLine.split(" ");
  const headers: Record<string, string> = {};
  for (const line of rest.filter((line) => line.startsWith(">"))) {
    const [, name = "", value = ""] = /^>\s*([^:]+):\s*(.*)$/.exec(line) ?? [];
    headers[name] = value;
  }
  const expectations = rest.filter((line) => !line.startsWith(">"));
  if (expectations.length === 0) throw new Error(`nothing is expected of ${requestLine}`);
  return { title: title === "" ? requestLine : title, method, target, headers, expectations };
}

function check(expectation: string, { status, headers, body }: Reply): void {
  const [, subject, name = "", verb = "", wanted = ""] =
    /^(status|header|body)(?:(?<=header) (\S+))? (==|~|absent|empty|length|\d+) ?(.*)$/.exec(expectation) ?? [];
  const actual = subject === "header" ? headers[name.toLowerCase()] : body.toString("utf8");
  if (subject === "status") expect(`status ${status}`).toBe(`status ${verb}`);
  else if (subject === undefined) throw new Error(`a transcript can't say: ${expectation}`);
  else if (verb === "absent") expect(actual, expectation).toBeUndefined();
  else if (verb === "empty") expect(actual, expectation).toBe("");
  else if (verb === "length") expect(body.length, expectation).toBe(Number(wanted));
  else if (verb === "~") expect(actual, expectation).toMatch(new RegExp(wanted));
  else expect(actual, expectation).toBe(wanted.replaceAll("\\n", "\n"));
}
