// Changes to a Tahoe tree through a gateway's webapi: what sets a tree up and what uploads into it.
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

/** A link to be set: immutable bytes that the grid already holds, and what stands beside the link under the key `apt`. */
export interface Link {
  readonly content: ContentId;
  readonly metadata: unknown;
}

/** The longest answer to a change, in bytes: a cap, or some words. */
const maxResponseBytes = 1024 * 1024;
/** The longest metadata of an entry. */
const maxMetadataBytes = 16 * 1024 * 1024;

/** All calls throw StorageUnavailable, also where a cap is not accepted. None is repeated by itself. */
export class WebapiWriter {
  readonly #webapi: Webapi;
  /** It reads what its holder wrote, and would write it anew if it did not know it again. */
  readonly #listings = new ListingReader({ ...defaultListingLimits, maxMetadataBytes });

  constructor(webapi: Webapi) {
    this.#webapi = webapi;
  }

  /** A new, empty directory that nothing links to yet. */
  async createDirectory(signal: AbortSignal): Promise<WriteCap> {
    return parseWriteCap(
      await this.#requestText({ method: "POST", names: [], query: "t=mkdir", path: rootPath }, signal),
    );
  }

  /** The directory at a path, made along with its parents where it is missing. */
  async makeDirectory(root: WriteCap, path: TreePath, signal: AbortSignal): Promise<WriteCap> {
    if (path === rootPath) return root;
    return parseWriteCap(
      await this.#requestText(
        { method: "POST", names: [root.reveal(), ...pathNames(path)], query: "t=mkdir", path },
        signal,
      ),
    );
  }

  /** The directory at a path; undefined if there is none, or none that may be changed. */
  async directoryAt(root: WriteCap, path: TreePath, signal: AbortSignal): Promise<WriteCap | undefined> {
    if (path === rootPath) return root;
    // 400 is Tahoe's word for a name below a file.
    const cap = (await this.#describe([root.reveal(), ...pathNames(path)], path, signal, [400, 404]))
      ?.directoryWriteCap;
    return cap === undefined ? undefined : parseWriteCap(cap);
  }

  /** The entries of a directory, which its holder is about to change. */
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

  /** Uploads immutable bytes that nothing links to yet. */
  async upload(body: Uint8Array | AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<ContentId> {
    return contentId(await this.#requestText({ method: "PUT", names: [], body, path: rootPath }, signal));
  }

  /** Uploads immutable bytes to a path; missing directories are made, and what was there is replaced. */
  async put(
    root: WriteCap,
    path: TreePath,
    body: Uint8Array | AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<ContentId> {
    // Tahoe would make the directories by itself, but answers 404 where the last of them has the file's own name.
    const directory = await this.makeDirectory(root, parentPath(path), signal);
    const names = [directory.reveal(), lastName(path)];
    return contentId(await this.#requestText({ method: "PUT", names, body, path }, signal));
  }

  /** Sets many links of one directory in one write; links of the same name are replaced. */
  async link(directory: WriteCap, links: ReadonlyMap<string, Link>, signal: AbortSignal): Promise<void> {
    await this.#setChildren(directory, links, "true", signal, [200]);
  }

  /**
   * Sets many links of one directory in one write, or none where one of the names is there already.
   * @throws StorageUnavailable, transient, where one is: who lists the directory anew may do better
   */
  async linkNew(directory: WriteCap, links: ReadonlyMap<string, Link>, signal: AbortSignal): Promise<void> {
    const status = await this.#setChildren(directory, links, "false", signal, [200, 409]);
    if (status === 409)
      throw new StorageUnavailable(rootPath, "a name came to be taken meanwhile", { transient: true });
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

  /** Links a directory, in place of what has the name. */
  async linkDirectory(parent: WriteCap, name: string, directory: WriteCap, signal: AbortSignal): Promise<void> {
    const body = Buffer.from(directory.reveal());
    const names = [parent.reveal(), name];
    await this.#requestText({ method: "PUT", names, query: "t=uri&replace=true", body, path: rootPath }, signal);
  }

  /** Removes a link; no error if there was none. */
  async unlink(root: WriteCap, path: TreePath, signal: AbortSignal): Promise<void> {
    const names = [root.reveal(), ...pathNames(path)];
    await this.#exchange({ method: "DELETE", names, path }, signal, [200, 404]);
  }

  /** @returns undefined where the status is one of `absent` */
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
    const what = "the size of the answer to a change in bytes";
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
    response.close();
    const why =
      response.status === 410
        ? "the gateway finds no such directory: the cap in the bundle is wrong or incomplete, or too few storage servers are reachable"
        : `the gateway answered a change with status ${response.status}`;
    // 410 is also what a gateway says of a directory that it reads in pieces while another one writes it.
    throw new StorageUnavailable(request.path, why, { transient: response.status >= 500 || response.status === 410 });
  }
}

const notADirectory = (): StorageUnavailable =>
  new StorageUnavailable(rootPath, "its cap is no directory's, as far as the gateway knows", { transient: false });

function contentId(response: string): ContentId {
  const cap = response.trim();
  if (immutableFileBytes(cap) === undefined) {
    throw new StorageUnavailable(rootPath, "the gateway's answer to an upload is no cap", { transient: false });
  }
  return new ContentId(cap);
}
