// Shell patterns over whole texts: `*` stands for any characters, `?` for one.

/**
 * Compiles a pattern. A star that matched too little is extended, and earlier stars are never tried again, because what
 * follows the last star decides: the time is bounded by the pattern's length times the text's, whatever both hold.
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

/** Whether a text matches one of some patterns; where there are none, every text does. */
export function anyGlobMatcher(patterns: readonly string[]): (text: string) => boolean {
  const matchers = patterns.map(globMatcher);
  return (text) => matchers.length === 0 || matchers.some((matches) => matches(text));
}
