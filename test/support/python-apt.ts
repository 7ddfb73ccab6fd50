// The verdicts of apt's own parsers of relation fields, from python3-apt.
import type { Relation } from "../../src/debian/relations.ts";
import { RelationError } from "../../src/debian/relations.ts";

/** The result of apt's parser: it accepts a field, rejects it, or crashes. */
export type AptVerdict = "taken" | "refused" | "crashed";

export type AptParser = "parse_depends" | "parse_src_depends";

/**
 * Reads `[parser, fields]` as JSON on standard input and prints a letter for each field. A process that crashes prints
 * nothing for that field, and a new one continues after it. No field contains the configured architecture, so that no
 * list of architectures ends early.
 */
export const askingScript = `
import apt_pkg, json, os, sys
apt_pkg.init_config(); apt_pkg.init_system()
parser, fields = json.load(sys.stdin)
def verdict(field):
    try: getattr(apt_pkg, parser)(field, False, "kfreebsd-sh4"); return b"t"
    except ValueError: return b"r"
verdicts = b""
while len(verdicts) < len(fields):
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(2)
        for field in fields[len(verdicts):]: os.write(writer, verdict(field))
        os._exit(0)
    os.close(writer)
    while told := os.read(reader, 65536): verdicts += told
    os.close(reader)
    os.wait()
    if len(verdicts) < len(fields): verdicts += b"c"
print(verdicts.decode())`;

const verdicts: { readonly [letter: string]: AptVerdict } = { t: "taken", r: "refused", c: "crashed" };

/** Parses the output of the script, one verdict for each field. */
export function verdictsOf(printed: string): readonly AptVerdict[] {
  return printed
    .trim()
    .split("")
    .map((letter) => {
      const verdict = verdicts[letter];
      if (verdict === undefined) throw new Error(`python3-apt printed ${letter}`);
      return verdict;
    });
}

/** Whether our parser accepts a field. */
export function isTaken(read: (field: string) => Iterable<Relation>, field: string): boolean {
  try {
    for (const _relation of read(field));
    return true;
  } catch (thrown) {
    if (thrown instanceof RelationError) return false;
    throw thrown;
  }
}
