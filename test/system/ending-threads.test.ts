// Threads that end at any moment, even while they load or use lzma-native, which once aborted the process.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { aDeb } from "../support/debs.ts";
import { projectRoot } from "../support/project-files.ts";

const built = (file: string): string => JSON.stringify(pathToFileURL(join(projectRoot, "dist", file)).href);

/** @param round the body of a function that is called many times, each time with another delay in ms */
function exitOf(round: string, input: Uint8Array): { readonly status: number | null; readonly output: string } {
  const program = `
    import { buffer } from "node:stream/consumers";
    import { setTimeout as sleep } from "node:timers/promises";
    const input = await buffer(process.stdin);
    const { signal } = new AbortController();
    for (let delayMs = 0; delayMs < 120; delayMs += 10) { ${round} }
    console.log("done");`;
  // A file, because threads inherit the flags of a program on the command line.
  const directory = mkdtempSync(join(tmpdir(), "tahoe-apt-ending-"));
  try {
    const file = join(directory, "program.mjs");
    writeFileSync(file, program);
    const run = spawnSync(process.execPath, [file], { input, timeout: 50_000, encoding: "utf8" });
    return { status: run.status, output: `${run.stdout}${run.stderr}` };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test("a compressor can be closed while its threads start or compress, and the process survives", () => {
  const lines = Array.from({ length: 20_000 }, (_, line) => `line ${(line * 7919) % 1000}\n`).join("");
  const ended = exitOf(
    `const { createCompressor } = await import(${built("indices/compression/compress.js")});
     const compressor = createCompressor({ threads: 2 });
     compressor.wake();
     compressor.compress(input, signal).catch(() => undefined);
     await sleep(delayMs);
     await compressor.close();`,
    Buffer.from(lines),
  );
  expect(ended).toEqual({ status: 0, output: "done\n" });
});

test("a thread for Contents can be closed or aborted while it compresses, and the process survives", () => {
  const ended = exitOf(
    `const { createContentsThread } = await import(${built("publishing/deferred/contents/contents-thread.js")});
     const thread = createContentsThread();
     const aborted = new AbortController();
     thread.compressPaths(input, aborted.signal).catch(() => undefined);
     await sleep(delayMs);
     aborted.abort();
     await thread.close();`,
    Buffer.alloc(2_000_000, "usr/share/doc\n"),
  );
  expect(ended).toEqual({ status: 0, output: "done\n" });
});

test("an inspector can be closed while it unpacks an .xz, and the process survives", async () => {
  const files = { "./usr/share/large": Buffer.alloc(4_000_000, "a line\n") };
  const deb = await aDeb({ package: "large", version: "1", architecture: "amd64", files, compression: "xz" });
  const ended = exitOf(
    `const { InspectorPool } = await import(${built("catalog/inspection/inspector-pool.js")});
     const { defaultInspectLimits } = await import(${built("catalog/inspection/inspect-limits.js")});
     const inspector = new InspectorPool({ limits: defaultInspectLimits, algorithms: ["sha256"], fileLists: true }, 2);
     const content = async function* () { yield input; };
     for (let file = 0; file < 4; file++) inspector.inspect("binary", content(), signal).catch(() => undefined);
     await sleep(delayMs);
     await inspector.close();`,
    deb,
  );
  expect(ended).toEqual({ status: 0, output: "done\n" });
});
