// The entries of a feed: uploads, in which the files of one version for several architectures are one entry.
import { createHash } from "node:crypto";
import type { RepositoryData, Upload } from "../data/repository-data.ts";
import { maxPageEntries } from "../data/repository-data.ts";

/** One version of a package or source package in a suite. */
export interface FeedEntry {
  /** A URN that stays the same while files for further architectures are added. */
  readonly id: string;
  readonly name: string;
  readonly isSource: boolean;
  readonly suite: string;
  readonly component: string;
  readonly version: string;
  /** Sorted. */
  readonly architectures: readonly string[];
  /** The directories of the builders, sorted. */
  readonly builders: readonly string[];
  readonly description: string;
  /** The first and the last of its files, in seconds since the epoch; 0 if unknown. */
  readonly publishedSeconds: number;
  readonly updatedSeconds: number;
}

export const maxFeedEntries = 100;
/** A version with files for many architectures takes as many rows. */
const maxPages = 5;
/** A link time further in the future counts as unknown, as in the indices. */
const maxAheadSeconds = 600;

/** Returns the most recent uploads, the newest first. @param suite its public name; undefined: all suites */
export async function feedEntries(
  data: Pick<RepositoryData, "uploads">,
  suite: string | undefined,
  { nowSeconds, signal }: { readonly nowSeconds: number; readonly signal: AbortSignal },
): Promise<readonly FeedEntry[]> {
  const groups = new Map<string, Upload[]>();
  let cursor: string | undefined;
  for (let page = 0; page < maxPages; page += 1) {
    const { entries, next } = await data.uploads({ suite, limit: maxPageEntries, cursor }, signal);
    for (const upload of entries) {
      const key = [upload.suite, upload.component, upload.isSource, upload.name, upload.version].join(" ");
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [upload]);
      else group.push(upload);
    }
    if (next === undefined || groups.size > maxFeedEntries) break;
    cursor = next;
  }
  return [...groups.values()]
    .flatMap((group) => entryOf(group, nowSeconds) ?? [])
    .toSorted((a, b) => b.updatedSeconds - a.updatedSeconds)
    .slice(0, maxFeedEntries);
}

function entryOf(group: readonly Upload[], nowSeconds: number): FeedEntry | undefined {
  const timeOf = ({ uploadedSeconds = 0 }: Upload) =>
    uploadedSeconds > nowSeconds + maxAheadSeconds ? 0 : uploadedSeconds;
  const files = group.toSorted((a, b) => timeOf(a) - timeOf(b) || (a.architecture < b.architecture ? -1 : 1));
  const [first, last] = [files[0], files.at(-1)];
  if (first === undefined || last === undefined) return undefined;
  const { name, isSource, suite, component, version, description } = first;
  return {
    id: urnOf([suite, first.sha256]),
    name,
    isSource,
    suite,
    component,
    version,
    architectures: distinct(files.map(({ architecture }) => architecture)),
    builders: distinct(files.flatMap(({ builder }) => builder ?? [])),
    description,
    publishedSeconds: timeOf(first),
    updatedSeconds: timeOf(last),
  };
}

const distinct = (texts: readonly string[]): readonly string[] => [...new Set(texts)].toSorted();

/** Returns a URN that is the same for the same texts. @see RFC 9562 5.8, a UUID of version 8 */
export function urnOf(texts: readonly string[]): string {
  const hex = createHash("sha256").update(JSON.stringify(texts)).digest("hex");
  const variant = ((Number.parseInt(hex.charAt(16), 16) & 0x3) | 0x8).toString(16);
  const parts = [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, variant + hex.slice(17, 20)];
  return `urn:uuid:${[...parts, hex.slice(20, 32)].join("-")}`;
}
