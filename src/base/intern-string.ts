// One string where many equal ones come: versions, architectures and components are the same in file after file.

/** How many texts are remembered: a bound on memory. */
const maxTexts = 4096;
/** Longer ones, in UTF-16 code units, are left as they are. */
const maxTextLength = 64;

const known = new Map<string, string>();

/** An equal string, which whoever else asked for it holds too. */
export function internString(text: string): string {
  const one = known.get(text);
  if (one !== undefined || text.length > maxTextLength) return one ?? text;
  if (known.size >= maxTexts) known.clear();
  known.set(text, text);
  return text;
}
