// Relation fields are accepted if and only if both apt 2.6 and apt 3 accept them, according to their own python3-apt.
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { readBuildRelations, readRelations } from "../../src/debian/relations.ts";
import { buildRelationSeeds, FieldMutator } from "../support/control-fields.ts";
import { runTool } from "../support/debs.ts";
import type { AptParser } from "../support/python-apt.ts";
import { askingScript, isTaken, verdictsOf } from "../support/python-apt.ts";
import { debianMachine } from "../support/rootfs.ts";

const setUpMs = 600_000;
const fieldCount = 50_000;

test.each<[AptParser, typeof readRelations, RegExp]>([
  // If nothing follows a bar, the parser accepts it, and apt crashes later.
  ["parse_depends", readRelations, /\|[ \t\n]*$/],
  // No program calls this parser with superfluous commas, and after an open bracket it may read anything.
  ["parse_src_depends", readBuildRelations, /\|[ \t\n,]*$|(^|[,|])[ \t\n]*,|<[^>]*$/],
])(
  "%s of apt 2.6 and of apt 3 accepts the fields that we accept",
  async (parser, read, excepted) => {
    const mutator = new FieldMutator(5);
    const fields = new Set<string>();
    while (fields.size < fieldCount) {
      const field = parser === "parse_depends" ? mutator.relation() : mutator.relation(buildRelationSeeds);
      if (!excepted.test(field)) fields.add(field);
    }
    const input = JSON.stringify([parser, [...fields]]);
    const older = verdictsOf(runTool("/usr/bin/python3", ["-c", askingScript], input, "python3-apt").toString());
    const machine = await debianMachine("trixie-apt");
    try {
      writeFileSync(join(machine.changes, "asked.json"), input);
      writeFileSync(join(machine.changes, "ask.py"), askingScript);
      const [command, args] = await machine.enter("python3 /ask.py </asked.json");
      const { stdout } = await promisify(execFile)(command, [...args], { maxBuffer: 2 ** 24 });
      const newer = verdictsOf(stdout);
      expect([older.length, newer.length]).toEqual([fieldCount, fieldCount]);
      const wrong = [...fields].filter(
        (field, index) => isTaken(read, field) !== (older[index] === "taken" && newer[index] === "taken"),
      );
      expect(wrong).toEqual([]);
      expect(older).not.toEqual(newer);
    } finally {
      await machine.remove();
    }
  },
  setUpMs,
);
