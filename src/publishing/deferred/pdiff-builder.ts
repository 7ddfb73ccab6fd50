// Generates pdiffs in the background: patches from the indices of earlier publications to the current ones.
import { createHash } from "node:crypto";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { LRUCache } from "lru-cache";
import type { Suite } from "../../base/names.ts";
import type { YieldFunction } from "../../base/yield-to-event-loop.ts";
import type { DigestAlgorithm } from "../../debian/digests.ts";
import type { AssembledIndex, SegmentReader, SegmentSizes } from "../../indices/assemble.ts";
import { assemble } from "../../indices/assemble.ts";
import { edScript } from "../../indices/pdiff/ed-script.ts";
import type { Digested, Patch, PublishedState } from "../../indices/pdiff/pdiff-index.ts";
import { renderPatchIndex, statesToPatch } from "../../indices/pdiff/pdiff-index.ts";
import type { DeferredFiles, DeferredGenerator, DeferredRequest } from "../build/deferred-files.ts";
import type { Manifest, PublishedBlob, PublishedIndex } from "../store/publication.ts";
import { indexPath, namesPackages, patchPath } from "../store/publication.ts";
import type { PublicationStore } from "../store/publication-store.ts";
import type { SuiteSettingsProvider } from "../suite-settings.ts";

/** The collaborators of `PdiffBuilder`, and the size from which an index has patches. */
export interface PdiffBuilderOptions {
  readonly store: PublicationStore;
  readonly suiteSettings: SuiteSettingsProvider;
  /** The algorithms that Release lists. */
  readonly releaseDigests: readonly DigestAlgorithm[];
  /** `defaultMinIndexBytes` by default. */
  readonly minIndexBytes?: number;
}

/** An index whose .xz is smaller gets no patches: requesting one costs a client more than downloading the index. */
const defaultMinIndexBytes = 64 * 1024;
/** The size of one patch's entry in the file that lists them. */
const bytesPerListing = 800;

/** After so many bytes, older states of an index get no patch. If all of it changed, this takes some seconds. */
const maxComparedBytes = 256 * 1024 ** 2;
/** A longer patch takes more memory than it saves its clients. */
const maxScriptBytes = 8 * 1024 ** 2;

/** How many states of indices have their SHA1 cached. */
const maxCachedStates = 1000;

const name = "pdiffs";
const compress = promisify(gzip);

/** Generates the pdiffs of a suite. Patches for an unchanged index are reused. */
export class PdiffBuilder implements DeferredGenerator {
  readonly name = name;
  readonly #options: PdiffBuilderOptions;
  /** Each index with the digests of its last run. */
  readonly #assembled = new Map<string, AssembledIndex>();
  /** The SHA1 of plain indices, by their SHA256. */
  readonly #sha1Of = new LRUCache<string, string>({ max: maxCachedStates });

  constructor(options: PdiffBuilderOptions) {
    this.#options = options;
  }

