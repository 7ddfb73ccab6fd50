// An upload from local files to what APT sees: gathered, checked, uploaded, linked in one write per directory, pinged.
import { createReadStream } from "node:fs";
import { forEachAtMost } from "../base/bounded.ts";
import type { Clock } from "../base/clock.ts";
import type { ContentId } from "../base/content-id.ts";
import { RepoError } from "../base/errors.ts";
import { joinPath } from "../base/names.ts";
import type { EntryMetadata } from "../catalog/entry-metadata.ts";
import { entryMetadataOf, metadataKey, parseEntryMetadata } from "../catalog/entry-metadata.ts";
import { defaultInspectLimits } from "../catalog/inspect-limits.ts";
import { RunningDigests } from "../debian/digests.ts";
import { fieldOf } from "../debian/stanza.ts";
import type { Link, WebapiWriter } from "../storage/tahoe/webapi-writer.ts";
import type { Entry } from "../storage/tree.ts";
import type { Choice, Parcel } from "./assign.ts";
import { assign, objections } from "./assign.ts";
import type { Bundle, PingAddress } from "./bundle.ts";
import { Gateways } from "./gateways.ts";
import type { LocalFile, Problem } from "./gather.ts";
import { gather } from "./gather.ts";
import { pingUntilLive } from "./ping.ts";

export interface PutOptions extends Choice {
  /** Whether a file may take the place of one of the same name with other bytes. */
  readonly mayReplace: boolean;
  /** How long to wait until all is live, after it was linked. */
  readonly patienceMs: number;
}

type Step = "check" | "upload" | "link" | "ping";

/** Told of the progress, for people. */
export interface PutObserver {
  began(step: Step): void;
  ended(step: Step, seconds: number): void;
  /** So many bytes more are uploaded, of so many in all. */
  uploaded(bytes: number, totalBytes: number): void;
  note(text: string): void;
}

/** A package as APT names it, and what became of it. */
export interface PutPackage {
  readonly name: string;
  readonly version: string;
  /** `source` for a source package. */
  readonly architecture: string;
  readonly suite: string;
  readonly component: string;
  readonly path: string;
  /** "live": APT sees it. "linked": it is in the tree, and the server has not said so yet. */
  readonly state: "live" | "linked" | "rejected";
  /** Why it is not live. */
  readonly reason?: string;
}

export interface PutOutcome {
  /** "refused": nothing was changed, since the problems speak against it. "rejected": the server lists not all of it. */
  readonly status: "live" | "linked" | "rejected" | "refused";
  readonly packages: readonly PutPackage[];
  readonly problems: readonly Problem[];
  /** How long each step took. */
  readonly seconds: { readonly [Name in Step]?: number };
}

/** A file was written to between its check and its upload. */
class FileChanged extends RepoError {
  readonly code = "builder/file-changed";
}

const concurrentUploads = 4;

/**
 * Safe to be interrupted and called again: uploads of the same bytes are the same objects, links that stand are left as
 * they are, and until the one write of its links a directory is not touched.
 * @param paths of .deb, .udeb, .dsc, .changes and .buildinfo files
 * @throws StorageUnavailable, PingRefused, FileChanged; signal.reason
 */
export async function put(
  bundle: Bundle,
  paths: readonly string[],
  options: PutOptions,
  surroundings: { readonly observer: PutObserver; readonly clock: Clock; readonly signal: AbortSignal },
): Promise<PutOutcome> {
  return await new Put(bundle, options, surroundings).run(paths);
}

class Put {
  readonly #bundle: Bundle;
  readonly #gateways: Gateways;
  readonly #options: PutOptions;
  readonly #observer: PutObserver;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #seconds: { [Name in Step]?: number } = {};

  constructor(
    bundle: Bundle,
    options: PutOptions,
    {
      observer,
      clock,
      signal,
    }: { readonly observer: PutObserver; readonly clock: Clock; readonly signal: AbortSignal },
  ) {
    this.#bundle = bundle;
    this.#gateways = new Gateways(bundle.gateways);
    this.#options = options;
    this.#observer = observer;
    this.#clock = clock;
    this.#signal = signal;
  }

