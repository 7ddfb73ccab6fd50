// A folder with more directories than file descriptors, and with very many files.
import { execFile } from "node:child_process";
import { linkSync, writeFileSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";

const dist = fileURLToPath(new URL("../../../dist", import.meta.url));
const run = promisify(execFile);
let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "tahoe-apt-many-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function fill(directories: number, files: number): Promise<void> {
  writeFileSync(join(root, "file"), "");
  for (let directory = 0; directory < directories; directory++) {
    const at = join(root, `dists/sid/main/binary-amd64/b${directory}`);
    await mkdir(at, { recursive: true });
    // Creating links is faster than creating files.
    for (let file = 0; file < files; file++) linkSync(join(root, "file"), join(at, `p${file}.txt`));
  }
}

/** Surveys in a separate process, and returns the result and the peak use of resources. */
const script = `
  import { openSync, readdirSync, readFileSync } from "node:fs";
  const [dist, root, limits, held] = process.argv.slice(1);
  const { FolderTree, defaultFolderLimits } = await import(dist + "/storage/folder/folder-tree.js");
  const { survey } = await import(dist + "/catalog/survey.js");
  for (let n = 0; n < Number(held); n++) try { openSync("/dev/null") } catch { break }
  const threads = () => Number(/Threads:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]);
  const before = held > 0 ? 0 : threads();
  let most = before;
  const timer = held > 0 ? undefined : setInterval(() => { try { most = Math.max(most, threads()) } catch {} }, 2);
  const tree = new FolderTree(root, { ...defaultFolderLimits, ...JSON.parse(limits) });
  const seen = await survey(tree, "dists", new AbortController().signal, Date.now()).then(
    ({ files, unlisted }) => ({ files: files.size, unlisted: unlisted.size }),
    ({ code, transient, message }) => ({ code, transient, message }),
  );
  clearInterval(timer);
  console.log(JSON.stringify({ ...seen, threads: most - before }));
`;

async function surveyed(limits: object, { descriptors = 1024, held = 0 } = {}): Promise<Record<string, unknown>> {
  const node = 'ulimit -n "$0" && exec "$@"';
  const args = [String(descriptors), process.execPath, "--input-type=module", "-e", script];
  const { stdout } = await run("sh", ["-c", node, ...args, dist, root, JSON.stringify(limits), String(held)]);
  return JSON.parse(stdout) as Record<string, unknown>;
}

test("more directories than file descriptors are all listed", async () => {
  await fill(400, 1);
  expect(await surveyed({}, { descriptors: 128 })).toMatchObject({ files: 400, unlisted: 0 });
});

test("large directories share a limited number of threads", async () => {
  await fill(6, 2000);
  const { files, threads } = await surveyed({ maxStatThreads: 1 });
  expect(files).toBe(12_000);
  // The thread pool of Node.js with four threads starts meanwhile.
  expect(Number(threads)).toBeLessThanOrEqual(5 + 1);
});

test("a lack of file descriptors makes a survey fail for now, and rejects no directory", async () => {
  await fill(3, 1);
  expect(await surveyed({}, { descriptors: 64, held: 100 })).toMatchObject({
    code: "storage/unavailable",
    transient: true,
    message: expect.stringContaining("EMFILE"),
  });
});
