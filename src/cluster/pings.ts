// Pings of one repository: any replica receives them, all look at the path, and the publisher answers when the change
// is published. A note in Valkey makes sure that a ping is not lost with the publisher.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { LRUCache } from "lru-cache";
import { z } from "zod";
import { abortable } from "../base/abort.ts";
import type { ErrorCode } from "../base/error-codes.ts";
import { errorCodes } from "../base/error-codes.ts";
import { codeOf, messageOf, RepoError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { TreePath } from "../base/names.ts";
import { parseTreePath, tryParseTreePath } from "../base/names.ts";
import { withResolvers } from "../base/with-resolvers.ts";
import type { PingOutcome } from "../publishing/served-repository.ts";
import { parsedJson } from "./parsed-json.ts";
import { keys, noteScript } from "./scripts.ts";
import type { Sealing } from "./sealing.ts";
import type { Valkey } from "./valkey.ts";
import { ValkeyUnavailable } from "./valkey.ts";

/** The repository as pings see it, with the flat repositories in its tree. */
export interface PingedRepository {
  ping(path: TreePath, signal: AbortSignal): Promise<PingOutcome>;
}

interface PingsOptions {
  readonly valkey: Valkey;
  readonly sealing: Sealing;
  readonly repository: string;
  /** The id of this replica. */
  readonly id: string;
  readonly isPublisher: () => boolean;
  /** Why pings cannot be passed on now, as a text for people; undefined if they can. */
  readonly refusal: () => string | undefined;
  /** Called when the storage was unavailable for a ping. @returns whether another replica answers it */
  readonly leaveToOthers: () => Promise<boolean>;
  readonly log: Log;
}

/** The publisher could not publish what a ping is about. */
class PingFailed extends RepoError {
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** How long to wait for the answer until the publisher is asked again, in ms: it may be another one. */
const repeatMs = 2000;
/** How long after a ping the other replicas look at the tree, in ms. */
const lookAfterMs = 1000;
/** The maximum number of pings that wait in Valkey for each repository. */
const maxWaiting = 5000;
/** How many answers are kept, for a replica that asks again. */
const maxAnswers = 1000;

const message = z.object({ repository: z.string(), ping: z.string(), from: z.string(), path: z.string() });
const answerMessage = z.object({ repository: z.string(), ping: z.string(), answer: z.string() });
export type PingMessage = z.infer<typeof message>;
export type AnswerMessage = z.infer<typeof answerMessage>;

const outcomeLists = ["publications", "added", "removed", "rejected", "pending", "notices"] as const;
const isOutcome = (value: unknown): boolean =>
  typeof value === "object" &&
  value !== null &&
  outcomeLists.every((name) => Array.isArray((value as Readonly<Record<string, unknown>>)[name]));
const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(errorCodes, code);
/** A newer version of the program may have more codes. */
const errorCode = z.string().transform((code): ErrorCode => (isErrorCode(code) ? code : "cluster/unavailable"));
const anyAnswer = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("outcome"), outcome: z.custom<PingOutcome>(isOutcome) }),
  z.object({ kind: z.literal("failure"), code: errorCode, text: z.string() }),
]);

/** The answer of the publisher. */
type Answer = z.infer<typeof anyAnswer>;

const failureOf = (thrown: unknown): Answer => ({ kind: "failure", code: codeOf(thrown), text: messageOf(thrown) });

export const pingChannel = "ping";
/** @param id of the replica that has received the ping */
export const answerChannel = (id: string): string => `answer:${id}`;

export const parsePing = (bytes: Buffer): PingMessage | undefined => parsedJson(message, bytes.toString());
export const parseAnswer = (bytes: Buffer): AnswerMessage | undefined => parsedJson(answerMessage, bytes.toString());

export class ReplicatedPings {
  readonly #options: PingsOptions;
  #repository: PingedRepository | undefined;
  /** The pings that were received here and wait for an answer of the publisher. */
  readonly #waiting = new Map<string, (answer: Answer) => void>();
  /** The pings that this replica answers. */
  readonly #answering = new Set<string>();
  /** The last answers, sealed. */
  readonly #answers = new LRUCache<string, string>({ max: maxAnswers });
  readonly #stopping = new AbortController();

  constructor(options: PingsOptions) {
    this.#options = options;
  }

  attach(repository: PingedRepository): void {
    this.#repository = repository;
  }

