// Compares two versions of an index, stanza by stanza and field by field.

/** One difference between the expected and the actual index. */
export interface StanzaDifference {
  /**
   * `missing`: only in the expected index; `surplus`: only in the actual one; `changed`: in both, with other fields.
   */
  readonly kind: "missing" | "surplus" | "changed";
  /** Package, version and architecture; for a source, package and version. */
  readonly entry: string;
  /** The names of the different fields, if the entry is in both. */
  readonly fields: readonly string[];
}

/** The values of a stanza's fields, by lower-case name. */
function fieldsOf(stanza: string): ReadonlyMap<string, string> {
  const lines = stanza.split(/\n(?![ \t])/);
  return new Map(
    lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
}

/** The stanzas of an index by package, version and architecture; repeated ones get a number. */
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

/** @returns the differences; none if both have the same stanzas in any order */
export function* stanzaDifferences(expected: string, actual: string): Iterable<StanzaDifference> {
  const expectedStanzas = stanzasOf(expected);
  const actualStanzas = stanzasOf(actual);
  for (const [entry, stanza] of expectedStanzas) {
    const other = actualStanzas.get(entry);
    if (other === undefined) yield { kind: "missing", entry, fields: [] };
    else if (other !== stanza)
      yield { kind: "changed", entry, fields: differingFields(fieldsOf(stanza), fieldsOf(other)) };
  }
  for (const entry of actualStanzas.keys())
    if (!expectedStanzas.has(entry)) yield { kind: "surplus", entry, fields: [] };
}

const differingFields = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): readonly string[] =>
  [...new Set([...a.keys(), ...b.keys()])].filter((name) => a.get(name) !== b.get(name));
