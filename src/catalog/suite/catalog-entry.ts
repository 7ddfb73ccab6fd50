// The index entries of a package list. Each refers to its file in the catalog and stores only what it adds.
import type { Architecture, Component, TreePath } from "../../base/names.ts";
import { parseArchitecture } from "../../base/names.ts";
import type { FileEntry } from "../../storage/tree.ts";
import type { CatalogFile } from "../files/catalog-file.ts";
import { inspectionKeyOf, isUdeb } from "../files/catalog-file.ts";
import type { BinaryFinding, Finding, SourceFinding } from "../files/finding.ts";
import type { BinaryIndexEntry, SourceIndexEntry, SourceIndexEntryPart } from "./index-entry.ts";
import { entryIdentityBytesOf } from "./index-entry.ts";

/** A file that has been examined successfully. */
interface ExaminedFile<Found extends Finding> extends CatalogFile {
  readonly entry: FileEntry;
  readonly finding: Found;
}

/** Narrows the type of a file. @param finding the finding of this file */
export const isExamined = <Found extends Finding>(file: CatalogFile, finding: Found): file is ExaminedFile<Found> =>
  file.entry.kind === "file" && file.finding === finding;

/** Where identities are turned into hex digits: with a buffer for each, that would take twice as long. */
const scratch = Buffer.alloc(32);

abstract class CatalogEntry<Found extends BinaryFinding | SourceFinding> {
  readonly component: Component;
  protected readonly file: ExaminedFile<Found>;
  readonly #identityBytes: string;

  /** @param digests of its files and stanza */
  constructor(file: ExaminedFile<Found>, component: Component, digests: readonly string[]) {
    this.file = file;
    this.component = component;
    this.#identityBytes = entryIdentityBytesOf(file.path, digests);
  }

  get identity(): string {
    scratch.write(this.#identityBytes, "latin1");
    return scratch.toString("hex");
  }
  get path(): TreePath {
    return this.file.path;
  }
  get linkedAtMs(): number {
    return this.file.entry.linkedAtMs;
  }
  get entry(): FileEntry {
    return this.file.entry;
  }
  get inspectionKey(): string {
    return inspectionKeyOf(this.file) ?? "";
  }
  get package(): string {
    return this.file.finding.package;
  }
  get version(): string {
    return this.file.finding.version;
  }
  get sizeBytes(): number {
    return this.file.finding.sizeBytes;
  }
  get stanzaKey(): string {
    return this.file.finding.stanzaKey;
  }
  get stanzaBytes(): number {
    return this.file.finding.stanzaBytes;
  }
}

/** The index entry of a binary package in the catalog. */
export class CatalogBinaryEntry extends CatalogEntry<BinaryFinding> implements BinaryIndexEntry {
  constructor(file: ExaminedFile<BinaryFinding>, component: Component) {
    const { sha256, stanzaKey } = file.finding;
    super(file, component, [sha256, stanzaKey]);
  }

  get kind(): "binary" {
    return this.file.finding.kind;
  }
  get sha256(): string {
    return this.file.finding.sha256;
  }
  get source(): string | undefined {
    return this.file.finding.source;
  }
  get architecture(): Architecture {
    return parseArchitecture(this.file.finding.architecture);
  }
  get variant(): Architecture | undefined {
    const { variant } = this.file.finding;
    return variant === undefined ? undefined : parseArchitecture(variant);
  }
  get builtAtSeconds(): number {
    return this.file.finding.builtAtSeconds;
  }
  get descriptionKey(): string | undefined {
    return this.file.finding.descriptionKey;
  }
  get forInstaller(): boolean {
    return isUdeb(this.file.path);
  }
}

/** The index entry of a source package in the catalog. */
export class CatalogSourceEntry extends CatalogEntry<SourceFinding> implements SourceIndexEntry {
  readonly parts: readonly SourceIndexEntryPart[];

  constructor(file: ExaminedFile<SourceFinding>, component: Component, parts: readonly SourceIndexEntryPart[]) {
    const { digests, stanzaKey } = file.finding;
    const partDigests = parts.flatMap((part) => Object.values(part.digests));
    super(file, component, [digests.sha256, stanzaKey, ...partDigests]);
    this.parts = parts;
  }

  get kind(): "source" {
    return this.file.finding.kind;
  }
  get sha256(): string {
    return this.file.finding.digests.sha256;
  }
}
