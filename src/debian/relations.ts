// Parses relation fields (Depends, Provides, Build-Depends etc.) as apt does.
import { RepoError } from "../base/errors.ts";
import { withoutSpaceAtEnd } from "./deb822.ts";
import { quoted } from "./malformed.ts";

/** One relation to a package. */
export interface Relation {
  /** With its architecture qualifier, e.g. `python3:any`. apt accepts any characters here. */
  readonly name: string;
  /** `<` and `>` are read as `<=` and `>=`, and a version without an operator as `=`. */
  readonly operator: "<<" | "<=" | "=" | "!=" | ">=" | ">>" | undefined;
  /** "" if there is no operator. */
  readonly version: string;
  /** Whether a `|` follows. */
  readonly hasAlternative: boolean;
  /** The position of the name in the field, in characters, counted from 0. */
  readonly offset: number;
}

/** A relation field that apt cannot read. */
export class RelationError extends RepoError {
  readonly code = "debian/relations";
  /** The position of the refused relation in the field, in characters, counted from 0. */
  readonly offset: number;
  constructor(text: string, offset: number, why: string) {
    super(`${placeOfRelation(text, offset)}: ${why}`);
    this.offset = offset;
  }
}

/** The longest relation that a message quotes in full, in characters. */
const maxShownCharacters = 80;

/** For messages: the quoted relation, up to the comma or bar that ends it, and its position. */
export function placeOfRelation(text: string, offset: number): string {
  // One character more than `quoted` shows, so that it marks the text as cut.
  const start = text.slice(offset, offset + maxShownCharacters + 1);
  const end = start.search(/[,|]/);
  return `${quoted(end < 1 ? start : start.slice(0, end))} at character ${offset + 1}`;
}

/**
 * The relations in a field of a binary package.
 * @throws RelationError if apt 2.6 or apt 3 refuses the field
 * @see apt-pkg/deb/deblistparser.cc, debListParser::ParseDepends
 */
export function* readRelations(field: string): Generator<Relation> {
  const reader = new RelationReader(field, false);
  while (!reader.isAtEnd) yield reader.next();
}

/**
 * The relations in a field of a source package, which may have architectures in brackets, build profiles and
 * superfluous commas.
 * @throws RelationError if apt 2.6 or apt 3 refuses the field on any architecture
 * @see apt-pkg/deb/debsrcrecords.cc, debSrcRecordParser::BuildDepends
 */
export function* readBuildRelations(field: string): Generator<Relation> {
  const reader = new RelationReader(field, true);
  for (reader.skipCommas(); !reader.isAtEnd; reader.skipCommas()) yield reader.next();
}

/** These patterns are sticky: they match only at `lastIndex`, so that a field is read in one pass. */
const blanks = /[\t-\r ]*/y;
const packageName = /[^\t-\r (),|[\]<>]*/y;
const architecture = /[^\t-\r \]]*/y;
const profile = /[^\t-\r >]*/y;

class RelationReader {
  readonly #text: string;
  readonly #isForBuilds: boolean;
  #at = 0;

  constructor(field: string, isForBuilds: boolean) {
    this.#text = withoutSpaceAtEnd(field);
    this.#isForBuilds = isForBuilds;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#text.length;
  }

