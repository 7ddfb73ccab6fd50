// The input of the functions that render pages: a repository, and the request.
import type { ServedRepository } from "../../publishing/served-repository.ts";
import type { Activity } from "../activity/activity-log.ts";
import type { RepositoryData } from "../data/repository-data.ts";
import type { Links } from "../html/links.ts";

/** The sources of the pages of one repository. */
export interface PageSource {
  readonly repository: ServedRepository;
  readonly data: RepositoryData;
  /** The requests, uploads and pings in the last day and month; undefined if they are not recorded. */
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
