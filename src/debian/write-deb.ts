// Writes a .deb with a few small files. Equal input gives equal bytes on every machine.
import { createHash } from "node:crypto";
import { gzip } from "pako";
import { formatStanza } from "./deb822.ts";
import type { Stanza } from "./stanza.ts";

/** A file of a package. */
export interface PackedFile {
  /** Relative to the root, without a leading slash; the last name has at most 100 bytes. */
  readonly path: string;
  readonly content: Uint8Array | string | { readonly linkTo: string };
}

export interface DebRecipe {
  /** The fields of the control file, in order. */
  readonly control: Stanza;
  /** Maintainer scripts by name, e.g. `postinst`. */
  readonly scripts: { readonly [name: string]: string };
  readonly files: readonly PackedFile[];
  /** The modification time of all entries, in seconds since the epoch. */
  readonly atSeconds: number;
}

const blockBytes = 512;
/** The size of the name field in a tar header. */
const maxNameBytes = 100;
/** As `gzip -9`, which Policy requires for a changelog. */
const gzipLevel = 9;
const modes = { directory: 0o755, script: 0o755, file: 0o644, link: 0o777 } as const;
const typeFlags = { directory: "5", script: "0", file: "0", link: "2" } as const;

/** `gzip -9n`. */
export const gzipped = (content: Uint8Array | string): Uint8Array => gzip(bytesOf(content), { level: gzipLevel });

/** @see deb(5), Debian Policy 10.9 (owners and permissions) */
export function writeDeb({ control, scripts, files, atSeconds }: DebRecipe): Buffer {
  const regular = files.flatMap(({ path, content }) =>
    typeof content === "string" || content instanceof Uint8Array ? [{ path, content: bytesOf(content) }] : [],
  );
  const installedKibibytes = files.length + Math.ceil(sum(regular.map(({ content }) => content.length)) / 1024);
  const md5sums = regular.map(({ path, content }) => `${createHash("md5").update(content).digest("hex")}  ${path}\n`);
  const entries = [
    {
      name: "control",
      kind: "file",
      content: formatStanza([...control, ["Installed-Size", String(installedKibibytes)]]),
    },
    { name: "md5sums", kind: "file", content: md5sums.join("") },
    ...Object.entries(scripts).map(([name, content]) => ({ name, kind: "script", content }) as const),
  ] as const;
  const controlTar = [tarEntry("./", "directory", atSeconds)];
  for (const { name, kind, content } of entries) controlTar.push(tarEntry(`./${name}`, kind, atSeconds, content));
  const dataTar = directoriesOf(files).map((path) => tarEntry(path, "directory", atSeconds));
  for (const { path, content } of files) {
    const isLink = typeof content === "object" && "linkTo" in content;
    dataTar.push(tarEntry(`./${path}`, isLink ? "link" : "file", atSeconds, content));
  }
  return Buffer.concat([
    Buffer.from("!<arch>\n"),
    arMember("debian-binary", atSeconds, Buffer.from("2.0\n")),
    arMember("control.tar.gz", atSeconds, gzipped(tar(controlTar))),
    arMember("data.tar.gz", atSeconds, gzipped(tar(dataTar))),
  ]);
}

/** All parent directories of the files, each after its own parent. */
function directoriesOf(files: readonly PackedFile[]): readonly string[] {
  const directories = new Set(["./"]);
  for (const { path } of files) {
    const names = path.split("/").slice(0, -1);
    for (const [index] of names.entries()) directories.add(`./${names.slice(0, index + 1).join("/")}/`);
  }
  return [...directories].toSorted();
}

function tarEntry(
  name: string,
  kind: keyof typeof modes,
  atSeconds: number,
  content: PackedFile["content"] = "",
): Buffer {
  const linkTo = typeof content === "object" && "linkTo" in content ? content.linkTo : "";
  const body = typeof content === "object" && "linkTo" in content ? Buffer.alloc(0) : bytesOf(content);
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, "0")}\0`;
  const header = Buffer.alloc(blockBytes);
  const put = (text: string, at: number) => header.write(text, at, "utf8");
  // The first part of a long name goes into the prefix field; a slash is implied after it.
  const cut = name.length > maxNameBytes ? name.lastIndexOf("/") : -1;
  put(name.slice(cut + 1), 0);
  put(name.slice(0, Math.max(0, cut)), 345);
  put(octal(modes[kind], 7), 100);
  put(octal(0, 7), 108);
  put(octal(0, 7), 116);
  put(octal(body.length, 11), 124);
  put(octal(atSeconds, 11), 136);
  put(" ".repeat(8), 148);
  put(typeFlags[kind], 156);
  put(linkTo, 157);
  put("ustar\x0000", 257);
  put("root", 265);
  put("root", 297);
  put(`${octal(sum(header), 6)} `, 148);
  return Buffer.concat([header, body, Buffer.alloc(-body.length & (blockBytes - 1))]);
}

/** Two empty blocks end an archive. */
const tar = (entries: readonly Buffer[]): Buffer => Buffer.concat([...entries, Buffer.alloc(2 * blockBytes)]);

function arMember(name: string, atSeconds: number, content: Uint8Array): Buffer {
  const owner = `${"0".padEnd(6)}${"0".padEnd(6)}${"100644".padEnd(8)}`;
  const header = `${name.padEnd(16)}${String(atSeconds).padEnd(12)}${owner}${String(content.length).padEnd(10)}\`\n`;
  return Buffer.concat([Buffer.from(header), content, Buffer.from(content.length % 2 === 1 ? "\n" : "")]);
}

const sum = (values: Iterable<number>): number => [...values].reduce((total, value) => total + value, 0);

const bytesOf = (content: Uint8Array | string): Uint8Array =>
  typeof content === "string" ? Buffer.from(content) : content;
