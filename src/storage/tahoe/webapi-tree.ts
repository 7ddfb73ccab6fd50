// A Tahoe directory tree, read through a gateway's webapi.
import type { TreePath } from "../../base/names.ts";
import { lastName, parentPath, pathNames, rootPath } from "../../base/names.ts";
import type { ByteRange, FileRef, Node, Tree } from "../tree.ts";
import { ContentGone, StorageUnavailable } from "../tree.ts";
import type { ReadCap, WriteCap } from "./caps.ts";
import { immutableFileBytes } from "./caps.ts";
import type { Listing } from "./listing.ts";
import { ListingReader, withListingErrors } from "./listing.ts";
import type { Webapi, WebapiResponse } from "./webapi.ts";

/** @see Tahoe-LAFS, docs/frontends/webapi.rst */
export class WebapiTree implements Tree {
  readonly #webapi: Webapi;
  readonly #cap: ReadCap | WriteCap;
  readonly #listings: ListingReader;

  /** @param listings shared by all trees whose listings are to be bounded together */
  constructor(webapi: Webapi, cap: ReadCap | WriteCap, listings: ListingReader = new ListingReader()) {
    this.#webapi = webapi;
    this.#cap = cap;
    this.#listings = listings;
  }

  async look(path: TreePath, signal: AbortSignal): Promise<Node | undefined> {
    // Tahoe composes the names that it stores and those that it is asked for: under another spelling, a gateway would show
    // what no listing has.
    if (path !== path.normalize("NFC")) return undefined;
    const node = (await this.#describe(path, signal))?.node;
    if (path === rootPath && node?.kind !== "directory") {
      throw new StorageUnavailable(path, "its cap is no directory's, as far as the gateway knows", {
        transient: false,
      });
    }
    return node;
  }

  async *open(file: FileRef, range: ByteRange | undefined, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const { path } = file;
    const cap = file.content === undefined ? await this.#fileCapAt(path, signal) : file.content.reveal();
    const sizeBytes = immutableFileBytes(cap);
    // An id of another storage, left in a state directory: these bytes are not here.
    if (file.content !== undefined && sizeBytes === undefined) throw new ContentGone(path);
    const start = range?.start ?? 0;
    const end = Math.min(range?.end ?? Number.POSITIVE_INFINITY, sizeBytes ?? Number.POSITIVE_INFINITY);
    // Tahoe answers a range that begins at the end with the whole file, so it is not even asked.
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

  /** What is at a path; undefined if nothing is there. */
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
    // 400 is Tahoe's word for a name below a file. A proxy's 404 or 400 means something else, and Tahoe says 404 of all
    // that is below a broken cap. A suite would be withdrawn on that word: hence the second look.
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

/** The part of a file that is wanted, whether or not the gateway heeded the range. */
interface ByteSlice {
  readonly start: number;
  /** Infinity: up to an end that only the reply will tell. */
  readonly end: number;
  /** Undefined for a mutable file. */
  readonly sizeBytes: number | undefined;
}

async function* sliceOf(response: WebapiResponse, path: TreePath, slice: ByteSlice): AsyncGenerator<Uint8Array> {
  const { start } = slice;
  if (response.status !== 200 && response.status !== 206) {
    response.close();
    if (response.status === 416) return;
    // An immutable cap names its bytes for ever: a 404 for one is not Tahoe's word.
    const gone = response.status === 404 && slice.sizeBytes === undefined;
    throw gone ? new ContentGone(path) : unexpectedStatus(response, path);
  }
  const partial = response.status === 206;
  const [, first, last] = /^bytes (\d+)-(\d+)\//.exec(response.header("content-range") ?? "") ?? [];
  if (partial && Number(first) !== start) {
    response.close();
    throw new StorageUnavailable(path, "the gateway sent another range than it was asked for", { transient: false });
  }
  // Where no cap tells the file's size, the gateway's word is all there is; without even that, the end is the end.
  const lengthBytes = Number(response.header("content-length") ?? Number.POSITIVE_INFINITY);
  const fileEnd = slice.sizeBytes ?? (partial ? Number(last) + 1 : lengthBytes);
  const expected = Math.max(0, Math.min(slice.end, fileEnd) - start);
  let skip = partial ? 0 : start;
  let sent = 0;
  for await (const chunk of response.body) {
    const from = Math.min(skip, chunk.length);
    skip -= from;
    const piece = chunk.subarray(from, Math.min(chunk.length, from + expected - sent));
    sent += piece.length;
    if (piece.length > 0) yield piece;
    // All is here, and the gateway would go on to the file's end. Else the body is read out, to keep its connection.
    if (sent === expected && !partial && slice.end < fileEnd) return;
  }
  if (sent < expected && Number.isFinite(expected)) {
    throw new StorageUnavailable(path, `the file ended ${expected - sent} bytes short`, { transient: true });
  }
}

function unexpectedStatus({ status }: WebapiResponse, path: TreePath): StorageUnavailable {
  if (status === 410) {
    return new StorageUnavailable(path, "the grid does not have enough shares of it now", { transient: true });
  }
  // A 404 that comes here can't be true.
  const transient = status >= 500 || status === 404 || status === 408 || status === 429;
  return new StorageUnavailable(path, `the gateway answered with status ${status}`, { transient });
}
