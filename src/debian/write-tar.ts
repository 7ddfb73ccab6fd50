// Writes the entries of a tar archive in the format ustar.

export interface WrittenTarHeader {
  /** The last name has at most 100 bytes, and what is before it at most 155. */
  readonly name: string;
  readonly mode: number;
  /** "0": a file, "2": a symbolic link, "5": a directory. */
  readonly type: "0" | "2" | "5";
  /** The modification time, in seconds since the epoch. */
  readonly atSeconds: number;
  readonly linkTo?: string;
}

const blockBytes = 512;
/** The size of the name field in a tar header. */
const maxNameBytes = 100;

/** Two empty blocks end an archive. */
export const endOfTar: Buffer = Buffer.alloc(2 * blockBytes);

/** Returns the header and the content of one entry, which belongs to root. @see tar(5) */
export function tarEntry({ name, mode, type, atSeconds, linkTo = "" }: WrittenTarHeader, content: Uint8Array): Buffer {
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, "0")}\0`;
  const header = Buffer.alloc(blockBytes);
  const put = (text: string, at: number) => header.write(text, at, "utf8");
  // The first part of a long name goes into the prefix field; a slash is implied after it.
  const cut = name.length > maxNameBytes ? name.lastIndexOf("/") : -1;
  put(name.slice(cut + 1), 0);
  put(name.slice(0, Math.max(0, cut)), 345);
  put(octal(mode, 7), 100);
  put(octal(0, 7), 108);
  put(octal(0, 7), 116);
  put(octal(content.length, 11), 124);
  put(octal(atSeconds, 11), 136);
  put(" ".repeat(8), 148);
  put(type, 156);
  put(linkTo, 157);
  put("ustar\x0000", 257);
  put("root", 265);
  put("root", 297);
  const sum = header.reduce((total, byte) => total + byte, 0);
  put(`${octal(sum, 6)} `, 148);
  return Buffer.concat([header, content, Buffer.alloc(-content.length & (blockBytes - 1))]);
}
