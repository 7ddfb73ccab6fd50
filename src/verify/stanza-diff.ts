// What two versions of an index say differently, stanza by stanza and field by field.

/** One thing that differs between what should be and what is. */
export interface StanzaDifference {
  /** `missing`: only the expected index has it; `surplus`: only the actual one; `changed`: both, with other fields. */
  readonly kind: "missing" | "surplus" | "changed";
  /** Package, version and architecture, or package and version of a source. */
  readonly entry: string;
  /** The names of the fields that differ, where the entry is in both. */
  readonly fields: readonly string[];
}

/** The fields of one stanza as text, by lower-case name. */
function fieldsOf(stanza: string): ReadonlyMap<string, string> {
  const lines = stanza.split(/\n(?![ \t])/);
  return new Map(
    lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
}

/** The stanzas of an index by what they are about; a repeated one is counted up. */
function stanzasOf(index: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const stanza of index.split(/\n\n+/)) {
    if (stanza.trim() === "") continue;
    const fields = fieldsOf(stanza);
    const base = ["package", "version", "architecture", "description-md5"]
      .map((name) => fields.get(name))
      .filter((value) => value !== undefined)
      .join(" ");
    let entry = base;
    for (let n = 2; found.has(entry); n++) entry = `${base} (${n})`;
    found.set(entry, stanza.trimEnd());
  }
  return found;
}

/** @returns nothing for indices that say the same, whatever the order of their stanzas */
export function* stanzaDifferences(expected: string, actual: string): Iterable<StanzaDifference> {
  const wanted = stanzasOf(expected);
  const given = stanzasOf(actual);
  for (const [entry, stanza] of wanted) {
    const other = given.get(entry);
    if (other === undefined) yield { kind: "missing", entry, fields: [] };
    else if (other !== stanza)
      yield { kind: "changed", entry, fields: differingFields(fieldsOf(stanza), fieldsOf(other)) };
  }
  for (const entry of given.keys()) if (!wanted.has(entry)) yield { kind: "surplus", entry, fields: [] };
}

const differingFields = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): readonly string[] =>
  [...new Set([...a.keys(), ...b.keys()])].filter((name) => a.get(name) !== b.get(name));
