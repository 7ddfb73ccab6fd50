// Writes a .deb with a few small files. Equal input gives equal bytes on every machine.
import { createHash } from "node:crypto";
import { gzip } from "pako";
import { formatStanza } from "./deb822.ts";
import type { Stanza } from "./stanza.ts";
import { endOfTar, tarEntry } from "./write-tar.ts";

/** A file of a package. */
export interface PackedFile {
  /** Relative to the root, without a leading slash; the last name has at most 100 bytes. */
  readonly path: string;
  readonly content: Uint8Array | string | { readonly linkTo: string };
  /** Whether everybody may run it; false unless given. */
  readonly isProgram?: boolean;
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

/** As `gzip -9`, which Policy requires for a changelog. */
const gzipLevel = 9;
const modes = { directory: 0o755, program: 0o755, file: 0o644, link: 0o777 } as const;
const typeFlags = { directory: "5", program: "0", file: "0", link: "2" } as const;

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
    ...Object.entries(scripts).map(([name, content]) => ({ name, kind: "program", content }) as const),
  ] as const;
  const controlTar = [packed("./", "directory", atSeconds)];
  for (const { name, kind, content } of entries) controlTar.push(packed(`./${name}`, kind, atSeconds, content));
  const dataTar = directoriesOf(files).map((path) => packed(path, "directory", atSeconds));
  for (const { path, content, isProgram = false } of files) {
    const isLink = typeof content === "object" && "linkTo" in content;
    dataTar.push(packed(`./${path}`, isLink ? "link" : isProgram ? "program" : "file", atSeconds, content));
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

function packed(
  name: string,
  kind: keyof typeof modes,
  atSeconds: number,
  content: PackedFile["content"] = "",
): Buffer {
  const isLink = typeof content === "object" && "linkTo" in content;
  const header = { name, mode: modes[kind], type: typeFlags[kind], atSeconds };
  return isLink ? tarEntry({ ...header, linkTo: content.linkTo }, Buffer.alloc(0)) : tarEntry(header, bytesOf(content));
}

const tar = (entries: readonly Buffer[]): Buffer => Buffer.concat([...entries, endOfTar]);

function arMember(name: string, atSeconds: number, content: Uint8Array): Buffer {
  const owner = `${"0".padEnd(6)}${"0".padEnd(6)}${"100644".padEnd(8)}`;
  const header = `${name.padEnd(16)}${String(atSeconds).padEnd(12)}${owner}${String(content.length).padEnd(10)}\`\n`;
  return Buffer.concat([Buffer.from(header), content, Buffer.from(content.length % 2 === 1 ? "\n" : "")]);
}

const sum = (values: Iterable<number>): number => [...values].reduce((total, value) => total + value, 0);

const bytesOf = (content: Uint8Array | string): Uint8Array =>
  typeof content === "string" ? Buffer.from(content) : content;
