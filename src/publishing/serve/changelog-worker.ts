// The process that reads the changelog of one package: the package on standard input, the changelog on standard output.
import { readChangelog } from "../../debian/changelog.ts";
import { Malformed } from "../../debian/malformed.ts";
import type { ChangelogTask } from "./changelog-process.ts";
import { absent, found } from "./changelog-process.ts";

const { packageName, limits } = JSON.parse(process.argv[2] ?? "") as ChangelogTask;
try {
  const text = await readChangelog(process.stdin, packageName, limits);
  process.stdout.write(text === undefined ? Buffer.of(absent) : Buffer.concat([Buffer.of(found), text]));
} catch (thrown) {
  if (!(thrown instanceof Malformed)) throw thrown;
  process.stdout.write(Buffer.of(absent));
}