  /**
   * Makes sure that some publisher will look at a path.
   * @returns the note that was sent to all replicas
   * @throws ValkeyUnavailable, PingFailed
   */
  async note(path: TreePath, ping: string = randomUUID()): Promise<string> {
    const { valkey, repository, id, isPublisher, refusal } = this.#options;
    const reason = refusal();
    if (reason !== undefined) throw new ValkeyUnavailable(reason);
    const message: PingMessage = { repository, ping, from: id, path: this.#sealed(ping, path) };
    const note = JSON.stringify(message);
    // The note is for the next publisher, should this one not live to answer.
    if (isPublisher() && this.#answering.size < maxWaiting) void this.#answer(message);
    const notes = valkey.prefix + keys.pings(repository);
    const isNoted = await valkey.run((redis) =>
      redis.eval(noteScript, 1, notes, ping, note, maxWaiting, valkey.prefix + pingChannel),
    );
    if (isNoted === 0)
      throw new PingFailed("publishing/busy", `more than ${maxWaiting} pings wait for ${repository} already`);
    return note;
  }

  /**
   * As `ServedRepository.ping`; the change is then published on all replicas.
   * @throws ValkeyUnavailable, PingFailed
   */
  async ping(path: TreePath, signal: AbortSignal): Promise<PingOutcome> {
    const ping = randomUUID();
    const { promise: answered, resolve } = withResolvers<Answer>();
    this.#waiting.set(ping, resolve);
    let timer: NodeJS.Timeout | undefined;
    try {
      const note = await this.note(path, ping);
      timer = setInterval(() => this.#send(note), repeatMs);
      const answer = await abortable(answered, AbortSignal.any([signal, this.#stopping.signal]));
      if (answer.kind === "failure") throw new PingFailed(answer.code, answer.text);
      return answer.outcome;
    } finally {
      clearInterval(timer);
      this.#waiting.delete(ping);
    }
  }

  /** Handles a ping that some replica has received. */
  notePing(note: PingMessage): void {
    if (this.#options.isPublisher()) void this.#answer(note);
    else this.#look(note).catch(() => undefined);
  }

  noteAnswer({ ping, answer }: AnswerMessage): void {
    const opened = this.#opened(ping, answer);
    const said = opened === undefined ? undefined : parsedJson(anyAnswer, opened);
    if (said !== undefined) this.#waiting.get(ping)?.(said);
  }

  /**
   * Answers all pings that no publisher has answered yet.
   * @param failure why they cannot be answered otherwise
   * @throws ValkeyUnavailable
   */
  async answerAll(failure?: Error): Promise<void> {
    const { valkey, repository } = this.#options;
    const notes = await valkey.run((redis) => redis.hvals(valkey.prefix + keys.pings(repository)));
    for (const text of notes) {
      const note = parsePing(Buffer.from(text));
      if (note === undefined) continue;
      if (failure === undefined) void this.#answer(note);
      else await this.#sendAnswer(note, this.#sealed(note.ping, JSON.stringify(failureOf(failure))));
    }
  }

  stop(): void {
    this.#stopping.abort(new Error("the server stops"));
  }

  /** Sends a note to all replicas. */
  #send(note: string): void {
    const { valkey } = this.#options;
    valkey.run((redis) => redis.publish(valkey.prefix + pingChannel, note)).catch(() => undefined);
  }

  /**
   * Refreshes what this replica knows of the tree, when the publisher should have read and inspected what is new. The
   * publisher reports what is wrong.
   */
  async #look({ ping, path }: PingMessage): Promise<void> {
    const opened = this.#opened(ping, path);
    const known = opened === undefined ? undefined : tryParseTreePath(opened);
    if (known === undefined) return;
    const { signal } = this.#stopping;
    await sleep(lookAfterMs, undefined, { signal, ref: false });
    await this.#repository?.ping(known, signal);
  }

  async #answer(note: PingMessage): Promise<void> {
    const { ping, path } = note;
    if (this.#answering.has(ping)) return;
    this.#answering.add(ping);
    const { repository, isPublisher, log } = this.#options;
    try {
      const answer = this.#answers.get(ping) ?? (await this.#answerOf(ping, path));
      // Another publisher answers then.
      if (answer === undefined || !isPublisher()) return;
      await this.#sendAnswer(note, answer);
    } catch (thrown) {
      log.warn({ repository, error: messageOf(thrown) }, "a ping could not be answered yet");
    } finally {
      this.#answering.delete(ping);
    }
  }

  async #sendAnswer({ ping, from }: Pick<PingMessage, "ping" | "from">, answer: string): Promise<void> {
    const { valkey, repository, id } = this.#options;
    this.#answers.set(ping, answer);
    const message: AnswerMessage = { repository, ping, answer };
    if (from === id) this.noteAnswer(message);
    await valkey.run((redis) =>
      Promise.all([
        redis.hdel(valkey.prefix + keys.pings(repository), ping),
        from !== id && redis.publish(valkey.prefix + answerChannel(from), JSON.stringify(message)),
      ]),
    );
  }

  /** @returns undefined if another publisher has to answer */
  async #answerOf(ping: string, path: string): Promise<string | undefined> {
    const opened = this.#opened(ping, path);
    if (opened === undefined) return undefined;
    let answer: Answer;
    try {
      const outcome = await this.#repository?.ping(parseTreePath(opened), this.#stopping.signal);
      if (outcome === undefined) return undefined;
      answer = { kind: "outcome", outcome };
    } catch (thrown) {
      const code = codeOf(thrown);
      if (code.startsWith("cluster/") || this.#stopping.signal.aborted) return undefined;
      if (code === "storage/unavailable" && (await this.#options.leaveToOthers())) return undefined;
      answer = failureOf(thrown);
    }
    return this.#sealed(ping, JSON.stringify(answer));
  }

  #sealed(ping: string, text: string): string {
    return this.#options.sealing.seal(`ping ${ping}`, Buffer.from(text)).toString("base64");
  }

  #opened(ping: string, sealed: string): string | undefined {
    return this.#options.sealing.open(`ping ${ping}`, Buffer.from(sealed, "base64"))?.toString();
  }
}