  async run(paths: readonly string[]): Promise<PutOutcome> {
    const { parcels, problems } = await this.#timed("check", () => this.#check(paths));
    const outcome = { problems, seconds: this.#seconds };
    if (problems.length > 0) return { ...outcome, status: "refused", packages: [] };
    const links = await this.#timed("upload", () => this.#upload(parcels));
    const late = parcels.flatMap((parcel) => this.#differing(parcel, links));
    if (late.length > 0) return { ...outcome, problems: late, status: "refused", packages: [] };
    await this.#timed("link", async () => {
      for (const parcel of parcels) await this.#link(parcel, links);
    });
    const { ping } = this.#bundle;
    if (ping === undefined)
      return { ...outcome, status: "linked", packages: parcels.flatMap((each) => packagesOf(each)) };
    const packages = await this.#timed("ping", () => this.#ping(ping, parcels));
    const states = packages.map(({ state }) => state);
    const status = states.includes("rejected") ? "rejected" : states.includes("linked") ? "linked" : "live";
    return { ...outcome, status, packages };
  }

  async #timed<T>(step: Step, work: () => Promise<T>): Promise<T> {
    const begunMs = this.#clock();
    this.#observer.began(step);
    const result = await work();
    const seconds = (this.#clock() - begunMs) / 1000;
    this.#seconds[step] = seconds;
    this.#observer.ended(step, seconds);
    return result;
  }

