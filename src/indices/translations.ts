// Descriptions outside of Packages: one stanza of Translation-en, and what Packages keeps of a description then.
import { descriptionOf } from "../debian/description.ts";
import type { Stanza } from "../debian/stanza.ts";
import { fieldOf } from "../debian/stanza.ts";
import { writeField } from "./fields.ts";

const description = "description";
/** Made by the index: an uploader has no say in it. */
const descriptionMd5 = "description-md5";

/** The control stanza as Packages shows it beside a Translation-en: the description's first line, and its MD5. */
export function withShortDescription(control: Stanza): Stanza {
  const described = descriptionOf(control);
  return control.flatMap(([name, value]): Stanza => {
    if (name.toLowerCase() === descriptionMd5) return [];
    if (name.toLowerCase() !== description) return [[name, value]];
    return described === undefined
      ? []
      : [
          [name, described.short],
          ["Description-md5", described.md5],
        ];
  });
}

/**
 * Renders what Translation-en tells of a package.
 * @returns the stanza and the empty line that ends it; nothing for a package without a description
 * @throws IndexError
 */
export function renderTranslation(control: Stanza): string {
  const described = descriptionOf(control);
  if (described === undefined) return "";
  return [
    writeField("Package", fieldOf(control, "Package") ?? ""),
    writeField("Description-md5", described.md5),
    writeField("Description-en", described.whole),
    "\n",
  ].join("");
}
