// Overrides replace fields of packages in the indices, like the override files of apt-ftparchive.
import { createHash } from "node:crypto";
import { RepoError } from "../../base/errors.ts";
import type { Architecture, Component, TreePath } from "../../base/names.ts";
import { checkBinaryFields, checkSourceFields } from "../../debian/apt-fields.ts";
import { Malformed } from "../../debian/malformed.ts";
import type { Stanza } from "../../debian/stanza.ts";
import type { FileEntry } from "../../storage/tree.ts";
import type { BinaryIndexEntry, IndexEntry, SourceIndexEntry, SourceIndexEntryPart } from "./index-entry.ts";
import type { PackageListChange } from "./package-list.ts";
import { packageMatcher } from "./package-pattern.ts";

/** One rule, as in the configuration. */
export interface OverrideRule {
  /** `NAME`, `NAME=VERSION`, `src:NAME` or `src:NAME=VERSION`, each with `*` and `?`. */
  readonly packages: string;
  /** Undefined for every suite. */
  readonly suite?: string | undefined;
  /** The new values by field name, e.g. `Section`. */
  readonly set: { readonly [field: string]: string };
}

/** An invalid rule. */
class BadOverride extends RepoError {
  readonly code = "catalog/bad-override";
}

/**
 * Fields that identify the package and its file, and those that APT compares with the installed package: with other
 * values it would offer the same version again and again.
 * @see apt, apt-pkg/deb/deblistparser.cc: debListParser::VersionHash
 */
const fixedFields: ReadonlySet<string> = new Set(
  [
    ["Package", "Source", "Binary", "Version", "Architecture", "Architecture-Variant", "Multi-Arch"],
    ["Filename", "Directory", "Size", "Files", "MD5sum", "SHA1", "SHA256", "SHA512", "Checksums-Sha1"],
    ["Checksums-Sha256", "Checksums-Sha512", "Description", "Description-md5", "Status", "Installed-Size"],
    ["Depends", "Pre-Depends", "Conflicts", "Breaks", "Replaces", "Provides", "Recommends", "Suggests", "Enhances"],
    ["Essential", "Protected", "Important"],
  ].flatMap((names) => names.map((name) => name.toLowerCase())),
);

/** Fields that have no meaning for source packages. */
const binaryFields: ReadonlySet<string> = new Set(["phased-update-percentage"]);

const fieldName = /^[!"$-,.-9;-~][!-9;-~]*$/;
const maxValueCharacters = 1000;

/** Checks a rule. @throws BadOverride with the reason; PatternError */
export function checkOverride({ packages, set }: OverrideRule): void {
  packageMatcher(packages);
  const fields = Object.entries(set);
  if (fields.length === 0) throw new BadOverride(`the override of ${packages} sets no field`);
  for (const [name, value] of fields) {
    if (!fieldName.test(name)) throw new BadOverride(`${JSON.stringify(name.slice(0, 80))} is not a field's name`);
    if (fixedFields.has(name.toLowerCase()))
      throw new BadOverride(`${name} cannot be overridden: it belongs to the package`);
    if (!/^[^\p{Cc}]+$/u.test(value) || value.trim() === "" || value.length > maxValueCharacters) {
      throw new BadOverride(`${name}: the value must be one line of at most ${maxValueCharacters} characters`);
    }
  }
  // apt reads an invalid number as 0. A package may contain one, but in an override it is a mistake.
  const phased = fields.find(([name]) => name.toLowerCase() === "phased-update-percentage");
  if (phased !== undefined && !/^\d+$/.test(phased[1]))
    throw new BadOverride(`Phased-Update-Percentage: ${JSON.stringify(phased[1])} is not a number from 0 to 100`);
  try {
    checkBinaryFields(fields);
    checkSourceFields(fields);
  } catch (thrown) {
    if (thrown instanceof Malformed) throw new BadOverride(thrown.message);
    throw thrown;
  }
}

interface CompiledRule {
  readonly matches: ReturnType<typeof packageMatcher>;
  readonly fields: Stanza;
}

/** Compiled rules. If several set the same field, the last one wins. */
export class Overrides {
  readonly #rules: readonly CompiledRule[];

  /** @throws PatternError */
  constructor(rules: Iterable<OverrideRule>) {
    this.#rules = [...rules].map(({ packages, set }) => ({
      matches: packageMatcher(packages),
      fields: Object.entries(set),
    }));
  }

  get isEmpty(): boolean {
    return this.#rules.length === 0;
  }

  /** @returns an entry with the overridden fields; the entry itself if no rule matches */
  apply(entry: IndexEntry): IndexEntry {
    const fields = this.#fieldsFor(entry);
    if (fields.length === 0) return entry;
    return entry.kind === "binary" ? new OverriddenBinary(entry, fields) : new OverriddenSource(entry, fields);
  }

  #fieldsFor(entry: IndexEntry): Stanza {
    if (this.isEmpty) return [];
    const named = { name: entry.package, version: entry.version, source: sourceOf(entry) };
    const found = new Map<string, readonly [name: string, value: string]>();
    for (const { matches, fields } of this.#rules) {
      if (!matches(named)) continue;
      for (const field of fields) {
        const key = field[0].toLowerCase();
        if (entry.kind === "binary" || !binaryFields.has(key)) found.set(key, field);
      }
    }
    return [...found.values()];
  }
}

