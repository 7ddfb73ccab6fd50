// Reads the texts in the fields of a package for people: description, persons, links, relations.
import type { Stanza } from "../../debian/stanza.ts";
import { fieldOf } from "../../debian/stanza.ts";
import type { Description, DescriptionParagraph, Person, RelationField } from "./repository-data.ts";
import { maxFieldCharacters, shortened } from "./shortened.ts";

/** A relation as written, without knowledge of other packages. */
export interface WrittenAlternative {
  readonly name: string;
  readonly qualifier: string | undefined;
  readonly restriction: string;
}

export interface WrittenRelations {
  readonly field: RelationField["field"];
  readonly groups: readonly (readonly WrittenAlternative[])[];
}

/** The most groups of one field, and the most alternatives of one group. */
const maxGroups = 1000;
const maxAlternatives = 50;
const maxPersons = 100;
const maxAddressCharacters = 2000;

/** Reads a description. @param whole the first line, and further lines as in a control file */
export function readDescription(whole: string): Description | undefined {
  const [short = "", ...lines] = whole.split("\n");
  if (short.trim() === "" && lines.length === 0) return undefined;
  const paragraphs: { kind: DescriptionParagraph["kind"]; lines: string[] }[] = [];
  let open: (typeof paragraphs)[number] | undefined;
  for (const line of lines) {
    const text = line.slice(1).trimEnd();
    const kind = /^[ \t]/.test(text) ? "verbatim" : "text";
    if (text === "." || text === "") open = undefined;
    else if (open?.kind === kind) open.lines.push(text);
    else {
      open = { kind, lines: [text] };
      paragraphs.push(open);
    }
  }
  return {
    short: shortened(short.trim()),
    paragraphs: paragraphs.map(({ kind, lines: texts }) => ({
      kind,
      text: texts.join(kind === "text" ? " " : "\n"),
    })),
  };
}

/** Reads `NAME <ADDRESS>`; undefined for an empty field. */
export function readPerson(field: string | undefined): Person | undefined {
  const text = field?.replaceAll(/\s+/g, " ").trim() ?? "";
  if (text === "") return undefined;
  const open = text.lastIndexOf("<");
  const email = open >= 0 && text.endsWith(">") ? text.slice(open + 1, -1).trim() : undefined;
  if (email === undefined || email.length > maxFieldCharacters || !/^[^\s<>@]+@[^\s<>@]+$/.test(email))
    return { name: shortened(text), email: undefined };
  return { name: shortened(text.slice(0, open).trim()) || email, email };
}

/** Reads persons that are separated by commas; a name may be quoted. */
export const readPersons = (field: string | undefined): readonly Person[] =>
  (field?.match(/(?:"[^"]*"|[^",])+/g) ?? []).slice(0, maxPersons).flatMap((one) => readPerson(one) ?? []);

/** @returns undefined for everything but an http or https URL of a usual length */
export function readWebAddress(field: string | undefined): string | undefined {
  const text = field?.trim() ?? "";
  if (text.length > maxAddressCharacters || !/^https?:\/\//i.test(text) || !URL.canParse(text)) return undefined;
  return new URL(text).href;
}

/** Reads relation fields that apt can parse. Fields that are absent are left out. */
export function readRelationFields(
  stanza: Stanza,
  fields: readonly RelationField["field"][],
): readonly WrittenRelations[] {
  return fields.flatMap((field) => {
    const groups = readRelationGroups(fieldOf(stanza, field) ?? "");
    return groups.length === 0 ? [] : [{ field, groups }];
  });
}

function readRelationGroups(text: string): readonly (readonly WrittenAlternative[])[] {
  const groups = text.split(",", maxGroups).map((group) =>
    group.split("|", maxAlternatives).flatMap((alternative) => {
      const [, name, qualifier, rest = ""] =
        /^([^\s()[\]<>:]+)(?::([^\s()[\]<>]+))?(.*)$/s.exec(alternative.trim()) ?? [];
      if (name === undefined) return [];
      const restriction = shortened(rest.replaceAll(/\s+/g, " ").trim());
      return [{ name: name.toLowerCase(), qualifier: qualifier && shortened(qualifier), restriction }];
    }),
  );
  return groups.filter((group) => group.length > 0);
}
