// Makes HTML of texts that anybody may have written.

/**
 * Control characters except line breaks and tabs, what XML does not allow, and the characters that change the direction
 * of text.
 * @see Unicode Standard Annex 9, 2.1 to 2.6
 */
const unprintable =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]|\p{Surrogate}/gu;
const syntax: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Escapes a text. Characters that are invisible or that change the order of others are shown by their numbers. */
export const escapeHtml = (text: string | number | null | undefined): string =>
  String(text ?? "")
    .replace(unprintable, (character) => `⟨U+${character.codePointAt(0)?.toString(16).toUpperCase().padStart(4, "0")}⟩`)
    .replace(/[&<>"']/g, (character) => syntax[character] ?? character);
