// Changes a Tahoe tree through a gateway's webapi.
import { ContentId } from "../../base/content-id.ts";
import type { TreePath } from "../../base/names.ts";
import { lastName, parentPath, pathNames, rootPath } from "../../base/names.ts";
import type { Entry } from "../tree.ts";
import { StorageUnavailable } from "../tree.ts";
import type { ReadCap, WriteCap } from "./caps.ts";
import { immutableFileBytes, parseReadCap, parseWriteCap } from "./caps.ts";
import type { Listing } from "./listing.ts";
import { defaultListingLimits, ListingReader, withListingErrors } from "./listing.ts";
import type { Webapi, WebapiRequest, WebapiResponse } from "./webapi.ts";
import { textOf } from "./webapi.ts";

/** A link to immutable bytes that are in the grid already, and its metadata under the key `apt`. */
export interface Link {
  readonly content: ContentId;
  readonly metadata: unknown;
}

/** The maximum size in bytes of a response, which contains a cap or a short text. */
const maxResponseBytes = 1024 * 1024;
/** How much of an error message is read. */
const maxErrorBytes = 256 * 1024;
/** The maximum size of an entry's metadata. */
const maxMetadataBytes = 16 * 1024 * 1024;

/**
 * A gateway makes literal caps for files up to 55 bytes, and reads any. Up to this size, the cap makes a listing longer
 * by less than the package's stanza does.
 */
const maxLiteralBytes = 300;

/** All methods throw StorageUnavailable, also for caps that the gateway rejects. None retries. */
export class WebapiWriter {
  readonly #webapi: Webapi;
  /** Larger metadata than in the server's listings is allowed, because unread metadata would be lost when rewritten. */
  readonly #listings = new ListingReader({ ...defaultListingLimits, maxMetadataBytes });

  constructor(webapi: Webapi) {
    this.#webapi = webapi;
  }

  /** Creates an empty directory that nothing links to yet. */
  async createDirectory(signal: AbortSignal): Promise<WriteCap> {
    return parseWriteCap(
      await this.#requestText({ method: "POST", names: [], query: "t=mkdir", path: rootPath }, signal),
    );
  }