  skipCommas(): void {
    do this.#take(blanks);
    while (this.#skip(","));
  }

  /**
   * Also reads the comma or bar after the relation. A comma may be the end of the field. A bar may not: the parser of
   * apt accepts it, but every command that resolves dependencies, of any package, then reads beyond the last relation
   * and crashes.
   */
  next(): Relation {
    this.#take(blanks);
    const offset = this.#at;
    const name = this.#take(packageName);
    if (name === "") throw this.#error(offset, "a package name is missing");
    this.#take(blanks);
    const { operator, version } = this.#skip("(")
      ? this.#restOfVersion(offset)
      : ({ operator: undefined, version: "" } as const);
    this.#take(blanks);
    if (this.#isForBuilds) {
      if (this.#skip("[")) this.#restOfArchitectures(offset);
      this.#skipProfiles(offset);
    }
    const hasAlternative = this.#skip("|");
    if (!hasAlternative && !this.isAtEnd && !this.#skip(",")) {
      throw this.#error(offset, `${quoted(this.#text.charAt(this.#at))} is where a comma or the end should be`);
    }
    this.#take(blanks);
    if (this.#isForBuilds) this.skipCommas();
    if (hasAlternative && this.isAtEnd) throw this.#error(offset, "nothing follows its |");
    return { name, operator, version, hasAlternative, offset };
  }

  #restOfVersion(offset: number): Pick<Relation, "operator" | "version"> {
    this.#take(blanks);
    // apt 2.6 needs at least four bytes from the operator to the end of the field, and apt 3 three.
    if (this.#bytesLeft(4) < 4) throw this.#error(offset, "its version is too short or has no end");
    const operator = this.#operator();
    this.#take(blanks);
    const end = this.#text.indexOf(")", this.#at);
    if (end < 0) throw this.#error(offset, "its version has no closing parenthesis");
    if (end === this.#at) throw this.#error(offset, "its version is empty");
    const version = withoutSpaceAtEnd(this.#text.slice(this.#at, end));
    this.#at = end + 1;
    return { operator, version };
  }

  #operator(): "<<" | "<=" | "=" | "!=" | ">=" | ">>" {
    for (const operator of ["<<", "<=", ">>", ">=", "!=", "="] as const) {
      if (this.#skip(operator)) return operator;
    }
    if (this.#skip("<")) return "<=";
    if (this.#skip(">")) return ">=";
    return "=";
  }

  /**
   * Reads the architectures after the opening bracket.
   * @throws RelationError also for `[]` and `[!]`, which apt 2.6 accepts and apt 3 refuses, and for two blanks, on
   *   which apt 2.6 crashes
   */
  #restOfArchitectures(offset: number): void {
    const end = this.#text.indexOf("]", this.#at);
    if (end < 0) throw this.#error(offset, "its architectures have no closing bracket");
    this.#skipOneBlank(offset, "architectures");
    if (this.#at === end) throw this.#error(offset, "its brackets name no architecture");
    while (this.#at < end) {
      this.#skip("!");
      const name = this.#take(architecture);
      if (name === "") throw this.#error(offset, "an architecture is missing after a !");
      // apt reads no further after an architecture that matches its own, and `any` matches every architecture.
      if (name === "any") break;
      this.#skipOneBlank(offset, "architectures");
    }
    this.#at = end + 1;
    this.#take(blanks);
  }

  /**
   * Reads lists of build profiles in angle brackets as apt does when no profile is active: after a list that applies
   * (all of its terms are negated), apt does not parse the others.
   */
  #skipProfiles(offset: number): void {
    let applies = false;
    while (this.#skip("<")) {
      const end = this.#text.indexOf(">", this.#at);
      if (end < 0) throw this.#error(offset, "its build profiles have no closing angle bracket");
      if (!applies) applies = this.#applies(offset, end);
      this.#at = end + 1;
      this.#take(blanks);
    }
  }

  /** @throws RelationError for two blanks after a negated term, on which apt 2.6 and 3 crash */
  #applies(offset: number, end: number): boolean {
    while (this.#at < end) {
      if (!this.#skip("!")) return false;
      this.#take(profile);
      this.#skipOneBlank(offset, "build profiles");
    }
    return true;
  }

  #skipOneBlank(offset: number, what: string): void {
    if (this.#take(blanks).length > 1) throw this.#error(offset, `there are two blanks between its ${what}`);
  }

  /** The number of bytes that follow, at most `most`. */
  #bytesLeft(most: number): number {
    return Math.min(most, Buffer.byteLength(this.#text.slice(this.#at, this.#at + most)));
  }

  #skip(text: string): boolean {
    const isThere = this.#text.startsWith(text, this.#at);
    if (isThere) this.#at += text.length;
    return isThere;
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const [taken = ""] = pattern.exec(this.#text) ?? [];
    this.#at += taken.length;
    return taken;
  }

  #error(offset: number, why: string): RelationError {
    return new RelationError(this.#text, offset, why);
  }
}
