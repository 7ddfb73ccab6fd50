// A stanza: one paragraph of a deb822 file as a value.

/**
 * Fields in their written order. A value has no leading or trailing white space on its first line; continuation lines
 * follow as `"\n "` plus their text, exactly as written. Field names keep their case and compare without it.
 * @see deb822(5)
 */
export type Stanza = ReadonlyArray<readonly [name: string, value: string]>;

/** The value of a field, names compared without case; undefined if absent. */
export function fieldOf(stanza: Stanza, name: string): string | undefined {
  const wanted = name.toLowerCase();
  for (const [field, value] of stanza) {
    if (field.length === wanted.length && (field === name || field.toLowerCase() === wanted)) return value;
  }
  return undefined;
}

/** A stanza in which these fields stand in the place of those of the same name; new ones stand at its end. */
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
