// The place of one repository in a running server. A changed configuration puts another repository into it; requests and
// pings that are under way then end as if nothing had happened.
import { abortable } from "../base/abort.ts";
import type { RepositoryName, TreePath } from "../base/names.ts";
import { withResolvers } from "../base/with-resolvers.ts";
import type { Resource } from "../publishing/resource.ts";
import type {
  ClientSession,
  DirectoryListing,
  KeptPublication,
  ListingRange,
  PingOutcome,
  PublicKey,
  RepositoryStatus,
  RequestContext,
  ServedRepository,
} from "../publishing/served-repository.ts";
import { NotSeenYet } from "../publishing/served-repository.ts";
import { StorageUnavailable } from "../storage/tree.ts";
import type { RepositoryService } from "./repository-service.ts";
import { isSameTree } from "./repository-service.ts";

/** How long after its start, in ms, a repository lets requests wait that it can only answer when it has seen its tree. */
const firstSurveyWaitMs = 10_000;
/** How many of these requests may wait at the same time; all others get an error at once. */
const maxWaitingRequests = 256;

export class RepositorySlot implements ServedRepository {
  readonly name: RepositoryName;
  #service: RepositoryService;
  /** Has the answers to requests that the present repository cannot answer before it has seen its tree. */
  #former: RepositoryService | undefined;
  #formerStopped: Promise<void> = Promise.resolve();
  /** Resolves when the tree was surveyed for the first time or the time for that is over; undefined from then on. */
  #firstSurvey: Promise<void> | undefined;
  #waitingRequests = 0;

  constructor(service: RepositoryService) {
    this.name = service.repository.name;
    this.#service = service;
  }

  get service(): RepositoryService {
    return this.#service;
  }

  /** Resolves when the repository that was replaced last does nothing any more. */
  get formerStopped(): Promise<void> {
    return this.#formerStopped;
  }

  get key(): PublicKey {
    return this.#service.repository.key;
  }

  /** Begins to refresh the repository. @returns as `RepositoryService.start` */
  async start(): Promise<string | undefined> {
    await this.#formerStopped;
    const started = this.#service;
    const surveyed = started.start();
    this.#letRequestsWaitFor(surveyed);
    const failure = await surveyed;
    // After a failure, the former one is kept until the next replacement: the present one has not seen its tree.
    if (failure === undefined && this.#service === started) this.#former = undefined;
    return failure;
  }

  /**
   * Puts another repository in place of the present one, which stops; then `start` must be called. Must be called while
   * the present one publishes nothing.
   */
  replace(service: RepositoryService): void {
    const former = this.#service;
    this.#service = service;
    this.#former = isSameTree(former.prepared, service.prepared) ? former : undefined;
    this.#formerStopped = former.stop();
  }

  async stop(): Promise<void> {
    await Promise.all([this.#formerStopped, this.#service.stop()]);
  }

  findNow(path: string, session: ClientSession | undefined): Resource | undefined {
    return this.#service.repository.findNow(path, session);
  }

  async find(path: string, context: RequestContext): Promise<Resource | undefined> {
    return await this.#asking((repository) => repository.find(path, context), context);
  }

  #letRequestsWaitFor(surveyed: Promise<unknown>): void {
    const { promise: firstSurvey, resolve } = withResolvers<void>();
    const end = (): void => {
      clearTimeout(timer);
      if (this.#firstSurvey === firstSurvey) this.#firstSurvey = undefined;
      resolve();
    };
    const timer = setTimeout(end, firstSurveyWaitMs).unref();
    this.#firstSurvey = firstSurvey;
    surveyed.then(end, end);
  }

  /**
   * Waits for the first survey, or only until the publications of other replicas were taken over.
   * @returns whether it is worthwhile to ask again
   * @throws signal.reason
   */
  async #awaitFirst(until: "publications" | "survey", signal: AbortSignal): Promise<boolean> {
    if (this.#firstSurvey === undefined || this.#waitingRequests >= maxWaitingRequests) return false;
    this.#waitingRequests += 1;
    try {
      const survey = this.#firstSurvey;
      await abortable(until === "survey" ? survey : Promise.race([survey, this.#service.tookOver]), signal);
      return true;
    } finally {
      this.#waitingRequests -= 1;
    }
  }

  async list(path: string, range: ListingRange, signal: AbortSignal): Promise<DirectoryListing | undefined> {
    return await this.#asking((repository) => repository.list(path, range, signal), { signal });
  }

  /**
   * Asks the repository; again if it was replaced meanwhile, and the former one for what the present one cannot know
   * before it has seen its tree.
   */
  async #asking<Answer>(
    ask: (repository: ServedRepository) => Promise<Answer | undefined>,
    request: Pick<RequestContext, "signal">,
  ): Promise<Answer | undefined> {
    const [service, former] = [this.#service, this.#former];
    try {
      return await ask(service.repository);
    } catch (thrown) {
      if (this.#service !== service && !request.signal.aborted) return await this.#asking(ask, request);
      if (!(thrown instanceof NotSeenYet || thrown instanceof StorageUnavailable)) throw thrown;
      const answer = former === undefined ? undefined : await ask(former.repository).catch(() => undefined);
      if (answer !== undefined) return answer;
      let last: unknown = thrown;
      for (const until of ["publications", "survey"] as const) {
        if (!(last instanceof NotSeenYet && (await this.#awaitFirst(until, request.signal)))) throw last;
        try {
          return await ask(this.#service.repository);
        } catch (again) {
          last = again;
        }
      }
      throw last;
    }
  }

  async ping(path: TreePath, signal: AbortSignal): Promise<PingOutcome> {
    await abortable(this.#formerStopped, signal);
    const asked = this.#service;
    try {
      return await (asked.replicated ?? asked.repository).ping(path, signal);
    } catch (thrown) {
      if (this.#service === asked || signal.aborted) throw thrown;
      return await this.ping(path, signal);
    }
  }

  requestRefresh(path: TreePath): Promise<void> | undefined {
    return this.#service.replicated?.requestRefresh(path);
  }

  get notReady(): string | undefined {
    return this.#service.repository.notReady;
  }

  status(): RepositoryStatus {
    return this.#service.repository.status();
  }

  snapshots(): Iterable<KeptPublication> {
    return this.#service.repository.snapshots();
  }
}
