// Makes Contents in the background: from nothing the first time, then out of the last ones and what has changed.
import { mkdir, rm } from "node:fs/promises";
import { forEachAtMost } from "../../../base/for-each-concurrent.ts";
import type { Suite } from "../../../base/names.ts";
import type { GiveWay } from "../../../base/yield-to-event-loop.ts";
import { turns } from "../../../base/yield-to-event-loop.ts";
import type { Item } from "../../../catalog/suite/index-entry.ts";
import type { DigestAlgorithm } from "../../../debian/digests.ts";
import type { AssembledIndex } from "../../../indices/assemble.ts";
import { assemble } from "../../../indices/assemble.ts";
import type { LateFiles, LateMaker, LateOrder } from "../../build/deferred-files.ts";
import type { PublishedIndex } from "../../store/publication.ts";
import { indexPath, publishedIndex, segmentIdsOf } from "../../store/publication.ts";
import type { WantedContents } from "./contents-plan.ts";
import { contentsOf, groupOf, keyOf } from "./contents-plan.ts";
import type { ContentsMakingParts, WantedPackage } from "./contents-run.ts";
import { ContentsMaking, ListRefused } from "./contents-run.ts";
import type { ContentsMember, KeptContents } from "./contents-store.ts";
import type { ContentsListsParts } from "./file-list-source.ts";
import { ContentsLists } from "./file-list-source.ts";

export interface ContentsMakerParts extends ContentsMakingParts, ContentsListsParts {
  readonly hasContents: (suite: Suite) => boolean;
  readonly examiner: ContentsMakingParts["examiner"] & ContentsListsParts["examiner"];
  /** Release lists these. */
  readonly releaseAlgorithms: readonly DigestAlgorithm[];
}

/** How many lists are fetched or read at once: pings need the storage, too. */
const concurrentLists = 2;

export class ContentsMaker implements LateMaker {
  readonly name = "contents";
  readonly #parts: ContentsMakerParts;
  readonly #lists: ContentsLists;
  /** By suite and path, the indices as they were put together last: what the next ones begin with is not read again. */
  readonly #assembled = new Map<Suite, Map<string, AssembledIndex>>();

  constructor(parts: ContentsMakerParts) {
    this.#parts = parts;
    this.#lists = new ContentsLists(parts);
  }

  async make(order: LateOrder): Promise<LateFiles> {
    const { directory, hasContents } = this.#parts;
    if (!hasContents(order.suite)) return { indices: [], blobs: [] };
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory, { recursive: true, mode: 0o700 });
    try {
      for (;;) {
        try {
          return { indices: (await this.#make(order)).map(withoutFirsts), blobs: [] };
        } catch (thrown) {
          if (!(thrown instanceof ListRefused)) throw thrown;
        }
      }
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }

  async #make({ suite, current, items, giveWay, signal }: LateOrder): Promise<readonly KeptContents[]> {
    const { state } = this.#parts;
    const known = this.#usable(state.indices(suite));
    const wanted = await wantedOf(items, giveWay);
    const missing = new Map(wanted);
    const removed = new Map<string, ContentsMember>();
    for await (const [key, member] of state.members(suite, giveWay)) if (!missing.delete(key)) removed.set(key, member);
    const added = await this.#added(missing, giveWay, signal);
    const asked = contentsOf(current, new Set([...wanted.values()].map(({ group }) => group)));
    const making = new ContentsMaking(this.#parts, this.#lists, { suite, wanted, removed, added, giveWay, signal });
    const indices: KeptContents[] = [];
    const lastOnes = this.#assembled.get(suite) ?? new Map<string, AssembledIndex>();
    this.#assembled.set(suite, lastOnes);
    for (const one of asked) indices.push(await this.#index(lastOnes, one, known, making, indices, giveWay));
    await this.#parts.segments.written(segmentIdsOf(indices));
    const isSame = known.length === indices.length && indices.every((one) => known.includes(one));
    if (!isSame || removed.size > 0 || added.size > 0) {
      // No rest here: until all is saved there are no indices to go on from.
      await state.save(suite, { removed: removed.keys(), added, indices }, turns(signal));
    }
    const paths = new Set(indices.map((index) => indexPath(index, "plain")));
    for (const path of lastOnes.keys()) if (!paths.has(path)) lastOnes.delete(path);
    return indices;
  }

  /** The indices whose segments are all here still, with the digests that are asked for now. */
  #usable(indices: readonly KeptContents[]): readonly KeptContents[] {
    const { segments: store, releaseAlgorithms } = this.#parts;
    const hasDigests = ({ forms: { plain } }: KeptContents) =>
      releaseAlgorithms.every((algorithm) => algorithm === "sha256" || plain.others?.[algorithm] !== undefined);
    return indices.filter(
      (index) => hasDigests(index) && index.segments.every(({ id }) => store.sizesOf(id) !== undefined),
    );
  }

  /** What stands for new packages, once their lists are at hand. */
  async #added(
    missing: ReadonlyMap<string, WantedPackage>,
    giveWay: GiveWay,
    signal: AbortSignal,
  ): Promise<Map<string, ContentsMember>> {
    const added = new Map<string, ContentsMember>();
    let failure: { readonly thrown: unknown } | undefined;
    await forEachAtMost(missing, concurrentLists, async ([key, { item, group }]) => {
      await giveWay();
      try {
        if ((await this.#lists.listOf(item, signal)) === undefined) return;
        const location = await this.#lists.locationOf(item, signal);
        if (location !== undefined) added.set(key, { group, location, record: item.record });
      } catch (thrown) {
        signal.throwIfAborted();
        // The others' lists are brought all the same, so that the next try has them.
        failure ??= { thrown };
      }
    });
    if (failure !== undefined) throw failure.thrown;
    return added;
  }

  async #index(
    lastOnes: Map<string, AssembledIndex>,
    asked: WantedContents,
    known: readonly KeptContents[],
    making: ContentsMaking,
    made: readonly KeptContents[],
    giveWay: GiveWay,
  ): Promise<KeptContents> {
    const { releaseAlgorithms } = this.#parts;
    const { directory, name } = asked;
    const before = known.find((one) => one.directory === directory && one.name === name);
    const segments = await making.segmentsOf(asked, before);
    const same = (one: KeptContents): boolean =>
      one.segments.length === segments.length && one.segments.every(({ id }, at) => id === segments[at]?.id);
    if (before !== undefined && same(before)) return before;
    const twin = made.find(same);
    if (twin !== undefined) return { ...twin, directory, name };
    const path = indexPath(asked, "plain");
    const assembled = await assemble(segments, making.read, releaseAlgorithms, lastOnes.get(path), giveWay);
    lastOnes.set(path, assembled);
    return { ...publishedIndex({ directory, name, late: { maker: this.name } }, assembled), segments };
  }
}

/** The binary packages by what they bring into Contents; some are of many thousands. */
async function wantedOf(items: readonly Item[], giveWay: GiveWay): Promise<Map<string, WantedPackage>> {
  const wanted = new Map<string, WantedPackage>();
  for (const item of items) {
    if (item.kind === "binary") wanted.set(keyOf(item), { item, group: groupOf(item) });
    await giveWay();
  }
  return wanted;
}

function withoutFirsts({ segments, ...index }: KeptContents): PublishedIndex {
  return { ...index, segments: segments.map(({ first: _first, ...sizes }) => sizes) };
}
