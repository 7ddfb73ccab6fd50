// Uploads packages: checks local files, uploads them, links them in one write per directory, and pings the server.
import type { Clock } from "../../base/clock.ts";
import { joinPath } from "../../base/names.ts";
import { defaultInspectLimits } from "../../catalog/inspection/inspect-limits.ts";
import { fieldOf } from "../../debian/stanza.ts";
import type { WebapiWriter } from "../../storage/tahoe/webapi-writer.ts";
import type { Bundle, PingAddress } from "../bundle.ts";
import type { LinkState, LinkStateTexts } from "../change-failed.ts";
import { ChangeFailed } from "../change-failed.ts";
import type { TokenDescription, WaitingObserver } from "../ping-client.ts";
import { describeToken, pingUntilLive } from "../ping-client.ts";
import { layoutFor, reasonNotSuite } from "../suites-with-slash.ts";
import { WriteGateways } from "../write-gateways.ts";
import type { DestinationFilter, DirectoryUpload } from "./assign-directories.ts";
import { assignDirectories, findProblems } from "./assign-directories.ts";
import { linkWithRecheck } from "./link-with-recheck.ts";
import type { Problem } from "./local-files.ts";
import { collectLocalFiles } from "./local-files.ts";
import { findConflicts, Uploader } from "./uploader.ts";

export interface PutOptions extends DestinationFilter {
  /** Whether a file may replace one of the same name with different bytes. */
  readonly mayReplace: boolean;
  /** How long to wait after linking until all packages are live, in ms. */
  readonly timeoutMs: number;
}

type Step = "check" | "upload" | "link" | "ping";

/** Receives the progress, for users. */
export interface PutObserver {
  started(step: Step): void;
  finished(step: Step, seconds: number): void;
  /** Called when more bytes are uploaded; negative if an upload starts again. */
  uploaded(bytes: number, totalBytes: number): void;
  note(text: string): void;
  /** Called if the server does not respond, or the change is not live yet. */
  waiting: WaitingObserver;
}

/** A package, as APT identifies it, and its result. */
export interface PutPackage {
  readonly name: string;
  readonly version: string;
  /** `source` for a source package. */
  readonly architecture: string;
  readonly suite: string;
  readonly component: string;
  /** In the tree. */
  readonly path: string;
  /** "live": APT sees it. "linked": it is in the tree, but the server has not confirmed that APT sees it. */
  readonly state: "live" | "linked" | "rejected";
  /** Why it is rejected or not live. */
  readonly reason?: string;
}

export interface PutOutcome {
  /** "refused": nothing was changed because of the problems. "rejected": the server rejected some of the packages. */
  readonly status: "live" | "linked" | "rejected" | "refused";
  readonly packages: readonly PutPackage[];
  readonly problems: readonly Problem[];
  /** Duration of each step. */
  readonly seconds: { readonly [Name in Step]?: number };
}

const linkStateTexts: LinkStateTexts = {
  unknown: "some of the files may be linked already; the same command finishes it",
  all: "the files are linked",
};

/**
 * Uploads packages. Can be interrupted and called again: the same bytes give the same objects, existing links do not
 * change, and a directory is not modified before the single write of all its links.
 * @param paths .deb, .udeb, .ddeb, .dsc, .changes and .buildinfo files
 * @throws ChangeFailed
 */
