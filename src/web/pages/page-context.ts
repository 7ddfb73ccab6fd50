// What a page is made from: the repository, what is asked about it, and who asks.
import type { ServedRepository } from "../../publishing/served-repository.ts";
import type { Activity } from "../activity/activity-log.ts";
import type { RepositoryData } from "../data/repository-data.ts";
import type { Links } from "./links.ts";

/** What the pages of one repository are made from. */
export interface PageSource {
  readonly repository: ServedRepository;
  readonly data: RepositoryData;
  /** What happened in the last day and month; undefined if that is not recorded. */
  readonly activity?: (() => Activity) | undefined;
}

/** A request for one page. */
export interface PageRequest {
  readonly links: Links;
  readonly query: URLSearchParams;
  /** The URL of the repository for this client, without a trailing slash. */
  readonly uri: string;
  /** Whether only its readers can read it. */
  readonly isPrivate: boolean;
  /** Seconds since the epoch. */
  readonly nowSeconds: number;
  readonly signal: AbortSignal;
}
