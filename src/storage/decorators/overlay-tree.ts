// A decorator that adds one generated file to a tree.
import { ContentId } from "../../base/content-id.ts";
import type { TreePath } from "../../base/names.ts";
import { lastName, parentPath } from "../../base/names.ts";
import type { LocalFile } from "../local-file.ts";
import type { ByteRange, Directory, Entry, FileEntry, FileRef, Node, Tree } from "../tree.ts";

/** The generated file and its location. */
export interface Overlay {
  readonly name: string;
  /** A few kilobytes at most, because the content id contains them. */
  readonly bytes: Uint8Array;
  readonly linkedAtMs: number;
  /** The name of its directory, which is added if it does not exist. */
  readonly directory: string;
  /** Whether that directory is shown in the directory `path`. */
  isParent(path: TreePath, listing: Directory): boolean;
}

/** The prefix of content ids that contain the bytes themselves, so that these can be opened at any later time. */
const overlayPrefix = "overlay:";

/** Shows the generated file beside the tree's own. */
export class OverlayTree implements Tree {
  readonly #tree: Tree;
  readonly #overlay: Overlay;
  readonly #entry: FileEntry;

  constructor(tree: Tree, overlay: Overlay) {
    const { bytes, linkedAtMs } = overlay;
    this.#tree = tree;
    this.#overlay = overlay;
    this.#entry = {
      kind: "file",
      sizeBytes: bytes.length,
      content: new ContentId(`${overlayPrefix}${Buffer.from(bytes).toString("base64")}`),
      linkedAtMs,
      relinkedAtMs: linkedAtMs,
      metadata: undefined,
    };
  }

  async look(path: TreePath, signal: AbortSignal): Promise<Node | undefined> {
    const node = await this.#tree.look(path, signal);
    if (node?.kind === "directory" && this.#overlay.isParent(path, node)) return this.#withDirectory(node);
    const [here, above] = [lastName(path), parentPath(path)];
    if (here === this.#overlay.directory && (await this.#hasOverlayDirectory(above, signal)))
      return this.#withFile(node);
    if (here !== this.#overlay.name || lastName(above) !== this.#overlay.directory) return node;
    return (await this.#hasOverlayDirectory(parentPath(above), signal)) ? this.#entry : node;
  }

  async #hasOverlayDirectory(path: TreePath, signal: AbortSignal): Promise<boolean> {
    const above = await this.#tree.look(path, signal);
    return above?.kind === "directory" && this.#overlay.isParent(path, above);
  }

  #withDirectory(node: Directory): Directory {
    const there = node.entries.get(this.#overlay.directory);
    // A file or broken link of the same name was made by the operator and is not replaced.
    return there === undefined ? withEntry(node, this.#overlay.directory, { kind: "directory" }) : node;
  }

  #withFile(node: Node | undefined): Node {
    if (node !== undefined && node.kind !== "directory") return node;
    return withEntry(node ?? { kind: "directory", entries: new Map() }, this.#overlay.name, this.#entry);
  }

  localFile(file: FileRef): LocalFile | undefined {
    return file.content?.reveal().startsWith(overlayPrefix) === true ? undefined : this.#tree.localFile?.(file);
  }

  async *open(file: FileRef, range: ByteRange | undefined, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const raw = file.content?.reveal();
    if (raw?.startsWith(overlayPrefix) !== true) {
      yield* this.#tree.open(file, range, signal);
      return;
    }
    signal.throwIfAborted();
    const bytes = Buffer.from(raw.slice(overlayPrefix.length), "base64").subarray(range?.start, range?.end);
    if (bytes.length > 0) yield bytes;
  }
}

const withEntry = (node: Directory, name: string, entry: Entry): Directory => ({
  ...node,
  entries: new Map([...node.entries, [name, entry]]),
});
