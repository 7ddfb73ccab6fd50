// Reads a whole database in a process of its own, because a corrupt one may kill its reader. Exits with 3 if it is
// corrupt.
import { messageOf } from "../base/errors.ts";
import { openStateDatabase } from "../publishing/store/state-database.ts";
import { brokenExitCode } from "./sound-database.ts";

try {
  const root = openStateDatabase(process.argv[2] ?? "", { readOnly: true });
  for (const name of [...root.getKeys()].map(String)) {
    const database = root.openDB({ name, encoding: "binary" });
    for (const _entry of database.getRange()) {
      // Reading it is the check.
    }
  }
} catch (thrown) {
  process.stderr.write(`${messageOf(thrown)}\n`);
  process.exitCode = brokenExitCode;
}
