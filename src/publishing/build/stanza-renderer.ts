// Renders a segment of an index from the inspections of its packages.
import { hash } from "node:crypto";
import { lastName, parentPath } from "../../base/names.ts";
import { yieldToEventLoop } from "../../base/yield-to-event-loop.ts";
import type { Examiner } from "../../catalog/examiner.ts";
import type { BinaryIndexEntry, IndexEntry, SourceIndexEntry } from "../../catalog/suite/index-entry.ts";
import type { DigestAlgorithm } from "../../debian/digests.ts";
import { IndexError } from "../../indices/fields.ts";
import { renderPackage } from "../../indices/packages.ts";
import type { Segment } from "../../indices/segments.ts";
import { renderSource } from "../../indices/sources.ts";
import { renderTranslation } from "../../indices/translations.ts";
import { poolDirectory, poolName } from "../store/package-pool.ts";

/** Part of every segment's key. Raise it when the rendered text or its compression changes. */
const renderingVersion = "4";

/** The part of a stanza that an index contains: all, all except the long description, or only the description. */
export type StanzaStyle = "full" | "short" | "description";

/**
 * The kind of path in Filename and Directory: "pool" for a path that contains the package's hash, as a server offers
 * it; "tree" for the path in the tree, for a repository that consists of plain files.
 */
export type Placement = "pool" | "tree";

/** Renders stanzas, and computes the keys of segments. */
export class StanzaRenderer {
  readonly #examiner: Examiner;
  readonly #algorithms: readonly DigestAlgorithm[];
  readonly #placement: Placement;
  /** Inspections are usually in memory, so awaiting them does not yield to the event loop. */
  readonly #yieldNow = yieldToEventLoop();

  constructor(examiner: Examiner, algorithms: readonly DigestAlgorithm[], placement: Placement) {
    this.#examiner = examiner;
    this.#algorithms = algorithms;
    this.#placement = placement;
  }

  /**
   * The key of the bytes that `render` returns: keys are equal if and only if the bytes are, on any machine. So the
   * key depends on a directory only if the stanza contains it.
   * @returns lower-case hex
   */
  keyOf(segment: Segment<IndexEntry>, style: StanzaStyle): string {
    let content = `${renderingVersion} ${style} ${this.#algorithms.join()}\n`;
    const inTree = this.#placement === "tree";
    for (const entry of segment.items) {
      content += `${contentsOf(entry).join("/")}${inTree ? `\0${parentPath(entry.path)}` : ""}\n`;
    }
    return hash("sha256", content, "hex");
  }

  /**
   * @param known stanzas in this style that were rendered before, by entry identity
   * @throws StorageUnavailable if an inspection is lost and its file cannot be read
   */
  async render(
    segment: Segment<IndexEntry>,
    style: StanzaStyle,
    known: ReadonlyMap<string, Uint8Array>,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const stanzas: Uint8Array[] = [];
    for (const entry of segment.items) {
      const rendered = () =>
        entry.kind === "binary" ? this.#package(entry, style, signal) : this.#source(entry, signal);
      stanzas.push(known.get(entry.identity) ?? Buffer.from(await rendered()));
      await this.#yieldNow();
    }
    return Buffer.concat(stanzas);
  }

  async #package(entry: BinaryIndexEntry, style: StanzaStyle, signal: AbortSignal): Promise<string> {
    const inspection = await this.#examiner.loadInspection(entry, entry.inspectionKey, signal);
    if (inspection.kind !== "binary") throw new IndexError(`${entry.path} is no longer a binary package`);
    if (style === "description") return renderTranslation(inspection.control);
    const filename = `${this.#directoryOf(entry)}/${this.#nameOf(entry)}`;
    const description = style === "short" ? "short" : "whole";
    return renderPackage(inspection, filename, this.#algorithms, description, entry.overrides);
  }

  async #source(entry: SourceIndexEntry, signal: AbortSignal): Promise<string> {
    const inspection = await this.#examiner.loadInspection(entry, entry.inspectionKey, signal);
    if (inspection.kind !== "source") throw new IndexError(`${entry.path} is no longer a source package`);
    const { digests, sizeBytes } = inspection;
    const parts = entry.parts.map((part) => ({ ...part, name: lastName(part.path) }));
    const files = [{ name: lastName(entry.path), sizeBytes, digests }, ...parts];
    return renderSource(inspection, this.#directoryOf(entry), files, this.#algorithms, entry.overrides);
  }

  #nameOf(entry: BinaryIndexEntry): string {
    return this.#placement === "tree" ? lastName(entry.path) : poolName(entry.path);
  }

  #directoryOf(entry: IndexEntry): string {
    return this.#placement === "tree" ? parentPath(entry.path) : poolDirectory(entry.sha256);
  }
}

/** The names and digests in a stanza and the key of its text: together, everything that the stanza depends on. */
function contentsOf(entry: IndexEntry): readonly string[] {
  const parts = entry.kind === "binary" ? [] : entry.parts;
  const shown = parts.flatMap(({ path, digests }) => [lastName(path), ...Object.values(digests)]);
  return [poolName(entry.path), entry.sha256, entry.stanzaKey, ...shown];
}
