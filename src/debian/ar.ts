// The subset of the ar format that a .deb uses: a magic line, then members, each after a header of 60 bytes.
import { asBuffer } from "../base/as-buffer.ts";
import type { Content } from "./byte-reader.ts";
import { ByteReader, takeBody } from "./byte-reader.ts";
import { limitFlaw, Malformed, quoted } from "./malformed.ts";

/** One member. Its content can be read once, before the next member is requested; unread bytes are skipped. */
export interface ArMember {
  readonly name: string;
  readonly sizeBytes: number;
  /** From the header, in seconds since the epoch. */
  readonly mtimeSeconds: number;
  readonly content: Content;
}

export interface ArLimits {
  /** How many members an archive may have. */
  readonly maxArMembers: number;
}

const magic = "!<arch>\n";
const headerBytes = 60;
/** The end of the year 9999: the time becomes Last-Modified of a package, and HTTP dates have years of four digits. */
export const maxArTimeSeconds = 253_402_300_799;
const headerEnd = "`\n";

/**
 * Reads an archive in one pass, to its end.
 * @throws Malformed while iterating: `not-a-deb`, `truncated` or `limit`
 * @see ar(5), deb(5)
 */
export async function* readAr(content: Content, limits: ArLimits): AsyncGenerator<ArMember> {
  const reader = new ByteReader(content);
  try {
    await expectMagic(reader);
    for (let count = 1; ; count++) {
      const at = reader.position;
      const header = latin1(reader.atHand(headerBytes) ?? (await reader.read(headerBytes)));
      if (header === "") return;
      if (count > limits.maxArMembers) throw limitFlaw("maxArMembers", limits.maxArMembers, "the number of ar members");
      const member = parseHeader(header, at);
      const whole = reader.atHand(member.sizeBytes);
      const body = { left: whole === undefined ? member.sizeBytes : 0 };
      yield { ...member, content: whole ?? takeBody(reader, body, () => endsInside(member.name)) };
      if (body.left > 0) {
        for await (const _skipped of takeBody(reader, body, () => endsInside(member.name))) {
          // Bytes that the consumer did not read must still be present.
        }
      }
      const isPadded = member.sizeBytes % 2 === 1;
      if (isPadded && reader.skipAtHand(1) === 0 && (await reader.read(1)).byteLength === 0) {
        throw endsInside(member.name);
      }
    }
  } finally {
    await reader.close();
  }
}

async function expectMagic(reader: ByteReader): Promise<void> {
  const start = latin1(reader.atHand(magic.length) ?? (await reader.read(magic.length)));
  if (start === magic) return;
  if (magic.startsWith(start)) throw new Malformed("truncated", `it ends after ${start.length} bytes`);
  throw new Malformed("not-a-deb", `it starts with ${quoted(start)}, not like an ar archive`);
}

function parseHeader(header: string, at: number): { name: string; sizeBytes: number; mtimeSeconds: number } {
  const refuse = (why: string) => new Malformed("not-a-deb", `the ar header at byte ${at} ${why}`);
  if (header.length < headerBytes) throw new Malformed("truncated", `it ends inside the ar header at byte ${at}`);
  if (!header.endsWith(headerEnd)) throw refuse("does not end like one");
  // GNU ar ends a name with a slash. Other slashes belong to tables of long names, which a .deb never has.
  const name = /^([A-Za-z0-9._+-]+)\/?$/.exec(header.slice(0, 16).trimEnd())?.[1];
  // dpkg ignores the time; apt reads a blank one as 0, and ignores everything after the digits.
  const mtime = /^(?:[0-9]+| *$)/.exec(header.slice(16, 28))?.[0];
  const size = /^[0-9]+$/.exec(header.slice(48, 58).trimEnd())?.[0];
  if (name === undefined) throw refuse(`has the name ${quoted(header.slice(0, 16).trimEnd())}`);
  if (mtime === undefined) throw refuse("has a time that is not a number");
  if (Number(mtime) > maxArTimeSeconds) throw refuse("has a time beyond the year 9999");
  if (size === undefined) throw refuse("has a size that is not a number");
  return { name, sizeBytes: Number(size), mtimeSeconds: Number(mtime) };
}

const endsInside = (name: string) => new Malformed("truncated", `it ends inside its member ${name}`);

const latin1 = (bytes: Uint8Array): string => asBuffer(bytes).toString("latin1");
