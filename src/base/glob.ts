// Shell patterns for whole texts: `*` matches any characters, `?` matches one.

/**
 * Compiles a pattern. On a mismatch only the last star is extended and earlier stars are final, so the time is at most
 * proportional to the length of the pattern times the length of the text.
 */
export function globMatcher(pattern: string): (text: string) => boolean {
  if (!/[*?]/.test(pattern)) return (text) => text === pattern;
  return (text) => {
    let inPattern = 0;
    let inText = 0;
    let lastStar = -1;
    let endOfStar = 0;
    while (inText < text.length) {
      if (pattern[inPattern] === "*") {
        lastStar = inPattern++;
        endOfStar = inText;
      } else if (inPattern < pattern.length && (pattern[inPattern] === "?" || pattern[inPattern] === text[inText])) {
        inPattern++;
        inText++;
      } else if (lastStar >= 0) {
        inPattern = lastStar + 1;
        inText = ++endOfStar;
      } else return false;
    }
    while (pattern[inPattern] === "*") inPattern++;
    return inPattern === pattern.length;
  };
}

/** Matches a text against several patterns. Without patterns, every text matches. */
export function anyGlobMatcher(patterns: readonly string[]): (text: string) => boolean {
  const matchers = patterns.map(globMatcher);
  return (text) => matchers.length === 0 || matchers.some((matches) => matches(text));
}
