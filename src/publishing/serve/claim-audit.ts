// Audits claims: compares uploaders' metadata with the packages' bytes, when these are read anyway or one by one.

import type { ContentId } from "../../base/content-id.ts";
import { codeOf, messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { TreePath } from "../../base/names.ts";
import { repeat } from "../../base/repeat.ts";
import { SerialQueue } from "../../base/serial-queue.ts";
import type { Catalog } from "../../catalog/catalog.ts";
import type { Examiner } from "../../catalog/examiner.ts";
import type { CatalogFile } from "../../catalog/files/catalog-file.ts";
import { inspectionKeyOf, kindOf } from "../../catalog/files/catalog-file.ts";
import { StorageUnavailable } from "../../storage/tree.ts";
import type { AuditVerdict, PublishingObserver } from "../publishing-observer.ts";

/** The default interval between two claims that are audited in the background. */
export const defaultScrubSeconds = 60;

/** Refreshes files that differ from their claim. */
export interface FileRefresher {
  /** Refreshes a path in the background. */
  requestRefresh(path: TreePath): void;
}

/** The collaborators of `ClaimAudit`. */
export interface ClaimAuditOptions {
  readonly catalog: Catalog;
  readonly examiner: Examiner;
  readonly observer: PublishingObserver;
  readonly log: Log;
}

/**
 * Audits claims. Audited files need no list: their inspections are in the inspection store, so they no longer count as
 * claims, even after a restart.
 */
export class ClaimAudit {
  readonly #options: ClaimAuditOptions;
  readonly #queue = new SerialQueue();
  readonly #stopping = new AbortController();
  /** The inspection keys of claims that could not be verified in this round. */
  readonly #skipped = new Set<string>();
  #refresher: FileRefresher | undefined;

  constructor(options: ClaimAuditOptions) {
    this.#options = options;
  }

  /** Sets the refresher, which is created later than the audit. */
  refreshWith(refresher: FileRefresher): void {
    this.#refresher = refresher;
  }

  /**
   * @param scrubSeconds the interval between two claims; with 0, claims are audited only when their bytes are read
   * @param isOurs whether this server, of all replicas, audits claims now
   */
  start(scrubSeconds: number, isOurs: () => boolean): void {
    if (scrubSeconds === 0) return;
    const pauseMs = scrubSeconds * 1000;
    const scrub = async (): Promise<number> => {
      if (isOurs()) await this.scrubOne();
      return pauseMs;
    };
    void repeat(scrub, { firstDelayMs: pauseMs, signal: this.#stopping.signal });
  }

  /** Aborts the audit in progress. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the server stops"));
    await this.#queue.run(async () => {});
  }

  /** Audits the claim with the most recent link. */
  async scrubOne(): Promise<void> {
    const newest = this.#newestClaim();
    if (newest === undefined) this.#skipped.clear();
    else await this.#audit(newest, undefined);
  }

  /**
   * Audits every claim about bytes that have just been read.
   * @param bytes opens all bytes, if they are still available
   */
  async auditContent(content: ContentId, bytes: () => AsyncIterable<Uint8Array>): Promise<void> {
    for (const file of this.#options.catalog.claims()) {
      if (file.entry.kind === "file" && content.equals(file.entry.content)) await this.#audit(file, bytes());
    }
  }

  /** Handles a file whose bytes differ from the expected ones. */
  async mismatched(path: TreePath): Promise<void> {
    const { catalog, examiner } = this.#options;
    const entry = catalog.file(path)?.entry;
    await catalog.markUntrusted(path);
    if (entry?.kind === "file") await examiner.warnOthers(entry, "inspections");
    this.#refresher?.requestRefresh(path);
  }

  #newestClaim(): CatalogFile | undefined {
    let newest: CatalogFile | undefined;
    let newestMs = -1;
    for (const file of this.#options.catalog.claims()) {
      if (file.entry.kind === "other" || file.entry.relinkedAtMs <= newestMs) continue;
      // The key is a hash, so it is computed only if something was skipped.
      if (this.#skipped.size > 0 && this.#skipped.has(inspectionKeyOf(file) ?? "")) continue;
      newest = file;
      newestMs = file.entry.relinkedAtMs;
    }
    return newest;
  }

  #audit(file: CatalogFile, bytes: AsyncIterable<Uint8Array> | undefined): Promise<void> {
    return this.#queue.run(async () => {
      const verdict = await this.#verdictOn(file, bytes);
      if (verdict === undefined) return;
      const { catalog, examiner, observer, log } = this.#options;
      observer.audited(verdict);
      if (verdict === "unknown") {
        this.#skipped.add(inspectionKeyOf(file) ?? "");
        return;
      }
      catalog.resolveClaim(file.path, verdict);
      if (verdict === "confirmed") return;
      log.warn({ path: file.path }, "a package differs from its entry metadata");
      if (file.entry.kind === "file") await examiner.warnOthers(file.entry, "metadata");
      this.#refresher?.requestRefresh(file.path);
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
      return await this.#options.examiner.audit({ path, entry, kind }, record, bytes, signal);
    } catch (thrown) {
      if (signal.aborted) return undefined;
      if (thrown instanceof StorageUnavailable) return "unknown";
      this.#options.log.warn(
        { path, code: codeOf(thrown), reason: messageOf(thrown) },
        "a package could not be audited",
      );
      return "unknown";
    }
  }
}
