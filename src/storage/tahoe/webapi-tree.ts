// A Tahoe directory tree that is read through a gateway's webapi.
import type { TreePath } from "../../base/names.ts";
import { lastName, parentPath, pathNames, rootPath } from "../../base/names.ts";
import type { ByteRange, FileRef, Node, Tree } from "../tree.ts";
import { ContentGone, StorageUnavailable } from "../tree.ts";
import type { ReadCap, WriteCap } from "./caps.ts";
import { immutableFileBytes } from "./caps.ts";
import type { Listing } from "./listing.ts";
import { ListingReader, withListingErrors } from "./listing.ts";
import type { Webapi, WebapiResponse } from "./webapi.ts";

/** Reads a tree below the directory of a cap. @see Tahoe-LAFS, docs/frontends/webapi.rst */
export class WebapiTree implements Tree {
  readonly #webapi: Webapi;
  readonly #cap: ReadCap | WriteCap;
  readonly #listings: ListingReader;

  /** @param listings shared by all trees to which one limit of large listings applies */
  constructor(webapi: Webapi, cap: ReadCap | WriteCap, listings: ListingReader = new ListingReader()) {
    this.#webapi = webapi;
    this.#cap = cap;
    this.#listings = listings;
  }

  async look(path: TreePath, signal: AbortSignal): Promise<Node | undefined> {
    // Tahoe normalizes stored and requested names to NFC. With another form, a gateway would return a file that no
    // listing contains.
    if (path !== path.normalize("NFC")) return undefined;
    const node = (await this.#describe(path, signal))?.node;
    if (path === rootPath && node?.kind !== "directory") {
      throw new StorageUnavailable(path, "its cap is not a directory's, as far as the gateway knows", {
        transient: false,
      });
    }
    return node;
  }

  async *open(file: FileRef, range: ByteRange | undefined, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const { path } = file;
    const cap = file.content === undefined ? await this.#fileCapAt(path, signal) : file.content.reveal();
    const sizeBytes = immutableFileBytes(cap);
    // The id of another storage, from an old state directory: the grid does not have these bytes.
    if (file.content !== undefined && sizeBytes === undefined) throw new ContentGone(path);
    const start = range?.start ?? 0;
    const end = Math.min(range?.end ?? Number.POSITIVE_INFINITY, sizeBytes ?? Number.POSITIVE_INFINITY);
    // Tahoe responds to a range that begins at the end with the whole file, so no request is sent.
    if (start >= end) return;
    const whole = start === 0 && end === (sizeBytes ?? Number.POSITIVE_INFINITY);
    const response = await this.#webapi.request(
      {
        method: "GET",
        names: [cap],
        headers: whole ? {} : { Range: `bytes=${start}-${Number.isFinite(end) ? end - 1 : ""}` },
        timeoutMs: this.#webapi.limits.firstByteTimeoutMs,
        hedgeAfterMs: this.#webapi.limits.hedgeAfterMs,
        path,
      },
      signal,
    );
    yield* sliceOf(response, path, { start, end, sizeBytes });
  }

  /** Requests the JSON of the node at a path; undefined if nothing is there. */
  async #describe(path: TreePath, signal: AbortSignal): Promise<Listing | undefined> {
    const response = await this.#webapi.request(
      {
        method: "GET",
        names: [this.#cap.reveal(), ...pathNames(path)],
        query: "t=json",
        timeoutMs: this.#webapi.limits.listingTimeoutMs,
        hedgeAfterMs: this.#webapi.limits.hedgeListingAfterMs,
        path,
      },
      signal,
    );
    if (response.status === 200) return await withListingErrors(path, () => this.#listings.read(response.body, signal));
    response.close();
    const { status } = response;
    if (path === rootPath || (status !== 404 && status !== 400)) {
      if (status === 404) return undefined;
      throw unexpectedStatus(response, path);
    }
    // Tahoe responds with 400 for a name below a file. But a proxy may respond with 404 or 400 for other reasons, and
    // Tahoe responds with 404 for everything below a broken cap. A suite would be withdrawn, so the parent is checked
    // too.
    const parent = await this.look(parentPath(path), signal);
    if (parent === undefined || parent.kind === "file") return undefined;
    if (status === 404 && !(parent.kind === "directory" && parent.entries.has(lastName(path)))) return undefined;
    throw unexpectedStatus(response, path);
  }

  async #fileCapAt(path: TreePath, signal: AbortSignal): Promise<string> {
    const cap = (await this.#describe(path, signal))?.fileCap;
    if (cap === undefined) throw new ContentGone(path);
    return cap;
  }
}

/** The requested part of a file, which must be cut out if the gateway ignores the range. */
interface ByteSlice {
  readonly start: number;
  /** Infinity if only the response shows the end. */
  readonly end: number;
  /** Undefined for a mutable file. */
  readonly sizeBytes: number | undefined;
}

async function* sliceOf(response: WebapiResponse, path: TreePath, slice: ByteSlice): AsyncGenerator<Uint8Array> {
  const { start } = slice;
  if (response.status !== 200 && response.status !== 206) {
    response.close();
    if (response.status === 416) return;
    // An immutable cap is valid forever: a 404 for one does not come from Tahoe.
    const gone = response.status === 404 && slice.sizeBytes === undefined;
    throw gone ? new ContentGone(path) : unexpectedStatus(response, path);
  }
  const partial = response.status === 206;
  const [, first, last] = /^bytes (\d+)-(\d+)\//.exec(response.header("content-range") ?? "") ?? [];
  if (partial && Number(first) !== start) {
    response.close();
    throw new StorageUnavailable(path, "the gateway sent another range than was requested", { transient: false });
  }
  // If the cap does not contain the size, Content-Length is used; without it, the end of the body counts.
  const lengthBytes = Number(response.header("content-length") ?? Number.POSITIVE_INFINITY);
  const fileEnd = slice.sizeBytes ?? (partial ? Number(last) + 1 : lengthBytes);
  const expectedBytes = Math.max(0, Math.min(slice.end, fileEnd) - start);
  let skipBytes = partial ? 0 : start;
  let sentBytes = 0;
  for await (const chunk of response.body) {
    const from = Math.min(skipBytes, chunk.length);
    skipBytes -= from;
    const part = chunk.subarray(from, Math.min(chunk.length, from + expectedBytes - sentBytes));
    sentBytes += part.length;
    if (part.length > 0) yield part;
    // Everything is sent, but the gateway would continue to the end of the file. In other cases the body is read to its
    // end, to keep the connection alive.
    if (sentBytes === expectedBytes && !partial && slice.end < fileEnd) return;
  }
  if (sentBytes < expectedBytes && Number.isFinite(expectedBytes)) {
    throw new StorageUnavailable(path, `the file ended ${expectedBytes - sentBytes} bytes short`, { transient: true });
  }
}

function unexpectedStatus({ status }: WebapiResponse, path: TreePath): StorageUnavailable {
  if (status === 410) {
    return new StorageUnavailable(path, "the grid does not have enough shares of it now", { transient: true });
  }
  // A 404 at this point does not mean that the file is missing.
  const transient = status >= 500 || status === 404 || status === 408 || status === 429;
  return new StorageUnavailable(path, `the gateway responded with status ${status}`, { transient });
}