export async function put(
  bundle: Bundle,
  paths: readonly string[],
  options: PutOptions,
  environment: { readonly observer: PutObserver; readonly clock: Clock; readonly signal: AbortSignal },
): Promise<PutOutcome> {
  const upload = new Put(bundle, options, environment);
  try {
    return await upload.run(paths);
  } catch (thrown) {
    throw new ChangeFailed(thrown, upload.linked, linkStateTexts);
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
    const { uploads, problems } = await this.#timed("check", () => this.#check(paths));
    const outcome = { problems, seconds: this.#seconds };
    if (problems.length > 0) return { ...outcome, status: "refused", packages: [] };
    const links = await this.#timed("upload", () => this.#uploader.upload(uploads));
    const conflicts = this.#options.mayReplace ? [] : uploads.flatMap((upload) => findConflicts(upload, links));
    if (conflicts.length > 0) return { ...outcome, problems: conflicts, status: "refused", packages: [] };
    this.linked = "unknown";
    await this.#timed("link", async () => {
      const linking = uploads.map((upload) => ({ upload, link: () => this.#uploader.link(upload, links) }));
      const waiting = (pending: readonly { readonly upload: DirectoryUpload }[]) => {
        for (const { upload } of pending) {
          this.#observer.note(
            `${upload.directory.path} is new: waiting to see that no other upload overwrites this one`,
          );
        }
      };
      await linkWithRecheck(linking, waiting, { clock: this.#clock, signal: this.#signal });
    });
    this.linked = "all";
    const { ping } = this.#bundle;
    if (ping === undefined)
      return { ...outcome, status: "linked", packages: uploads.flatMap((each) => packagesOf(each)) };
    const packages = await this.#timed("ping", () => this.#ping(ping, uploads));
    const states = packages.map(({ state }) => state);
    const status = states.includes("rejected") ? "rejected" : states.includes("linked") ? "linked" : "live";
    return { ...outcome, status, packages };
  }

  async #timed<T>(step: Step, work: () => Promise<T>): Promise<T> {
    const startedMs = this.#clock();
    this.#observer.started(step);
    const result = await work();
    const seconds = (this.#clock() - startedMs) / 1000;
    this.#seconds[step] = seconds;
    this.#observer.finished(step, seconds);
    return result;
  }

  async #check(
    paths: readonly string[],
  ): Promise<{ readonly uploads: readonly DirectoryUpload[]; readonly problems: readonly Problem[] }> {
    const { ping } = this.#bundle;
    const pendingDescription = ping && describeToken(ping, this.#observer.waiting, this.#signal);
    // It is awaited below: until then, a rejection must not count as unhandled.
    pendingDescription?.catch(() => undefined);
    const collected = await collectLocalFiles(paths, defaultInspectLimits, this.#signal);
    for (const name of collected.notUploaded) this.#observer.note(`${name} is checked, but not uploaded`);
    const description = await pendingDescription;
    const [firstPath = ""] = paths;
    const { suite } = this.#options;
    const reason = suite === undefined ? undefined : reasonNotSuite(suite, description);
    if (reason !== undefined) return { uploads: [], problems: [...collected.problems, { file: firstPath, reason }] };
    const named = suite === undefined ? [...collected.distributions.values()].flat() : [suite];
    const layout = layoutFor(this.#bundle, description, named);
    const codenames = codenamesIn(description);
    const { destinations, problems } = assignDirectories(this.#bundle, collected, this.#options, codenames, layout);
    const uploads = await Promise.all(
      [...destinations].map(async ([{ location, ...directory }, files]): Promise<DirectoryUpload> => {
        const list = (writer: WebapiWriter) => writer.list(directory.cap, this.#signal);
        return { directory, location, files, entries: await this.#gateways.retry(list, this.#signal) };
      }),
    );
    const rejected = uploads.flatMap((upload) =>
      findProblems(upload, this.#options.mayReplace, defaultInspectLimits, layout),
    );
    const all = [...collected.problems, ...problems, ...rejected];
    if (uploads.length === 0 && all.length === 0) all.push({ file: firstPath, reason: "lists no file that APT uses" });
    return { uploads, problems: all };
  }

  async #ping(ping: PingAddress, uploads: readonly DirectoryUpload[]): Promise<readonly PutPackage[]> {
    const deadlineMs = this.#clock() + this.#options.timeoutMs;
    const packages: PutPackage[] = [];
    for (const upload of uploads) {
      const timeoutMs = Math.max(0, deadlineMs - this.#clock());
      const { waiting } = this.#observer;
      const signal = this.#signal;
      const result = await pingUntilLive(ping, upload.directory.path, { timeoutMs, waiting, signal });
      if ("notLive" in result) {
        const reason = `the server did not confirm in time that it is live (${result.notLive})`;
        packages.push(...packagesOf(upload).map((each) => ({ ...each, reason })));
        continue;
      }
      const rejected = new Map(result.rejected.map(({ path, reason }) => [path, reason]));
      for (const each of packagesOf(upload)) {
        const reason = rejected.get(each.path);
        const rolledBackTo = result.publications.find(({ suite }) => suite === each.suite)?.rolledBackTo;
        if (reason !== undefined) packages.push({ ...each, state: "rejected", reason });
        else if (rolledBackTo !== undefined)
          packages.push({ ...each, reason: `${each.suite} is rolled back to ${rolledBackTo} for now` });
        else packages.push({ ...each, state: "live" });
      }
    }
    return packages;
  }
}

/** The server's suites by codename. */
function codenamesIn(description: TokenDescription | undefined): ReadonlyMap<string, string> {
  const named = description?.suites ?? [];
  return new Map(named.flatMap(({ suite, codename }) => (codename === undefined ? [] : [[codename, suite]])));
}

function packagesOf({ directory, location, files }: DirectoryUpload): readonly PutPackage[] {
  return files.flatMap(({ name, inspection }): PutPackage[] => {
    if (inspection.kind === "part") return [];
    const stanza = inspection.kind === "binary" ? inspection.control : inspection.dsc;
    return [
      {
        name: fieldOf(stanza, inspection.kind === "binary" ? "Package" : "Source") ?? "",
        version: fieldOf(stanza, "Version") ?? "",
        architecture: inspection.kind === "binary" ? (fieldOf(stanza, "Architecture") ?? "") : "source",
        suite: location.suite,
        component: location.component,
        path: joinPath(directory.path, name),
        state: "linked",
      },
    ];
  });
}
