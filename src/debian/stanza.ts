// A stanza: one paragraph of a deb822 file.

/**
 * Fields in the order of the file. The first line of a value has no leading or trailing white space; continuation lines
 * follow unchanged, each after a line feed. Field names keep their case and are compared without it.
 * @see deb822(5)
 */
export type Stanza = ReadonlyArray<readonly [name: string, value: string]>;

/** The value of a field; undefined if it is absent. Names are compared without case. */
export function fieldOf(stanza: Stanza, name: string): string | undefined {
  const wanted = name.toLowerCase();
  for (const [field, value] of stanza) {
    if (field.length === wanted.length && (field === name || field.toLowerCase() === wanted)) return value;
  }
  return undefined;
}

/** A stanza in which these fields replace those of the same name. New fields are added at the end. */
export function withFields(stanza: Stanza, fields: Stanza): Stanza {
  if (fields.length === 0) return stanza;
  const values = new Map(fields.map((field) => [field[0].toLowerCase(), field]));
  const kept = stanza.map((field) => {
    const value = values.get(field[0].toLowerCase());
    values.delete(field[0].toLowerCase());
    return value ?? field;
  });
  return [...kept, ...values.values()];
}
