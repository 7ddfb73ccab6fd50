// Bounds the fields of packages, which their builders can make as long as a stanza may be.

/** The most characters of a field that lists and pages show. Most versions and first lines are a tenth as long. */
export const maxFieldCharacters = 500;

/** The text, or its beginning with an ellipsis. */
export const shortened = (text: string): string =>
  text.length <= maxFieldCharacters ? text : `${text.slice(0, maxFieldCharacters)}…`;
