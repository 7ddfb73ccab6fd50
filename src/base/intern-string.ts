// Shares one copy of equal strings: versions, architectures and components repeat in many files.

/** How many texts are stored: a bound on memory. */
const maxTexts = 4096;
/** Longer texts, in UTF-16 code units, are not stored. */
const maxTextLength = 64;

const known = new Map<string, string>();

/** @returns an equal string; the same object for all equal texts */
export function internString(text: string): string {
  const one = known.get(text);
  if (one !== undefined || text.length > maxTextLength) return one ?? text;
  if (known.size >= maxTexts) known.clear();
  known.set(text, text);
  return text;
}
