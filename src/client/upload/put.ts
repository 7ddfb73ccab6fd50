// An upload from local files to what APT sees: gathered, checked, uploaded, linked in one write per directory, pinged.
import type { Clock } from "../../base/clock.ts";
import { joinPath } from "../../base/names.ts";
import { defaultInspectLimits } from "../../catalog/inspection/inspect-limits.ts";
import { fieldOf } from "../../debian/stanza.ts";
import type { WebapiWriter } from "../../storage/tahoe/webapi-writer.ts";
import type { Bundle, PingAddress } from "../bundle.ts";
import type { LinkState, LinkWords } from "../change-failed.ts";
import { ChangeFailed } from "../change-failed.ts";
import type { TokenDescription, WaitingObserver } from "../ping-client.ts";
import { describeToken, pingUntilLive } from "../ping-client.ts";
import { layoutFor, whyNoSuite } from "../suites-with-slash.ts";
import { WriteGateways } from "../write-gateways.ts";
import type { Choice, Parcel } from "./assign-directories.ts";
import { assign, objections } from "./assign-directories.ts";
import { linkWithRecheck } from "./link-with-recheck.ts";
import type { Problem } from "./local-files.ts";
import { collectLocalFiles } from "./local-files.ts";
import { differing, Uploader } from "./uploader.ts";

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
  /** The server does not answer, or not yet as hoped. */
  waiting: WaitingObserver;
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

const linkWords: LinkWords = {
  unknown: "some of the files may be linked already; the same command finishes it",
  all: "the files are linked",
};

/**
 * Safe to be interrupted and called again: uploads of the same bytes are the same objects, links that stand are left as
 * they are, and until the one write of its links a directory is not touched.
 * @param paths of .deb, .udeb, .ddeb, .dsc, .changes and .buildinfo files
 * @throws ChangeFailed
 */
export async function put(
  bundle: Bundle,
  paths: readonly string[],
  options: PutOptions,
  surroundings: { readonly observer: PutObserver; readonly clock: Clock; readonly signal: AbortSignal },
): Promise<PutOutcome> {
  const upload = new Put(bundle, options, surroundings);
  try {
    return await upload.run(paths);
  } catch (thrown) {
    throw new ChangeFailed(thrown, upload.linked, linkWords);
  }
}

class Put {
  linked: LinkState = "none";
  readonly #bundle: Bundle;
  readonly #gateways: WriteGateways;
  readonly #uploader: Uploader;
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
    this.#gateways = new WriteGateways(bundle.gateways, bundle.gatewayCa);
    this.#uploader = new Uploader(this.#gateways, (...counts) => observer.uploaded(...counts), signal);
    this.#options = options;
    this.#observer = observer;
    this.#clock = clock;
    this.#signal = signal;
  }

  async run(paths: readonly string[]): Promise<PutOutcome> {
    const { parcels, problems } = await this.#timed("check", () => this.#check(paths));
    const outcome = { problems, seconds: this.#seconds };
    if (problems.length > 0) return { ...outcome, status: "refused", packages: [] };
    const links = await this.#timed("upload", () => this.#uploader.upload(parcels));
    const late = this.#options.mayReplace ? [] : parcels.flatMap((parcel) => differing(parcel, links));
    if (late.length > 0) return { ...outcome, problems: late, status: "refused", packages: [] };
    this.linked = "unknown";
    await this.#timed("link", async () => {
      const linking = parcels.map((parcel) => ({ parcel, link: () => this.#uploader.link(parcel, links) }));
      const waiting = (young: readonly { readonly parcel: Parcel }[]) => {
        for (const { parcel } of young) {
          this.#observer.note(
            `${parcel.directory.path} is new: waiting to see that no other upload overwrites this one`,
          );
        }
      };
      await linkWithRecheck(linking, waiting, { clock: this.#clock, signal: this.#signal });
    });
    this.linked = "all";
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
    const { ping } = this.#bundle;
    const described = ping && describeToken(ping, this.#observer.waiting, this.#signal);
    // Awaited below: while files are read, nobody hears of a failure.
    described?.catch(() => undefined);
    const gathered = await collectLocalFiles(paths, defaultInspectLimits, this.#signal);
    for (const name of gathered.passedOver) this.#observer.note(`${name} is checked, and not uploaded`);
    const description = await described;
    const [first = ""] = paths;
    const { suite } = this.#options;
    const whyNot = suite === undefined ? undefined : whyNoSuite(suite, description);
    if (whyNot !== undefined) return { parcels: [], problems: [...gathered.problems, { file: first, reason: whyNot }] };
    const named = suite === undefined ? [...gathered.distributions.values()].flat() : [suite];
    const layout = layoutFor(this.#bundle, description, named);
    const codenames = codenamesIn(description);
    const { destinations, problems } = assign(this.#bundle, gathered, this.#options, codenames, layout);
    const parcels = await Promise.all(
      [...destinations].map(async ([{ place, ...directory }, files]): Promise<Parcel> => {
        const list = (writer: WebapiWriter) => writer.list(directory.cap, this.#signal);
        return { directory, place, files, entries: await this.#gateways.change(list, this.#signal) };
      }),
    );
    const objected = parcels.flatMap((parcel) =>
      objections(parcel, this.#options.mayReplace, defaultInspectLimits, layout),
    );
    const all = [...gathered.problems, ...problems, ...objected];
    if (parcels.length === 0 && all.length === 0)
      all.push({ file: first, reason: "lists nothing that APT has a use for" });
    return { parcels, problems: all };
  }

  async #ping(ping: PingAddress, parcels: readonly Parcel[]): Promise<readonly PutPackage[]> {
    const deadlineMs = this.#clock() + this.#options.patienceMs;
    const seen: PutPackage[] = [];
    for (const parcel of parcels) {
      const patienceMs = Math.max(0, deadlineMs - this.#clock());
      const { waiting } = this.#observer;
      const signal = this.#signal;
      const answer = await pingUntilLive(ping, parcel.directory.path, { patienceMs, waiting, signal });
      if ("notLive" in answer) {
        const reason = `the server did not say in time that it is live (${answer.notLive})`;
        seen.push(...packagesOf(parcel).map((each) => ({ ...each, reason })));
        continue;
      }
      const rejected = new Map(answer.rejected.map(({ path, reason }) => [path, reason]));
      for (const each of packagesOf(parcel)) {
        const reason = rejected.get(each.path);
        const past = answer.publications.find(({ suite }) => suite === each.suite)?.rolledBackTo;
        if (reason !== undefined) seen.push({ ...each, state: "rejected", reason });
        else if (past !== undefined) seen.push({ ...each, reason: `${each.suite} is rolled back to ${past} for now` });
        else seen.push({ ...each, state: "live" });
      }
    }
    return seen;
  }
}

/** The server's suites by their codenames. */
function codenamesIn(described: TokenDescription | undefined): ReadonlyMap<string, string> {
  const named = described?.suites ?? [];
  return new Map(named.flatMap(({ suite, codename }) => (codename === undefined ? [] : [[codename, suite]])));
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
