// Serves packages as resources through the verifying cache: those of publications and those at their path in the tree.
import { lastName } from "../../base/names.ts";
import type { CatalogFile } from "../../catalog/files/catalog-file.ts";
import type { ByteRange, Tree } from "../../storage/tree.ts";
import type { Resource } from "../resource.ts";
import { contentTypeOf } from "../resource.ts";
import type { PackagePool, PooledFile } from "../store/package-pool.ts";
import type { ClaimAudit } from "./claim-audit.ts";
import type { PackageCache } from "./package-cache.ts";

/** Finds packages of one repository, and reports bytes that differ from the expected ones. */
export class PackageResources {
  readonly #pool: PackagePool;
  readonly #tree: Tree;
  readonly #audit: ClaimAudit;
  readonly #cache: PackageCache;

  constructor(options: {
    readonly pool: PackagePool;
    readonly tree: Tree;
    readonly audit: ClaimAudit;
    readonly cache: PackageCache;
  }) {
    this.#pool = options.pool;
    this.#tree = options.tree;
    this.#audit = options.audit;
    this.#cache = options.cache;
  }

  /** @param path `pool/SHA256/…/…` */
  pooled(path: string): Resource | undefined {
    const file = this.#pool.find(path);
    return file && this.#resource(file, "immutable");
  }

  /** A package file under its path in the tree, where other bytes may be tomorrow. */
  inTree({ path, entry, finding }: CatalogFile): Resource | undefined {
    if (entry.kind === "other" || finding === undefined || finding.kind === "rejected") return undefined;
    const sha256 = finding.kind === "binary" ? finding.sha256 : finding.digests.sha256;
    const { sizeBytes } = finding;
    const lastModifiedSeconds = Math.floor(entry.relinkedAtMs / 1000);
    return this.#resource({ path, content: entry.content, sizeBytes, sha256, lastModifiedSeconds }, "revalidate");
  }

  #resource(file: PooledFile, caching: Resource["caching"]): Resource {
    const { path, content, sha256, sizeBytes, lastModifiedSeconds } = file;
    const source = (range: ByteRange, signal: AbortSignal) => this.#tree.open({ path, content }, range, signal);
    const mismatched = () => void this.#audit.mismatched(path);
    const cached = (bytes: () => AsyncIterable<Uint8Array>) => {
      if (content !== undefined) void this.#audit.auditContent(content, bytes);
    };
    const expected = { sha256, sizeBytes, source, mismatched, cached };
    return {
      sizeBytes,
      etag: sha256,
      lastModifiedSeconds,
      contentType: contentTypeOf(lastName(path)),
      caching,
      read: (range, signal, pieces) => this.#cache.read(expected, range, signal, pieces),
    };
  }
}
