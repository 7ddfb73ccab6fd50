// Serves packages as resources through the verifying cache: those of publications and those at their path in the tree.
import { lastName } from "../../base/names.ts";
import type { CatalogFile } from "../../catalog/files/catalog-file.ts";
import type { ByteRange, Tree } from "../../storage/tree.ts";
import { ContentGone, StorageUnavailable } from "../../storage/tree.ts";
import type { Resource } from "../resource.ts";
import { contentTypeOf } from "../resource.ts";
import type { PackagePool, PooledFile } from "../store/package-pool.ts";
import type { ClaimAudit } from "./claim-audit.ts";
import type { PackageCache } from "./package-cache.ts";

/** Finds packages of one repository, and reports bytes that differ from the expected ones. */
export class PackageResources {
  readonly #pool: PackagePool;
  readonly #open: Tree["open"];
  readonly #openPooled: Tree["open"];
  readonly #audit: ClaimAudit;
  readonly #cache: PackageCache;

  constructor(options: {
    readonly pool: PackagePool;
    readonly tree: Tree;
    readonly audit: ClaimAudit;
    readonly cache: PackageCache;
    /** Whether other servers serve the same packages, and may have kept some that the tree has lost. */
    readonly hasReplicas: boolean;
  }) {
    this.#pool = options.pool;
    const { tree } = options;
    this.#open = tree.open.bind(tree);
    this.#openPooled = options.hasReplicas ? (...file) => openOrElsewhere(tree, ...file) : this.#open;
    this.#audit = options.audit;
    this.#cache = options.cache;
  }

  /** @param path `pool/SHA256/…/…` */
  pooled(path: string): Resource | undefined {
    const file = this.#pool.find(path);
    return file && this.#resource(file, "immutable", this.#openPooled);
  }

  /** A package file under its path in the tree, where other bytes may be tomorrow. */
  inTree({ path, entry, finding }: CatalogFile): Resource | undefined {
    if (entry.kind === "other" || finding === undefined || finding.kind === "rejected") return undefined;
    const sha256 = finding.kind === "binary" ? finding.sha256 : finding.digests.sha256;
    const { sizeBytes } = finding;
    const lastModifiedSeconds = Math.floor(entry.relinkedAtMs / 1000);
    const file = { path, content: entry.content, sizeBytes, sha256, lastModifiedSeconds };
    return this.#resource(file, "revalidate", this.#open);
  }

  #resource(file: PooledFile, caching: Resource["caching"], open: Tree["open"]): Resource {
    const { path, content, sha256, sizeBytes } = file;
    const source = (range: ByteRange, signal: AbortSignal) => open({ path, content }, range, signal);
    const mismatched = () => void this.#audit.mismatched(path);
    const cached = (bytes: () => AsyncIterable<Uint8Array>) => {
      if (content !== undefined) void this.#audit.auditContent(content, bytes);
    };
    const expected = { sha256, sizeBytes, source, mismatched, cached };
    return packageResource(file, caching, (...range) => this.#cache.read(expected, ...range));
  }
}

/** Opens a file. If it is gone here, the error lets a load balancer ask another replica. */
async function* openOrElsewhere(tree: Tree, ...file: Parameters<Tree["open"]>): AsyncIterable<Uint8Array> {
  try {
    yield* tree.open(...file);
  } catch (thrown) {
    if (!(thrown instanceof ContentGone)) throw thrown;
    throw new StorageUnavailable(file[0].path, "it was deleted, and only other replicas may have kept it", {
      transient: false,
    });
  }
}

/** A package as a resource, wherever its bytes are read. */
export const packageResource = (
  { path, sha256, sizeBytes, lastModifiedSeconds }: PooledFile,
  caching: Resource["caching"],
  read: Resource["read"],
): Resource => ({
  sizeBytes,
  etag: sha256,
  lastModifiedSeconds,
  contentType: contentTypeOf(lastName(path)),
  caching,
  read,
});
