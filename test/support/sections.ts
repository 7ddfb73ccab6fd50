// What a script printed, split at its headings.

/** @param printed with lines like `== heading` @returns the text below each heading */
export const sectionsOf = (printed: string): ReadonlyMap<string, string> =>
  new Map(
    printed
      .split(/^== /m)
      .slice(1)
      .map((part) => [part.split("\n", 1)[0] ?? "", part.slice(part.indexOf("\n") + 1).trim()]),
  );
