// Holds what uploaders say of their packages against the bytes: when these come by, and slowly, one by one, otherwise.
import type { LimitFunction } from "p-limit";
import pLimit from "p-limit";
import type { ContentId } from "../../base/content-id.ts";
import { codeOf, messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { TreePath } from "../../base/names.ts";
import { repeat } from "../../base/repeat.ts";
import type { Catalog } from "../../catalog/catalog.ts";
import type { Examiner } from "../../catalog/examiner.ts";
import type { CatalogFile } from "../../catalog/files/catalog-file.ts";
import { inspectionKeyOf, kindOf } from "../../catalog/files/catalog-file.ts";
import type { AuditVerdict, PublishingObserver } from "../publishing-observer.ts";

/** How often one claim is held against its bytes without being asked, by default. */
export const defaultScrubSeconds = 60;

export interface ClaimAuditOptions {
  readonly catalog: Catalog;
  readonly examiner: Examiner;
  readonly observer: PublishingObserver;
  readonly log: Log;
  /** Asks for a new look at a file that is not what was said of it. */
  readonly lookAgain: (path: TreePath) => void;
}

/**
 * What was audited needs no list of its own: its bytes are inspected, and so the ledger has it, and after a restart it
 * is no claim any more.
 */
export class ClaimAudit {
  readonly #parts: ClaimAuditOptions;
  readonly #oneByOne: LimitFunction = pLimit(1);
  readonly #stopping = new AbortController();
  /** What could not be judged in this round. */
  readonly #passed = new Set<string>();

  constructor(parts: ClaimAuditOptions) {
    this.#parts = parts;
  }

  /** @param scrubSeconds between two claims; 0: claims are audited only when their bytes come by */
  start(scrubSeconds: number): void {
    if (scrubSeconds === 0) return;
    const pauseMs = scrubSeconds * 1000;
    const scrub = async (): Promise<number> => {
      await this.scrubOne();
      return pauseMs;
    };
    void repeat(scrub, { firstDelayMs: pauseMs, signal: this.#stopping.signal });
  }

  /** Abandons what is under way. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the server stops"));
    await this.#oneByOne(async () => {});
  }

  /** Audits the claim that was linked last. */
  async scrubOne(): Promise<void> {
    const newest = this.#newestClaim();
    if (newest === undefined) this.#passed.clear();
    else await this.#audit(newest, undefined);
  }

  /** Audits every claim about bytes that have just been read. @param bytes all of them, if they can still be had */
  async cameBy(content: ContentId, bytes: () => AsyncIterable<Uint8Array>): Promise<void> {
    for (const file of this.#parts.catalog.claims()) {
      if (file.entry.kind === "file" && content.equals(file.entry.content)) await this.#audit(file, bytes());
    }
  }

  /** The bytes behind a path are not those that were promised. */
  async mismatched(path: TreePath): Promise<void> {
    await this.#parts.catalog.markUntrusted(path);
    this.#parts.lookAgain(path);
  }

  #newestClaim(): CatalogFile | undefined {
    let newest: CatalogFile | undefined;
    let newestMs = -1;
    for (const file of this.#parts.catalog.claims()) {
      if (file.entry.kind === "other" || file.entry.relinkedAtMs <= newestMs) continue;
      // A record's name is a hash, which is not made where nothing was passed over.
      if (this.#passed.size > 0 && this.#passed.has(inspectionKeyOf(file) ?? "")) continue;
      newest = file;
      newestMs = file.entry.relinkedAtMs;
    }
    return newest;
  }

  #audit(file: CatalogFile, bytes: AsyncIterable<Uint8Array> | undefined): Promise<void> {
    return this.#oneByOne(async () => {
      const verdict = await this.#verdictOn(file, bytes);
      if (verdict === undefined) return;
      const { catalog, observer, log, lookAgain } = this.#parts;
      observer.audited(verdict);
      if (verdict === "unknown") {
        this.#passed.add(inspectionKeyOf(file) ?? "");
        return;
      }
      catalog.resolveClaim(file.path, verdict);
      if (verdict === "confirmed") return;
      log.warn({ path: file.path }, "a package is not what its entry's metadata says");
      lookAgain(file.path);
    });
  }

  async #verdictOn(file: CatalogFile, bytes: AsyncIterable<Uint8Array> | undefined): Promise<AuditVerdict | undefined> {
    const { path, entry } = file;
    const kind = kindOf(file);
    const record = inspectionKeyOf(file);
    if (entry.kind === "other" || record === undefined || kind === undefined) return undefined;
    const { signal } = this.#stopping;
    if (signal.aborted) return undefined;
    try {
      return await this.#parts.examiner.audit({ path, entry, kind }, record, bytes, signal);
    } catch (thrown) {
      if (signal.aborted) return undefined;
      this.#parts.log.warn({ path, code: codeOf(thrown), reason: messageOf(thrown) }, "a package could not be audited");
      return "unknown";
    }
  }
}
