// Descriptions outside of Packages: one stanza of Translation-en, and what Packages keeps of a description then.
import { descriptionOf } from "../debian/description.ts";
import type { Stanza } from "../debian/stanza.ts";
import { fieldOf } from "../debian/stanza.ts";
import { writeField } from "./fields.ts";

const description = "description";
/**
 * The fields of a package as Packages shows them beside a Translation-en: the description's first line, and its MD5.
 * @param control without a `Description-md5` of the package's own
 */
export function withShortDescription(control: Stanza): Stanza {
  const described = descriptionOf(control);
  return control.flatMap(([name, value]): Stanza => {
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
