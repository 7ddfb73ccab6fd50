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
