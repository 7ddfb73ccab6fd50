// The stanzas of a Debian archive, where this machine's apt has them: real text beside the synthetic one.
import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { parseTreePath } from "../../src/base/names.ts";
import { compressSegment } from "../../src/indices/compression/compress-worker.ts";
import type { Ordered } from "../../src/indices/order.ts";
import type { Segment } from "../../src/indices/segments.ts";
import { SegmentedList } from "../../src/indices/segments.ts";
import { run } from "./commands.ts";

const lists = "/var/lib/apt/lists";
const aptHelper = "/usr/lib/apt/apt-helper";
/** Its lists are the size of a large archive; those of updates are not. */
const isMain = /_dists_[a-z]+_main_binary-[a-z0-9]+_Packages(\.[a-z0-9]+)?$/;

interface Stanza extends Ordered {
  readonly text: string;
}

export interface RealIndex {
  readonly count: number;
  readonly plain: Buffer;
  readonly gzBytes: number;
  readonly xzBytes: number;
}

/** An archive's stanzas in an order as of uploads, cut and compressed as ours are. Undefined if apt has none here. */
export async function realIndex(signal: AbortSignal): Promise<RealIndex | undefined> {
  const list = readdirSync(lists).find((name) => isMain.test(name));
  if (list === undefined) return undefined;
  const { stdout } = await run(aptHelper, ["cat-file", join(lists, list)], { signal });
  const items = stdout
    .toString()
    .split(/\n\n+/)
    .filter((text) => text.startsWith("Package: "))
    .map(stanzaOf);
  const segments: readonly Segment<Stanza>[] = SegmentedList.build(items).segments();
  const plain: Buffer[] = [];
  let [gzBytes, xzBytes] = [0, 0];
  for (const segment of segments) {
    signal.throwIfAborted();
    const bytes = Buffer.from(segment.items.map(({ text }) => text).join(""));
    const { gz, xz } = await compressSegment(bytes);
    plain.push(bytes);
    gzBytes += gz.length;
    xzBytes += xz.bytes.length;
  }
  return { count: items.length, plain: Buffer.concat(plain), gzBytes, xzBytes };
}

function stanzaOf(text: string): Stanza {
  const field = (name: string) => new RegExp(`^${name}: (\\S+)`, "m").exec(text)?.[1];
  // What was built from one source is uploaded together; the sources follow each other in no order of their names.
  const source = field("Source") ?? field("Package") ?? "";
  const linkedAtMs = Number.parseInt(sha256(source).slice(0, 8), 16);
  const whole = `${text}\n\n`;
  const path = parseTreePath(field("Filename") ?? source);
  return { text: whole, identity: sha256(text), linkedAtMs, path, stanzaBytes: Buffer.byteLength(whole) };
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
