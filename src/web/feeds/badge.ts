// Draws a badge: a small image with the name of a package and its version, for the README of a project.
import { cut } from "../html/formats.ts";
import { template } from "../html/templates.ts";

export interface Badge {
  /** The name of a package. */
  readonly label: string;
  readonly message: string;
  /** The text for people who cannot see the image. */
  readonly title: string;
  /** Whether the message is a version. */
  readonly isFound: boolean;
}

const maxCharacters = 40;
const maxTitleCharacters = 200;
const paddingPx = 6;
/** Of Verdana at 11 px: the average of digits and small letters, and the widest character. */
const [narrowPx, widePx] = [7, 12];

// Attributes instead of styles, which the Content-Security-Policy forbids. The texts are fitted into their rooms, whatever
// font the reader has.
const svg = template<{
  readonly title: string;
  readonly label: Part;
  readonly message: Part;
  readonly background: string;
}>(
  `<svg xmlns="http://www.w3.org/2000/svg" width="<%= it.label.widthPx + it.message.widthPx %>" height="20" role="img" aria-labelledby="title">
<title id="title"><%= it.title %></title>
<rect width="<%= it.label.widthPx %>" height="20" fill="#484848"/>
<rect x="<%= it.label.widthPx %>" width="<%= it.message.widthPx %>" height="20" fill="<%= it.background %>"/>
<g fill="#fff" font-family="Verdana,Geneva,DejaVu Sans,sans-serif" font-size="11">
<text x="${paddingPx}" y="14" textLength="<%= it.label.textPx %>" lengthAdjust="spacingAndGlyphs"><%= it.label.text %></text>
<text x="<%= it.label.widthPx + ${paddingPx} %>" y="14" textLength="<%= it.message.textPx %>" lengthAdjust="spacingAndGlyphs"><%= it.message.text %></text>
</g>
</svg>
`,
);

/** A text and its room. */
interface Part {
  readonly text: string;
  readonly textPx: number;
  readonly widthPx: number;
}

export function renderBadge({ label, message, title, isFound }: Badge): string {
  return svg({
    title: cut(title, maxTitleCharacters),
    label: partOf(label),
    message: partOf(message),
    background: isFound ? "#0b5f99" : "#6a6a6a",
  });
}

function partOf(whole: string): Part {
  const characters = Array.from(whole);
  const shown = characters.length > maxCharacters ? [...characters.slice(0, maxCharacters - 1), "…"] : characters;
  const textPx = shown.reduce((sum, one) => sum + (/[\u0020-\u007e…]/.test(one) ? narrowPx : widePx), 0);
  return { text: shown.join(""), textPx, widthPx: textPx + 2 * paddingPx };
}