function sourceOf(entry: IndexEntry): { readonly name: string; readonly version: string } {
  const own = { name: entry.package, version: entry.version };
  if (entry.kind === "source" || entry.source === undefined) return own;
  const [name = "", version = ""] = entry.source.split("_");
  return { name, version };
}

/** Applies overrides, which may change at any time, to the package list of a suite. */
export class OverriddenEntries {
  #rules: Overrides;

  constructor(rules: Overrides) {
    this.#rules = rules;
  }

  /**
   * Turns a change of the package list, and of the rules, into a change of the overridden entries.
   * @param all returns every entry after the change
   */
  apply(change: PackageListChange, rules: Overrides, all: () => Iterable<IndexEntry>): PackageListChange {
    const before = this.#rules;
    this.#rules = rules;
    if (before === rules && rules.isEmpty) return change;
    const removed = change.removed.map((entry) => before.apply(entry));
    const added = change.added.map((entry) => rules.apply(entry));
    if (before === rules) return { removed, added };
    const addedEntries = new Set(change.added);
    for (const entry of all()) {
      const [was, is] = [before.apply(entry), rules.apply(entry)];
      if (addedEntries.has(entry) || was.identity === is.identity) continue;
      removed.push(was);
      added.push(is);
    }
    return { removed, added };
  }

  /** Applies the current rules. */
  shown(entries: Iterable<IndexEntry>): Iterable<IndexEntry> {
    return this.#rules.isEmpty ? entries : overridden(entries, this.#rules);
  }
}

function* overridden(entries: Iterable<IndexEntry>, rules: Overrides): Iterable<IndexEntry> {
  for (const entry of entries) yield rules.apply(entry);
}

abstract class OverriddenEntry<Overridden extends IndexEntry> {
  readonly overrides: Stanza;
  protected readonly original: Overridden;

  constructor(original: Overridden, overrides: Stanza) {
    this.original = original;
    this.overrides = overrides;
  }

  get identity(): string {
    return this.#hash(this.original.identity, "hex");
  }
  get stanzaKey(): string {
    return this.#hash(this.original.stanzaKey, "base64url");
  }
  get path(): TreePath {
    return this.original.path;
  }
  get linkedAtMs(): number {
    return this.original.linkedAtMs;
  }
  get component(): Component {
    return this.original.component;
  }
  get package(): string {
    return this.original.package;
  }
  get version(): string {
    return this.original.version;
  }
  get entry(): FileEntry {
    return this.original.entry;
  }
  get inspectionKey(): string {
    return this.original.inspectionKey;
  }
  get sizeBytes(): number {
    return this.original.sizeBytes;
  }
  get sha256(): string {
    return this.original.sha256;
  }
  get stanzaBytes(): number {
    return this.overrides.reduce(
      (total, [name, value]) => total + name.length + value.length + 3,
      this.original.stanzaBytes,
    );
  }

  #hash(key: string, encoding: "hex" | "base64url"): string {
    return createHash("sha256")
      .update(JSON.stringify([key, ...this.overrides]))
      .digest(encoding);
  }
}

class OverriddenBinary extends OverriddenEntry<BinaryIndexEntry> implements BinaryIndexEntry {
  readonly kind = "binary";
  get architecture(): Architecture {
    return this.original.architecture;
  }
  get variant(): Architecture | undefined {
    return this.original.variant;
  }
  get source(): string | undefined {
    return this.original.source;
  }
  get builtAtSeconds(): number {
    return this.original.builtAtSeconds;
  }
  get descriptionKey(): string | undefined {
    return this.original.descriptionKey;
  }
  get forInstaller(): boolean {
    return this.original.forInstaller;
  }
}

class OverriddenSource extends OverriddenEntry<SourceIndexEntry> implements SourceIndexEntry {
  readonly kind = "source";
  get parts(): readonly SourceIndexEntryPart[] {
    return this.original.parts;
  }
}
