// Writes the Markdown of the pages of docs/reference/.

/** A page of docs/reference/. */
export interface Page {
  /** The name of the file, for example `metrics.md`. */
  readonly file: string;
  readonly title: string;
  /** What the page contains and what it is made from, for the index. */
  readonly contents: string;
  readonly madeFrom: string;
  /** Markdown below the title. */
  readonly body: string;
}

export const code = (text: string): string => `\`${text}\``;

/** Plain text, in which `<` begins no HTML. */
export const escaped = (text: string): string => text.replaceAll("<", "&lt;");

/** A table. Cells are Markdown of one line. */
export function table(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map(cellOf).join(" | ")} |`;
  return [line(columns), line(columns.map(() => "---")), ...rows.map(line)].join("\n");
}

const cellOf = (text: string): string =>
  text
    .replaceAll("\n", " ")
    .replaceAll(/(?<!\\)\|/g, "\\|")
    .trim();

/** What GitHub, GitLab and Forgejo call the place of a heading. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");

/** A list of links to the headings. */
export const contentsOf = (headings: readonly string[]): string =>
  headings.map((heading) => `- [${heading}](#${anchorOf(heading)})`).join("\n");

const longestLine = 116;

/** Breaks paragraphs, and items of lists that begin with `- `, into lines. */
export const prose = (text: string): string =>
  text
    .trim()
    .split(/\n(?=\n|- )/)
    .map((part) => (part.startsWith("\n") ? `\n${paragraph(part)}` : paragraph(part)))
    .join("\n");

function paragraph(text: string): string {
  const indent = text.startsWith("- ") ? "  " : "";
  const lines: string[] = [];
  let line = "";
  for (const word of text.trim().split(/\s+/)) {
    if (line !== "" && line.length + 1 + word.length > longestLine) {
      lines.push(line);
      line = indent + word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line].join("\n");
}

/** The text of a page's file. */
export const textOf = ({ title, body, madeFrom }: Page): string =>
  `# ${title}\n\n${prose(`<!-- npm run docs writes this page. Change ${madeFrom} instead. -->`)}\n\n${body.trim()}\n`;
