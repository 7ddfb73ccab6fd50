// The commands in the documents, for the tests that run them.
import { projectFiles, readProjectFile } from "./project-files.ts";

const guides = (): readonly string[] =>
  projectFiles().filter((path) => path === "README.md" || /^docs\/guide-[^/]*\.md$/.test(path));

/**
 * The text of a fenced block.
 *
 * @param fence the text after the three backticks, which only one block of all guides has, e.g. `sh builder`
 * @throws if there is no such block, or more than one
 */
export function blockOf(fence: string): string {
  const pattern = new RegExp(`^\`\`\`${fence}\\n([\\s\\S]*?)^\`\`\``, "gm");
  const blocks = guides().flatMap((path) => [...readProjectFile(path).matchAll(pattern)].map(([, text = ""]) => text));
  const [block, ...more] = blocks;
  if (block === undefined || more.length > 0) throw new Error(`${blocks.length} blocks of the guides are "${fence}"`);
  return block;
}
