// Control fields that cause trouble for apt or dpkg, and mutations of them from a seed, so that failures are
// repeatable.

/** Values of relation fields, valid and invalid. */
export const relationSeeds: readonly string[] = [
  "foo",
  "foo, bar | baz, qux",
  "irods-runtime (= )",
  "foo (>= 1.0",
  "foo >= 1.0",
  "foo, , bar",
  "foo,",
  `\${shlibs:Depends}`,
  "foo bar",
  "foo (1.0)",
  "foo (== 1.0)",
  "foo | ",
  "foo [amd64]",
  "foo:any (>= 1)",
  "foo:",
  "foo (>= 1.0)",
  "foo | bar",
  "foo (= ",
  "foo,,bar",
  "foo (",
  "ä",
  "foo(>=1.0)",
  "foo ( >= 1.0 )",
  "foo|bar",
  "foo (< 1.0)",
  "foo:amd64 (>= 1)",
  "foo (>= 1:2~rc1+b-1)",
  "foo,\n bar,\n\tbaz",
  "foo ((",
  `foo (= \${binary:Version})`,
  "foo (>= 1.0) bar",
  "foo (>> 1) (<< 2)",
  "foo (>= 1.0),, bar",
  ",foo",
  "foo; bar",
  "foo <nocheck>",
  "((",
  "foo (=)",
  "foo (<=> 1)",
  "a b",
  "foo, and bar",
  "foo (>= 1.0 beta)",
  "foo >=1",
  "foo-(1)",
  "foo (1:2)",
  "foo (=1)",
  "foo (!= 1)",
  "libfoo.so.1()(64bit)",
  "/bin/sh",
  "foo\n # bar",
  "(>= 1)",
  "foo-1.0 (1.0)",
];

/** Values of a source package's relation fields, valid and invalid. */
export const buildRelationSeeds: readonly string[] = [
  ...relationSeeds,
  "debhelper-compat (= 13), foo [amd64 i386], bar [!hurd-any] <!nocheck>, baz <!nocheck> <cross>",
  "foo [linux-any]",
  "foo [!amd64 !i386] <!a !b>",
  "foo [any !]",
  "foo []",
  "foo [amd64",
  "foo <!a",
  "foo <!a> <b c>",
  "foo (>= 1) [amd64] <!a> | bar",
  ",foo,,bar,",
];

/** Other fields of a binary package that apt or dpkg parse. */
const otherFields: ReadonlyArray<readonly [name: string, values: readonly string[]]> = [
  ["Multi-Arch", ["same", "foreign", "allowed", "no", "Same", "same foreign", "bogus"]],
  ["Essential", ["yes", "no", "YES", "maybe", "true", "1"]],
  ["Protected", ["yes", "no", "bogus", "0"]],
  ["Important", ["yes", "no", "bogus", "on"]],
  ["Phased-Update-Percentage", ["0", "50", "100", "101", "-5", "abc", "50 %", "999999999999999999999"]],
  ["Priority", ["optional", "bogus", "required", "Optional"]],
  ["Installed-Size", ["12", "many", "-5", "99999999999999999999"]],
  ["Section", ["misc", "contrib/misc", "bogus bogus", ""]],
  ["Source", ["foo", "foo (1.0)", "foo(1.0)", "foo (1.0", "foo bar", "foo ()", "(1.0)"]],
  ["Architecture-Variant", ["amd64v1"]],
  ["Description-md5", ["zzz", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "00000000000000000000000000000000"]],
  ["Description-de", ["Hallo\n Welt"]],
  ["Tag", ["a::b,\n c::d"]],
  ["Task", ["a b"]],
  ["Build-Essential", ["yes", "bogus"]],
  ["Static-Built-Using", ["x (= 1)", "x ("]],
  ["SHA256", ["x"]],
  ["Checksum-FileSize", ["3"]],
  ["Size", ["99"]],
  ["Filename", ["/etc/passwd"]],
  ["Directory", ["a"]],
  ["Index", ["x"]],
  ["Origin", ["Bad"]],
  ["Bugs", ["x"]],
  ["Conffiles", ["\n /etc/x 123"]],
  ["Homepage", ["x"]],
];

/** The relation fields of a binary package that apt and dpkg parse. */
export const relationFields = [
  "Depends",
  "Pre-Depends",
  "Recommends",
  "Suggests",
  "Enhances",
  "Breaks",
  "Conflicts",
  "Replaces",
  "Provides",
] as const;

/** The relation fields of a source package that apt parses. */
const buildRelationFields = [
  "Build-Depends",
  "Build-Depends-Indep",
  "Build-Depends-Arch",
  "Build-Conflicts",
  "Build-Conflicts-Indep",
  "Build-Conflicts-Arch",
] as const;

/** The text that mutations insert: characters, and words of the syntax. */
const tokens: readonly string[] = [
  ..."()[]<>,|!=:; \t#$äA1.~+-".split(""),
  ..."any amd64 :any 1.0 foo >= << != é".split(" "),
  "\n ",
  "  ",
  " (>= 2)",
  ", ",
  " | ",
  "bar ",
];

/** Mutates fields with pseudo-random numbers: equal seeds give equal fields. */
export class FieldMutator {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** A relation field from one or several seeds with up to three mutations. Its last line does not end with blanks. */
  relation(seeds = relationSeeds): string {
    let text = this.#one(seeds);
    while (this.#below(3) === 0) text += this.#one([", ", ",", " | ", "|", ""]) + this.#one(seeds);
    return this.#mutated(text, this.#below(4));
  }

  /** A field of a binary package and its value: a relation field, or another field that apt or dpkg parse. */
  binaryField(): readonly [name: string, value: string] {
    if (this.#below(3) > 0) return [this.#one(relationFields), this.relation()];
    const [name, values] = this.#one(otherFields);
    return [name, this.#mutated(this.#one(values), this.#below(3) === 0 ? 1 : 0)];
  }

  /** A relation field of a source package and its value. */
  sourceField(): readonly [name: string, value: string] {
    return [this.#one(buildRelationFields), this.relation(buildRelationSeeds)];
  }

  #mutated(text: string, changes: number): string {
    let changed = text;
    for (let change = 0; change < changes; change++) {
      const at = this.#below(changed.length + 1);
      const removed = this.#below(3) === 0 ? 0 : 1 + this.#below(2);
      const added = this.#below(3) === 0 ? "" : this.#one(tokens);
      changed = changed.slice(0, at) + added + changed.slice(at + removed);
    }
    // A line of blanks would end the stanza for some parsers, and is rejected for that reason.
    return changed
      .replace(/\n(?![ \t])/g, "\n ")
      .replace(/(\n[ \t]*)+(?=\n|$)/g, "")
      .trimEnd();
  }

  #one<T>(values: readonly T[]): T {
    const value = values[this.#below(values.length)];
    if (value === undefined) throw new Error("there is nothing to choose from");
    return value;
  }

  /** Mulberry32. */
  #below(end: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * end);
  }
}
