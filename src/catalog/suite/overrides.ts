// What the operator has index fields say in place of what packages say, as apt-ftparchive's override files do.
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

/** One rule, as it is written down. */
export interface OverrideRule {
  /** `NAME`, `NAME=VERSION`, `src:NAME` or `src:NAME=VERSION`, each with `*` and `?`. */
  readonly packages: string;
  /** Undefined: in every suite. */
  readonly suite?: string | undefined;
  /** Values by the names of fields, e.g. `Section`. */
  readonly set: { readonly [field: string]: string };
}

/** A rule that no index can follow. */
class BadOverride extends RepoError {
  readonly code = "catalog/bad-override";
}

/**
 * Fields that say which package this is and where its bytes are, and those that APT compares with the installed package:
 * with other values it would offer the same version again and again.
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

/** Of source packages there is nothing to be phased. */
const binaryFields: ReadonlySet<string> = new Set(["phased-update-percentage"]);

const fieldName = /^[!"$-,.-9;-~][!-9;-~]*$/;
const maxValueCharacters = 1000;

/** @throws BadOverride that says what is wrong with the rule; PatternError */
export function checkOverride({ packages, set }: OverrideRule): void {
  packageMatcher(packages);
  const fields = Object.entries(set);
  if (fields.length === 0) throw new BadOverride(`the override of ${packages} sets no field`);
  for (const [name, value] of fields) {
    if (!fieldName.test(name)) throw new BadOverride(`${JSON.stringify(name.slice(0, 80))} is not a field's name`);
    if (fixedFields.has(name.toLowerCase()))
      throw new BadOverride(`${name} can't be overridden: it belongs to the package`);
    if (!/^[^\p{Cc}]+$/u.test(value) || value.trim() === "" || value.length > maxValueCharacters) {
      throw new BadOverride(`${name}: the value must be one line of at most ${maxValueCharacters} characters`);
    }
  }
  // apt takes what is no number for 0, and a package may say so; who sets it by hand means something else.
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

/** Rules made ready to be asked often. Of several for a field the last one counts. */
export class Overrides {
  readonly #rules: readonly CompiledRule[];

  /** @throws PatternError */
  constructor(rules: Iterable<OverrideRule>) {
    this.#rules = [...rules].map(({ packages, set }) => ({
      matches: packageMatcher(packages),
      fields: Object.entries(set),
    }));
  }

  /** The item as indices are to tell of it: the item itself where no rule is about it. */
  apply(item: IndexEntry): IndexEntry {
    const fields = this.#fieldsFor(item);
    if (fields.length === 0) return item;
    return item.kind === "binary" ? new OverriddenBinary(item, fields) : new OverriddenSource(item, fields);
  }

  #fieldsFor(item: IndexEntry): Stanza {
    if (this.#rules.length === 0) return [];
    const named = { name: item.package, version: item.version, source: sourceOf(item) };
    const found = new Map<string, readonly [name: string, value: string]>();
    for (const { matches, fields } of this.#rules) {
      if (!matches(named)) continue;
      for (const field of fields) {
        const key = field[0].toLowerCase();
        if (item.kind === "binary" || !binaryFields.has(key)) found.set(key, field);
      }
    }
    return [...found.values()];
  }
}

function sourceOf(item: IndexEntry): { readonly name: string; readonly version: string } {
  const own = { name: item.package, version: item.version };
  if (item.kind === "source" || item.source === undefined) return own;
  const [name = "", version = ""] = item.source.split("_");
  return { name, version };
}

/** What a suite's indices tell of its packages under the operator's rules, which may change at any time. */
export class OverriddenEntries {
  #rules: Overrides;

  constructor(rules: Overrides) {
    this.#rules = rules;
  }

  /** @param all every item after the change */
  apply(change: PackageListChange, rules: Overrides, all: () => Iterable<IndexEntry>): PackageListChange {
    const before = this.#rules;
    this.#rules = rules;
    const removed = change.removed.map((item) => before.apply(item));
    const added = change.added.map((item) => rules.apply(item));
    if (before === rules) return { removed, added };
    const told = new Set(change.added);
    for (const item of all()) {
      const [was, is] = [before.apply(item), rules.apply(item)];
      if (told.has(item) || was.identity === is.identity) continue;
      removed.push(was);
      added.push(is);
    }
    return { removed, added };
  }

  *shown(items: Iterable<IndexEntry>): Iterable<IndexEntry> {
    for (const item of items) yield this.#rules.apply(item);
  }
}

abstract class OverriddenItem<Overridden extends IndexEntry> {
  readonly overrides: Stanza;
  protected readonly item: Overridden;

  constructor(item: Overridden, overrides: Stanza) {
    this.item = item;
    this.overrides = overrides;
  }

  get identity(): string {
    return this.#hash(this.item.identity, "hex");
  }
  get stanzaKey(): string {
    return this.#hash(this.item.stanzaKey, "base64url");
  }
  get path(): TreePath {
    return this.item.path;
  }
  get linkedAtMs(): number {
    return this.item.linkedAtMs;
  }
  get component(): Component {
    return this.item.component;
  }
  get package(): string {
    return this.item.package;
  }
  get version(): string {
    return this.item.version;
  }
  get entry(): FileEntry {
    return this.item.entry;
  }
  get inspectionKey(): string {
    return this.item.inspectionKey;
  }
  get sizeBytes(): number {
    return this.item.sizeBytes;
  }
  get sha256(): string {
    return this.item.sha256;
  }
  get stanzaBytes(): number {
    return this.overrides.reduce(
      (total, [name, value]) => total + name.length + value.length + 3,
      this.item.stanzaBytes,
    );
  }

  #hash(key: string, encoding: "hex" | "base64url"): string {
    return createHash("sha256")
      .update(JSON.stringify([key, ...this.overrides]))
      .digest(encoding);
  }
}

class OverriddenBinary extends OverriddenItem<BinaryIndexEntry> implements BinaryIndexEntry {
  readonly kind = "binary";
  get architecture(): Architecture {
    return this.item.architecture;
  }
  get variant(): Architecture | undefined {
    return this.item.variant;
  }
  get source(): string | undefined {
    return this.item.source;
  }
  get builtAtSeconds(): number {
    return this.item.builtAtSeconds;
  }
  get descriptionKey(): string | undefined {
    return this.item.descriptionKey;
  }
  get forInstaller(): boolean {
    return this.item.forInstaller;
  }
}

class OverriddenSource extends OverriddenItem<SourceIndexEntry> implements SourceIndexEntry {
  readonly kind = "source";
  get parts(): readonly SourceIndexEntryPart[] {
    return this.item.parts;
  }
}