  /** Returns the directory at a path; creates it and its parents if they are missing. */
  async makeDirectory(root: WriteCap, path: TreePath, signal: AbortSignal): Promise<WriteCap> {
    if (path === rootPath) return root;
    return parseWriteCap(
      await this.#requestText(
        { method: "POST", names: [root.reveal(), ...pathNames(path)], query: "t=mkdir", path },
        signal,
      ),
    );
  }

  /** Returns the directory at a path; undefined if there is none, or it is read-only. */
  async directoryAt(root: WriteCap, path: TreePath, signal: AbortSignal): Promise<WriteCap | undefined> {
    if (path === rootPath) return root;
    // Tahoe responds with 400 for a name below a file.
    const cap = (await this.#describe([root.reveal(), ...pathNames(path)], path, signal, [400, 404]))
      ?.directoryWriteCap;
    return cap === undefined ? undefined : parseWriteCap(cap);
  }

  /** Lists a directory before a change. */
  async list(directory: WriteCap, signal: AbortSignal): Promise<ReadonlyMap<string, Entry>> {
    const node = (await this.#describe([directory.reveal()], rootPath, signal))?.node;
    if (node?.kind === "directory") return node.entries;
    throw notADirectory();
  }

  async readCapOf(directory: WriteCap, signal: AbortSignal): Promise<ReadCap> {
    const cap = (await this.#describe([directory.reveal()], rootPath, signal))?.directoryReadCap;
    if (cap === undefined) throw notADirectory();
    return parseReadCap(cap);
  }

  /** Uploads immutable bytes without linking them. */
  async upload(body: Uint8Array | AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<ContentId> {
    return contentId(await this.#requestText({ method: "PUT", names: [], body, path: rootPath }, signal));
  }

  /**
   * The content id of some immutable bytes: of short ones, a literal cap, which contains them and needs no request;
   * longer ones are uploaded.
   */
  async contentOf(bytes: Uint8Array, signal: AbortSignal): Promise<ContentId> {
    if (bytes.byteLength > maxLiteralBytes) return await this.upload(bytes, signal);
    return new ContentId(`URI:LIT:${base32(bytes)}`);
  }

  /** Uploads immutable bytes to a path. Creates missing directories, and replaces an existing file. */
  async put(
    root: WriteCap,
    path: TreePath,
    body: Uint8Array | AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<ContentId> {
    // Tahoe could create the directories itself, but responds with 404 if the last of them has the name of the file.
    const directory = await this.makeDirectory(root, parentPath(path), signal);
    const names = [directory.reveal(), lastName(path)];
    return contentId(await this.#requestText({ method: "PUT", names, body, path }, signal));
  }

  /** Sets many links of one directory in one write; links of the same name are replaced. */
  async link(directory: WriteCap, links: ReadonlyMap<string, Link>, signal: AbortSignal): Promise<void> {
    await this.#setChildren(directory, links, "true", signal, [200]);
  }

  /**
   * Sets many links of one directory in one write, or none if one of the names exists already.
   * @throws StorageUnavailable, transient, if a name exists: list the directory again before a retry
   */
  async linkNew(directory: WriteCap, links: ReadonlyMap<string, Link>, signal: AbortSignal): Promise<void> {
    const status = await this.#setChildren(directory, links, "false", signal, [200, 409]);
    if (status === 409)
      throw new StorageUnavailable(rootPath, "another upload has used one of the names", { transient: true });
  }

  async #setChildren(
    directory: WriteCap,
    links: ReadonlyMap<string, Link>,
    replace: "true" | "false",
    signal: AbortSignal,
    accepted: readonly number[],
  ): Promise<number> {
    const children = Object.fromEntries(
      [...links].map(([name, { content, metadata }]) => [
        name,
        ["filenode", { ro_uri: content.reveal(), metadata: { apt: metadata } }],
      ]),
    );
    const body = Buffer.from(JSON.stringify(children));
    const request = { method: "POST", names: [directory.reveal()], body, path: rootPath } as const;
    const { status } = await this.#exchange(
      { ...request, query: `t=set_children&replace=${replace}` },
      signal,
      accepted,
    );
    return status;
  }

  /** Links a directory; an existing entry of this name is replaced. */
  async linkDirectory(parent: WriteCap, name: string, directory: WriteCap, signal: AbortSignal): Promise<void> {
    await this.#setDirectory(parent, name, directory, "true", signal, [200, 201]);
  }

  /** Links a directory, unless the name exists already. @returns whether the name was free */
  async linkNewDirectory(parent: WriteCap, name: string, directory: WriteCap, signal: AbortSignal): Promise<boolean> {
    return (await this.#setDirectory(parent, name, directory, "false", signal, [200, 201, 409])) !== 409;
  }

  async #setDirectory(
    parent: WriteCap,
    name: string,
    directory: WriteCap,
    replace: "true" | "false",
    signal: AbortSignal,
    accepted: readonly number[],
  ): Promise<number> {
    const body = Buffer.from(directory.reveal());
    const request = { method: "PUT", names: [parent.reveal(), name], body, path: rootPath } as const;
    return (await this.#exchange({ ...request, query: `t=uri&replace=${replace}` }, signal, accepted)).status;
  }

  /** Removes a link; it is not an error if there is none. */
  async unlink(root: WriteCap, path: TreePath, signal: AbortSignal): Promise<void> {
    const names = [root.reveal(), ...pathNames(path)];
    await this.#exchange({ method: "DELETE", names, path }, signal, [200, 404]);
  }

  /** @returns undefined if the status is one of `absent` */
  async #describe(
    names: readonly string[],
    path: TreePath,
    signal: AbortSignal,
    absent: readonly number[] = [],
  ): Promise<Listing | undefined> {
    const { hedgeListingAfterMs: hedgeAfterMs } = this.#webapi.limits;
    const request = { method: "GET", names, query: "t=json", path, hedgeAfterMs } as const;
    const response = await this.#request(request, signal, [200, ...absent]);
    if (response.status === 200) return await withListingErrors(path, () => this.#listings.read(response.body, signal));
    response.close();
    return undefined;
  }

  async #requestText(request: Omit<WebapiRequest, "timeoutMs">, signal: AbortSignal): Promise<string> {
    return (await this.#exchange(request, signal, [200, 201])).text;
  }

  async #exchange(
    request: Omit<WebapiRequest, "timeoutMs">,
    signal: AbortSignal,
    accepted: readonly number[],
  ): Promise<{ readonly status: number; readonly text: string }> {
    const response = await this.#request(request, signal, accepted);
    const what = "the size of the response to a change in bytes";
    const text = await textOf(response, { bytes: maxResponseBytes, what });
    return { status: response.status, text };
  }

  async #request(
    request: Omit<WebapiRequest, "timeoutMs">,
    signal: AbortSignal,
    accepted: readonly number[],
  ): Promise<WebapiResponse> {
    const response = await this.#webapi.request({ ...request, timeoutMs: this.#webapi.limits.writeTimeoutMs }, signal);
    if (accepted.includes(response.status)) return response;
    const isFull = response.status === 500 && (await saysThatGridIsFull(response));
    response.close();
    const why = isFull
      ? "the grid cannot store it: too few storage servers take it, because they are full or unreachable; add space or servers"
      : response.status === 410
        ? "the gateway finds no such directory: the cap in the bundle is wrong or incomplete, or too few storage servers are reachable"
        : `the gateway responded to a change with status ${response.status}`;
    // A gateway also responds with 410 if another one writes the directory while it reads the shares.
    const transient = response.status >= 500 || response.status === 410;
    throw new StorageUnavailable(request.path, why, { transient, isChange: request.method !== "GET" });
  }
}

/**
 * Whether a response with status 500 has one of the errors of a gateway that finds no place for shares. Its text has
 * caps, so it must not be shown.
 * @see Tahoe-LAFS, allmydata/immutable/upload.py and allmydata/mutable/publish.py
 */
async function saysThatGridIsFull({ body }: WebapiResponse): Promise<boolean> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  try {
    for await (const chunk of body) {
      chunks.push(chunk);
      sizeBytes += chunk.byteLength;
      if (sizeBytes > maxErrorBytes) break;
    }
  } catch {
    // The status is known, whatever becomes of the text.
  }
  return /UploadUnhappinessError|NoServersError|NotEnoughServersError/.test(Buffer.concat(chunks).toString());
}

/** As in caps: RFC 4648 6 in lower case, without padding. */
function base32(bytes: Uint8Array): string {
  const digits = "abcdefghijklmnopqrstuvwxyz234567";
  let text = "";
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = ((value & 0xff) << 8) | byte;
    bits += 8;
    for (; bits >= 5; bits -= 5) text += digits[(value >> (bits - 5)) & 31];
  }
  return bits === 0 ? text : text + digits[(value << (5 - bits)) & 31];
}

const notADirectory = (): StorageUnavailable =>
  new StorageUnavailable(rootPath, "its cap is not a directory's, as far as the gateway knows", { transient: false });

function contentId(response: string): ContentId {
  const cap = response.trim();
  if (immutableFileBytes(cap) === undefined) {
    throw new StorageUnavailable(rootPath, "the gateway's response to an upload is not a cap", { transient: false });
  }
  return new ContentId(cap);
}