  async #check(
    paths: readonly string[],
  ): Promise<{ readonly parcels: readonly Parcel[]; readonly problems: readonly Problem[] }> {
    const gathered = await gather(paths, defaultInspectLimits, this.#signal);
    for (const name of gathered.passedOver) this.#observer.note(`${name} is checked, and not uploaded`);
    const { destinations, problems } = assign(this.#bundle, gathered, this.#options);
    const parcels = await Promise.all(
      [...destinations].map(async ([{ place, ...directory }, files]): Promise<Parcel> => {
        const list = (writer: WebapiWriter) => writer.list(directory.cap, this.#signal);
        return { directory, place, files, entries: await this.#gateways.change(list, this.#signal) };
      }),
    );
    const objected = parcels.flatMap((parcel) => objections(parcel, this.#options.mayReplace, defaultInspectLimits));
    return { parcels, problems: [...gathered.problems, ...problems, ...objected] };
  }

  /** What is not in its directory yet; each with the link that it is to have. */
  async #upload(parcels: readonly Parcel[]): Promise<ReadonlyMap<LocalFile, Link>> {
    const missing = parcels.flatMap(({ files, entries }) =>
      files.filter((file) => !stands(entries.get(file.name), file)),
    );
    const totalBytes = missing.reduce((total, { inspection }) => total + inspection.sizeBytes, 0);
    const links = new Map<LocalFile, Link>();
    await forEachAtMost(missing, concurrentUploads, async (file) => {
      const { inspection } = file;
      const list = inspection.kind === "binary" ? inspection.fileList : undefined;
      const contents =
        list && (await this.#gateways.change((writer) => writer.upload(list, this.#signal), this.#signal));
      const content = await this.#uploadFile(file, totalBytes);
      const metadata = entryMetadataOf(inspection);
      links.set(file, { content, metadata: contents ? { ...metadata, contents: contents.reveal() } : metadata });
    });
    return links;
  }

  async #uploadFile({ path, inspection }: LocalFile, totalBytes: number): Promise<ContentId> {
    let counted = 0;
    const observer = this.#observer;
    return await this.#gateways.change(async (writer) => {
      observer.uploaded(-counted, totalBytes);
      counted = 0;
      const running = new RunningDigests([]);
      async function* content(): AsyncGenerator<Uint8Array> {
        for await (const chunk of createReadStream(path) as AsyncIterable<Uint8Array>) {
          running.update(chunk);
          yield chunk;
          counted += chunk.byteLength;
          observer.uploaded(chunk.byteLength, totalBytes);
        }
      }
      const uploaded = await writer.upload(content(), this.#signal);
      if (running.finish().digests.sha256 !== inspection.digests.sha256) {
        throw new FileChanged(`${path} was written to while it was uploaded`);
      }
      return uploaded;
    }, this.#signal);
  }

  /** What stood under a name without a word on its bytes, and turned out to hold others. */
  #differing({ files, entries, directory }: Parcel, links: ReadonlyMap<LocalFile, Link>): readonly Problem[] {
    if (this.#options.mayReplace) return [];
    return files.flatMap((file) => {
      const [entry, link] = [entries.get(file.name), links.get(file)];
      if (entry?.kind !== "file" || link === undefined || entry.content?.key === link.content.key) return [];
      const said = parseEntryMetadata(entry.metadata, defaultInspectLimits);
      if (said?.sha256 === file.inspection.digests.sha256) return [];
      return [
        {
          file: file.path,
          reason: `${joinPath(directory.path, file.name)} is there already with other bytes: --replace puts this one in its place`,
        },
      ];
    });
  }

  /** All of a directory's links in one write, and none where all stand. */
  async #link({ directory, files }: Parcel, links: ReadonlyMap<LocalFile, Link>): Promise<void> {
    await this.#gateways.change(async (writer) => {
      const entries = await writer.list(directory.cap, this.#signal);
      const missing = new Map<string, Link>();
      for (const file of files) {
        const link = links.get(file);
        if (link !== undefined && !stands(entries.get(file.name), file)) missing.set(file.name, link);
      }
      if (missing.size > 0) await writer.link(directory.cap, missing, this.#signal);
    }, this.#signal);
  }

  async #ping(ping: PingAddress, parcels: readonly Parcel[]): Promise<readonly PutPackage[]> {
    const deadlineMs = this.#clock() + this.#options.patienceMs;
    const seen: PutPackage[] = [];
    for (const parcel of parcels) {
      const patienceMs = Math.max(0, deadlineMs - this.#clock());
      const answer = await pingUntilLive(ping, parcel.directory.path, patienceMs, this.#signal);
      const rejected = new Map(answer?.rejected.map(({ path, reason }) => [path, reason]));
      for (const each of packagesOf(parcel)) {
        const reason = rejected.get(each.path);
        if (reason !== undefined) seen.push({ ...each, state: "rejected", reason });
        else if (answer !== undefined) seen.push({ ...each, state: "live" });
        else seen.push({ ...each, reason: "the server did not say in time that it is live" });
      }
    }
    return seen;
  }
}

/** Whether an entry is this file, with all that is to be said of it: but for the pointer to the list of its files. */
function stands(entry: Entry | undefined, { inspection }: LocalFile): boolean {
  if (entry?.kind !== "file" || entry.content === undefined) return false;
  const said = parseEntryMetadata(entry.metadata, defaultInspectLimits);
  return said !== undefined && wordsOf(said) === wordsOf(entryMetadataOf(inspection));
}

function wordsOf(metadata: EntryMetadata): string {
  const { contents: _, ...rest } = metadata;
  return metadataKey(rest);
}

function packagesOf({ directory, place, files }: Parcel): readonly PutPackage[] {
  return files.flatMap(({ name, inspection }): PutPackage[] => {
    if (inspection.kind === "part") return [];
    const stanza = inspection.kind === "binary" ? inspection.control : inspection.dsc;
    return [
      {
        name: fieldOf(stanza, inspection.kind === "binary" ? "Package" : "Source") ?? "",
        version: fieldOf(stanza, "Version") ?? "",
        architecture: inspection.kind === "binary" ? (fieldOf(stanza, "Architecture") ?? "") : "source",
        suite: place.suite,
        component: place.component,
        path: joinPath(directory.path, name),
        state: "linked",
      },
    ];
  });
}
