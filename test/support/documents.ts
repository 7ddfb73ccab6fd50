// The blocks of commands and configuration in the documents, for the tests that run them.
import { projectFiles, readProjectFile } from "./project-files.ts";

/** A fenced block. */
export interface Block {
  readonly path: string;
  readonly language: string;
  /** The word after the language, which no other block with that language has; "" if there is none. */
  readonly name: string;
  readonly text: string;
}

export const documentPaths = (): readonly string[] => projectFiles().filter((path) => path.endsWith(".md"));

/** The fenced blocks of a document, in their order. */
export const blocksIn = (path: string): readonly Block[] =>
  [...readProjectFile(path).matchAll(/^```([a-z]*) ?(.*)\n([\s\S]*?)^```$/gm)].map(
    ([, language = "", name = "", text = ""]) => ({ path, language, name, text }),
  );

/**
 * The text of a fenced block.
 *
 * @param fence the text after the three backticks, which only one block of all documents has, e.g. `sh builder`
 * @throws if there is no such block, or more than one
 */
export function blockOf(fence: string): string {
  const blocks = documentPaths()
    .flatMap(blocksIn)
    .filter(({ language, name }) => fence === `${language} ${name}`.trim());
  const [block, ...more] = blocks;
  if (block === undefined || more.length > 0)
    throw new Error(`${blocks.length} blocks of the documents are "${fence}"`);
  return block.text;
}
