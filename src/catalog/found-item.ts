// Items as a snapshot holds them: each speaks for its file, of which the catalog has the rest, and keeps what it adds.
import type { Architecture, Component, TreePath } from "../base/names.ts";
import { parseArchitecture } from "../base/names.ts";
import type { FileEntry } from "../storage/tree.ts";
import type { CatalogFile } from "./catalog.ts";
import type { BinaryFinding, Finding, SourceFinding } from "./finding.ts";
import type { BinaryItem, SourceItem, SourceItemPart } from "./item.ts";
import { identityOf } from "./item.ts";

/** A file in which something was found. */
interface ExaminedFile<Found extends Finding> extends CatalogFile {
  readonly entry: FileEntry;
  readonly record: string;
  readonly finding: Found;
}

/** @param finding the file's own */
export const isExamined = <Found extends Finding>(file: CatalogFile, finding: Found): file is ExaminedFile<Found> =>
  file.entry.kind === "file" && file.record !== undefined && file.finding === finding;

abstract class FoundItem<Found extends BinaryFinding | SourceFinding> {
  readonly identity: string;
  readonly component: Component;
  protected readonly file: ExaminedFile<Found>;

  constructor(file: ExaminedFile<Found>, component: Component, identity: string) {
    this.file = file;
    this.component = component;
    this.identity = identity;
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
  get record(): string {
    return this.file.record;
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
}

export class FoundBinary extends FoundItem<BinaryFinding> implements BinaryItem {
  readonly architecture: Architecture;

  constructor(file: ExaminedFile<BinaryFinding>, component: Component) {
    const { sha256, stanzaKey, architecture } = file.finding;
    super(file, component, identityOf(file.path, sha256, stanzaKey));
    this.architecture = parseArchitecture(architecture);
  }

  get kind(): "binary" {
    return this.file.finding.kind;
  }
  get sha256(): string {
    return this.file.finding.sha256;
  }
  get builtAtSeconds(): number {
    return this.file.finding.builtAtSeconds;
  }
  get descriptionKey(): string | undefined {
    return this.file.finding.descriptionKey;
  }
  get forInstaller(): boolean {
    return this.file.path.endsWith(".udeb");
  }
}

export class FoundSource extends FoundItem<SourceFinding> implements SourceItem {
  readonly parts: readonly SourceItemPart[];

  constructor(file: ExaminedFile<SourceFinding>, component: Component, parts: readonly SourceItemPart[]) {
    const { digests, stanzaKey } = file.finding;
    const ofParts = parts.flatMap((part) => Object.values(part.digests));
    super(file, component, identityOf(file.path, digests.sha256, stanzaKey, ...ofParts));
    this.parts = parts;
  }

  get kind(): "source" {
    return this.file.finding.kind;
  }
  get sha256(): string {
    return this.file.finding.digests.sha256;
  }
}
