// Renders long descriptions for Translation-en, and the short ones that remain in Packages.
import { descriptionOf } from "../debian/description.ts";
import type { Stanza } from "../debian/stanza.ts";
import { fieldOf } from "../debian/stanza.ts";
import { writeField } from "./fields.ts";

const description = "description";
/**
 * The fields of a package for Packages if there is a Translation-en: with the first line of the description and its
 * MD5.
 * @param control without the `Description-md5` of the package itself
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
 * Renders the stanza of a package in Translation-en.
 * @returns the stanza with the empty line that ends it; "" for a package without a description
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
