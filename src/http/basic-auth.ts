// HTTP Basic authentication for private repositories, with a limit on failed logins for each address.
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Log } from "../base/log.ts";
import type { RepositoryName } from "../base/names.ts";
import type { Secret } from "../base/secret.ts";
import { clientAddress } from "./client-address.ts";
import { basicOf } from "./credentials.ts";
import { HttpError } from "./error-responses.ts";
import type { ClientCounter } from "./rate-limiter.ts";

/** A user who may read a private repository. */
export interface Reader {
  /** Without a colon. @see RFC 7617 2 */
  readonly name: string;
  readonly password: Secret;
}

export interface ReaderLimits {
  /** For each address; all addresses of one IPv6 /64 network count as one. */
  readonly failedLoginsPerMinute: number;
}

export const defaultReaderLimits: ReaderLimits = { failedLoginsPerMinute: 20 };

/** Checks each request for a path of a private repository, except its public keys. */
export class BasicAuth {
  readonly #digests: ReadonlyMap<string, readonly Buffer[]>;
  readonly #failures: ClientCounter;
  readonly #limits: ReaderLimits;
  readonly #behindProxy: boolean;
  readonly #log: Log;

  /**
   * @param behindProxy whether the last address of X-Forwarded-For is the client's
   * @param failures counts the failed logins of each address
   */
  constructor(
    readers: ReadonlyMap<RepositoryName, readonly Reader[]>,
    limits: ReaderLimits,
    {
      behindProxy,
      log,
      failures,
    }: { readonly behindProxy: boolean; readonly log: Log; readonly failures: ClientCounter },
  ) {
    const isPrivate = [...readers].filter(([, some]) => some.length > 0);
    this.#digests = new Map(
      isPrivate.map(([repository, some]) => [
        repository,
        some.map(({ name, password }) => sha256(`${name}:${password.reveal()}`)),
      ]),
    );
    this.#limits = limits;
    this.#failures = failures;
    this.#behindProxy = behindProxy;
    this.#log = log;
  }

  isPrivate(repository: string): boolean {
    return this.#digests.has(repository);
  }

  /**
   * Returns if the credentials are those of a reader. Beyond the limit all requests from that address fail for the rest of
   * the minute, with the right password too: otherwise an attacker could recognise it.
   * @param requestId for the log
   * @throws HttpError 401 or 429
   */
  async admit(repository: string, request: IncomingMessage, requestId: string): Promise<void> {
    const digests = this.#digests.get(repository);
    if (digests === undefined) return;
    const credentials = basicOf(request.headers.authorization);
    if (credentials === undefined) throw challenge(repository, "this repository requires a name and password");
    const address = clientAddress(request, this.#behindProxy);
    const isKnown = isOneOf(digests, sha256(credentials));
    // Counted before the first await: otherwise many simultaneous requests would all be within the limit.
    const failures = await (isKnown ? this.#failures.get(address) : this.#failures.penalty(address));
    const consumedPoints = failures?.consumedPoints ?? 0;
    const { failedLoginsPerMinute } = this.#limits;
    if (consumedPoints > failedLoginsPerMinute || (isKnown && consumedPoints === failedLoginsPerMinute)) {
      const seconds = Math.max(1, Math.ceil((failures?.msBeforeNext ?? 0) / 1000));
      throw new HttpError("request/rate", "too many wrong passwords from this address", {
        "Retry-After": String(seconds),
      });
    }
    if (isKnown) return;
    if (consumedPoints === failedLoginsPerMinute) {
      this.#log.warn(
        { requestId, repository, address },
        "too many failed logins: requests from this address are rejected for a minute",
      );
    }
    throw challenge(repository, "wrong name or password");
  }
}

/** Compares all of them, so that the duration reveals nothing. */
function isOneOf(known: readonly Buffer[], candidate: Buffer): boolean {
  let found = false;
  for (const one of known) found = timingSafeEqual(one, candidate) || found;
  return found;
}

const challenge = (repository: string, text: string): HttpError =>
  new HttpError("request/unauthorized", text, {
    "WWW-Authenticate": `Basic realm="${repository}", charset="UTF-8"`,
  });

const sha256 = (text: string): Buffer => createHash("sha256").update(text).digest();
