// Reads and writes deb822 stanzas. Reading is strict, because the result is written into indices.
import { isUtf8 } from "node:buffer";
import { asBuffer } from "../base/as-buffer.ts";
import { RepoError } from "../base/errors.ts";
import { limitFlaw, quoted } from "./malformed.ts";
import type { Stanza } from "./stanza.ts";

export interface StanzaLimits {
  /** The longest text of stanzas, in bytes. */
  readonly maxStanzaBytes: number;
  /** How many fields one stanza may have. */
  readonly maxFields: number;
  /** The longest field name, in bytes. */
  readonly maxFieldNameBytes: number;
}

/** The limits on one kind of text. */
export interface TextLimits extends StanzaLimits {
  /** The name of the setting that `maxStanzaBytes` comes from, if it is another one. */
  readonly stanzaLimit?: string;
}

/** A text is not valid deb822. */
export class Deb822Error extends RepoError {
  readonly code = "debian/deb822";
  /** Counted from 1. */
  readonly line: number;
  constructor(line: number, why: string) {
    super(`line ${line}: ${why}`);
    this.line = line;
  }
}

const forbidden = /[\0-\x08\x0b-\x1f\x7f]/;
const fieldLine = /^([!-9;-~]+)[ \t]*:(.*)$/s;

/**
 * Reads one stanza, with or without empty lines around it.
 * @throws Deb822Error also if there is no stanza or more than one; Malformed for a limit
 */
export function parseStanza(raw: Uint8Array, limits: TextLimits): Stanza {
  const [first, second] = readStanzas(raw, limits);
  if (first === undefined) throw new Deb822Error(1, "there is no field");
  if (second !== undefined) throw new Deb822Error(second.line, "a second stanza begins where only one belongs");
  return first.fields;
}

/**
 * Reads all stanzas of a text, as dpkg does: an empty line ends a stanza, a line that begins with white space continues
 * a field, and a field must not occur twice. A CR at the end of a line is white space, also as in dpkg. Unlike dpkg,
 * control characters (including any other CR) and field names outside ASCII are errors, because other programs may see
 * more lines in an index. Text that is not UTF-8 is read as Latin-1, as packages before 2005 were written, so that the
 * output is always UTF-8.
 * @throws Deb822Error; Malformed for a limit
 * @see deb822(5)
 */
export function parseStanzas(raw: Uint8Array, limits: TextLimits): readonly Stanza[] {
  return readStanzas(raw, limits).map(({ fields }) => fields);
}

interface Placed {
  readonly line: number;
  readonly fields: Array<readonly [name: string, value: string]>;
}

function readStanzas(raw: Uint8Array, limits: TextLimits): readonly Placed[] {
  const text = textOf(raw, limits);
  const lines = linesOf(text);
  // One search in the whole text is faster than one in each line, and rarely finds anything.
  const isClean = !forbidden.test(text);
  const stanzas: Placed[] = [];
  let open: Placed | undefined;
  let known = new Set<string>();
  lines.forEach((whole, index) => {
    const line = index + 1;
    if (whole === "") {
      open = undefined;
      return;
    }
    const written = isClean ? whole : withoutSpaceAtEnd(whole);
    if (written === "") throw new Deb822Error(line, "it is blank, but not empty");
    if (!isClean && forbidden.test(written)) {
      throw new Deb822Error(line, `a control character is in ${quoted(written)}`);
    }
    if (isBlank(written, 0)) {
      continueField(open, written, line);
      return;
    }
    if (open === undefined) {
      open = { line, fields: [] };
      stanzas.push(open);
      known = new Set();
    }
    const [name, value] = parseField(written, line, limits);
    const folded = name.toLowerCase();
    if (known.has(folded)) throw new Deb822Error(line, `the field ${name} comes twice`);
    known.add(folded);
    if (known.size > limits.maxFields) throw limitFlaw("maxFields", limits.maxFields, "the number of fields");
    open.fields.push([name, value]);
  });
  return stanzas;
}

function textOf(raw: Uint8Array, limits: TextLimits): string {
  if (raw.byteLength > limits.maxStanzaBytes) {
    throw limitFlaw(limits.stanzaLimit ?? "maxStanzaBytes", limits.maxStanzaBytes, "the size of the stanza");
  }
  const bytes = asBuffer(raw);
  return bytes.toString(isUtf8(bytes) ? "utf8" : "latin1");
}

function linesOf(text: string): readonly string[] {
  const lines = text.split("\n");
  if (lines.pop() !== "") throw new Deb822Error(lines.length + 1, "the last line does not end");
  return lines;
}

function parseField(text: string, line: number, limits: StanzaLimits): readonly [string, string] {
  const [, name, value] = fieldLine.exec(text) ?? [];
  if (name === undefined || value === undefined) {
    throw new Deb822Error(line, `${quoted(text)} has no field name in ASCII with a colon behind it`);
  }
  if (/^[#-]/.test(name)) throw new Deb822Error(line, `${quoted(name)} is not a field name`);
  if (name.length > limits.maxFieldNameBytes) {
    throw limitFlaw("maxFieldNameBytes", limits.maxFieldNameBytes, "the length of a field name");
  }
  return [name, trim(value)];
}

function continueField(open: Placed | undefined, text: string, line: number): void {
  const field = open?.fields.pop();
  if (open === undefined || field === undefined) throw new Deb822Error(line, "it continues no field");
  if (trim(text) === "") throw new Deb822Error(line, `a blank line is in the field ${field[0]}`);
  open.fields.push([field[0], `${field[1]}\n${text}`]);
}

/** Removes what dpkg and apt take for white space at the end. A regular expression would take quadratic time. */
export function withoutSpaceAtEnd(text: string): string {
  let end = text.length;
  while (end > 0 && " \t\n\v\f\r".includes(text[end - 1] ?? "-")) end--;
  return text.slice(0, end);
}

/** A regular expression would take hours for a line of 2 MiB of blanks. @param blanks the characters to remove */
export function trim(text: string, blanks = " \t"): string {
  let start = 0;
  let end = text.length;
  while (start < end && blanks.includes(text.charAt(start))) start++;
  while (end > start && blanks.includes(text.charAt(end - 1))) end--;
  return text.slice(start, end);
}

const isBlank = (text: string, at: number): boolean => text[at] === " " || text[at] === "\t";

/** The text of a stanza in an index: every line ends with a line feed, and no empty line follows. */
export function formatStanza(stanza: Stanza): string {
  return stanza
    .map(([name, value]) => `${name}:${value === "" || value.startsWith("\n") ? "" : " "}${value}\n`)
    .join("");
}
