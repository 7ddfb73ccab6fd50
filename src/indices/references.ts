// Which files the stanzas of an index point to: read from what was rendered, so that nothing named is ever overlooked.

const filename = /^Filename: (.+)$/gm;
const directory = /^Directory: (.+)$/m;
/** A line of Files or of a Checksums list: digest, size, name. */
const listed = /^ [0-9a-f]{32,128} [0-9]+ (\S+)$/gm;

/**
 * @param stanzas rendered by renderPackage or renderSource, any number of them
 * @returns paths relative to the repository's root, with repetitions
 */
export function* referencesOf(stanzas: string): Iterable<string> {
  for (const [, path] of stanzas.matchAll(filename)) if (path !== undefined) yield path;
  for (const stanza of stanzas.split("\n\n")) {
    const parent = directory.exec(stanza)?.[1];
    if (parent === undefined) continue;
    for (const [, name] of stanza.matchAll(listed)) yield `${parent}/${name}`;
  }
}