  async generate({ suite, current, yieldNow }: DeferredRequest): Promise<DeferredFiles> {
    const { suiteSettings, minIndexBytes = defaultMinIndexBytes } = this.#options;
    const { pdiffs } = suiteSettings.of(suite);
    const large = pdiffs ? current.indices.filter(({ forms }) => forms.xz.sizeBytes >= minIndexBytes) : [];
    const states =
      large.length === 0 ? new Map<string, PublishedState[]>() : await this.#statesOf(suite, current, yieldNow);
    const blobs: PublishedBlob[] = [];
    for (const index of large) {
      const of = { path: indexPath(index, "plain"), sha256: index.forms.plain.sha256 };
      const existing = current.blobs.filter(({ late }) => late?.maker === name && late.of?.path === of.path);
      // Another generator may have published the same packages again in between.
      if (existing.some(({ late }) => late?.of?.sha256 === of.sha256)) blobs.push(...existing);
      else blobs.push(...(await this.#patches(suite, index, states.get(of.path) ?? [], yieldNow)));
    }
    return { indices: [], blobs };
  }

  /** The states of each index in this publication and earlier ones, newest first, by the path of the index. */
  async #statesOf(
    suite: Suite,
    current: Manifest,
    yieldNow: YieldFunction,
  ): Promise<ReadonlyMap<string, readonly PublishedState[]>> {
    const states = new Map<string, PublishedState[]>();
    for (const { id, dateSeconds, indices } of this.#options.store.history(suite)) {
      for (const index of dateSeconds > current.dateSeconds ? [] : indices) {
        const path = indexPath(index, "plain");
        const known = states.get(path) ?? [];
        states.set(path, known);
        known.push({ publication: id, dateSeconds, ...index.forms.plain });
      }
      await yieldNow();
    }
    return states;
  }

  /** The patches of one index and the file that lists them; nothing if there is no earlier state. */
  async #patches(
    suite: Suite,
    index: PublishedIndex,
    states: readonly PublishedState[],
    yieldNow: YieldFunction,
  ): Promise<readonly PublishedBlob[]> {
    const { store, releaseDigests } = this.#options;
    const path = indexPath(index, "plain");
    const { plain, xz } = index.forms;
    const late = { maker: name, of: { path, sha256: plain.sha256 } };
    let comparedBytes = 0;
    const read = (id: string): Uint8Array => {
      const bytes = store.segments.read(id, "plain");
      comparedBytes += bytes.length;
      return bytes;
    };
    const recordEnd = index.name.startsWith("Contents-") ? "\n" : "\n\n";
    const maxBytes = Math.min(maxScriptBytes, plain.sizeBytes);
    const withSha1 = await this.#sha1s(suite, index, yieldNow);
    const patches: Patch[] = [];
    const blobs: PublishedBlob[] = [];
    // apt adds up the sizes of this patch and all later ones, and downloads the index instead if that is smaller.
    let budgetBytes = xz.sizeBytes;
    for (const from of statesToPatch(states)) {
      if (comparedBytes > maxComparedBytes) break;
      const segments = store.segmentsOf(suite, from.publication, path) ?? [];
      const script = await edScript(segments, index.segments, { read, recordEnd, maxBytes, yieldNow });
      if (script === undefined || script.length === 0) continue;
      const gz = await compress(script);
      budgetBytes -= gz.length + bytesPerListing;
      if (budgetBytes < 0) break;
      const file = await store.blobs.put(gz, releaseDigests);
      blobs.push({ path: patchPath(path, file.sha256), listed: false, ...file, late });
      const past = { ...from, ...(await withSha1(segments, from)) };
      patches.push({ name: file.sha256, from: past, plain: digested(script), gz: digested(gz) });
    }
    if (patches.length === 0) return [];
    const present = { ...plain, ...(await withSha1(index.segments, plain)) };
    const listing = Buffer.from(renderPatchIndex(present, patches.toReversed()));
    return [
      { path: `${path}.diff/Index`, listed: true, ...(await store.blobs.put(listing, releaseDigests)), late },
      ...blobs,
    ];
  }

  /**
   * Creates a function for the SHA1 of an index's states. It hashes only the parts that differ from the current state.
   */
  async #sha1s(suite: Suite, index: PublishedIndex, yieldNow: YieldFunction) {
    // Only debmirror needs SHA1, and it does not support pdiffs of Contents.
    if (!namesPackages(index)) return async () => ({});
    const read: SegmentReader = (id, form) => this.#options.store.segments.read(id, form);
    const key = `${suite}/${indexPath(index, "plain")}`;
    const present = await assemble(index.segments, read, ["sha1"], this.#assembled.get(key), yieldNow);
    this.#assembled.set(key, present);
    return async (segments: readonly SegmentSizes[], { sha256 }: Digested): Promise<Pick<Digested, "sha1">> => {
      const known = this.#sha1Of.get(sha256);
      if (known !== undefined) return { sha1: known };
      const { sha1 = "" } = (await assemble(segments, read, ["sha1"], present, yieldNow)).forms.plain.digests;
      this.#sha1Of.set(sha256, sha1);
      return { sha1 };
    };
  }
}

const digested = (bytes: Uint8Array): Digested => ({
  sizeBytes: bytes.length,
  sha256: createHash("sha256").update(bytes).digest("hex"),
  sha1: createHash("sha1").update(bytes).digest("hex"),
});
