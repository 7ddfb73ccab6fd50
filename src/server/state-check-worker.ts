// Reads all of a database in a process of its own: what is broken in it may end whoever reads it. Ends with 3 where it is.
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
