// Makes packages for tests, without a process for each package.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import lzma from "lzma-native";
import { pack } from "tar-stream";
import type { Compression } from "../../src/debian/decompress.ts";

/** The properties of a .deb, with valid defaults. */
export interface DebRecipe {
  readonly package?: string;
  readonly version?: string;
  readonly architecture?: string;
  /** Additional fields, or other values for the usual ones; undefined omits a field. */
  readonly fields?: { readonly [name: string]: string | undefined };
  /** The whole control file; it replaces all fields. */
  readonly control?: string | Uint8Array;
  /** Additional entries of control.tar, before control. */
  readonly controlEntries?: ReadonlyArray<TarPart>;
  /** The files of data.tar, by path. */
  readonly files?: { readonly [path: string]: string | Uint8Array };
  readonly compression?: Compression;
  readonly dataCompression?: Compression;
  /** In seconds since the epoch. */
  readonly builtAtSeconds?: number;
  /** Changes the members before the archive is written. */
  readonly members?: (usual: readonly ArPart[]) => readonly ArPart[];
}

export interface ArPart {
  readonly name: string;
  readonly content: Uint8Array | string;
}

export interface TarPart {
  readonly name: string;
  readonly type?: "file" | "directory" | "symlink" | "fifo";
  readonly linkname?: string;
  readonly content?: string | Uint8Array;
}

const defaultBuiltAtSeconds = 1_700_000_000;

/** The bytes of a .deb. Equal recipes give equal bytes. */
export async function aDeb(recipe: DebRecipe = {}): Promise<Buffer> {
  const { compression = "gz", dataCompression = compression, builtAtSeconds = defaultBuiltAtSeconds } = recipe;
  const control = recipe.control ?? controlText(recipe);
  const files = recipe.files ?? { "./usr/share/doc/it/README": "It works.\n" };
  const controlTar = await tarOf([
    { name: "./", type: "directory" },
    ...(recipe.controlEntries ?? []),
    { name: "./control", content: control },
  ]);
  const dataTar = await tarOf(Object.entries(files).map(([name, content]) => ({ name, content })));
  const usual = [
    { name: "debian-binary", content: "2.0\n" },
    { name: `control.tar${suffix(compression)}`, content: await compressed(compression, controlTar) },
    { name: `data.tar${suffix(dataCompression)}`, content: await compressed(dataCompression, dataTar) },
  ];
  return arOf(recipe.members?.(usual) ?? usual, builtAtSeconds);
}

function controlText(recipe: DebRecipe): string {
  const fields = {
    Package: recipe.package ?? "hello",
    Version: recipe.version ?? "1.0-1",
    Architecture: recipe.architecture ?? "all",
    Maintainer: "A Builder <builder@example.org>",
    Description: "a package for tests\n It does nothing,\n .\n and that well.",
    ...recipe.fields,
  };
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}: ${value}\n`)
    .join("");
}

/** An ar archive. */
export function arOf(members: readonly ArPart[], mtimeSeconds = defaultBuiltAtSeconds): Buffer {
  const parts = [Buffer.from("!<arch>\n")];
  for (const { name, content } of members) {
    const bytes = Buffer.from(content as Uint8Array);
    const owner = `${"0".padEnd(6)}${"0".padEnd(6)}${"100644".padEnd(8)}`;
    parts.push(
      Buffer.from(`${name.padEnd(16)}${String(mtimeSeconds).padEnd(12)}${owner}${String(bytes.length).padEnd(10)}\`\n`),
    );
    parts.push(bytes, Buffer.from(bytes.length % 2 === 1 ? "\n" : ""));
  }
  return Buffer.concat(parts);
}

/** A tar archive with fixed times. */
export async function tarOf(entries: readonly TarPart[]): Promise<Buffer> {
  const archive = pack();
  for (const { content = "", ...header } of entries) {
    archive.entry({ mtime: new Date(defaultBuiltAtSeconds * 1000), ...header }, Buffer.from(content as Uint8Array));
  }
  archive.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of archive) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}

/** The header of a file with this size, whatever follows. */
export function tarHeader(name: string, sizeBytes: number): Buffer {
  return withChecksum(
    Buffer.concat([Buffer.from(name.padEnd(100, "\0")), Buffer.alloc(412)]),
    (header) => header.write(`${sizeBytes.toString(8).padStart(11, "0")}\0`, 124) && header.write("0", 156),
  );
}

/** Changes a header and corrects its checksum. */
export function withChecksum(header: Buffer, change: (header: Buffer) => void): Buffer {
  change(header);
  header.write("        ", 148);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0`, 148);
  return header;
}

const suffix = (compression: Compression): string => (compression === "none" ? "" : `.${compression}`);

/** zstd, bzip2 and lzma run as processes: Debian packages zstd, bzip2 and xz-utils. */
export async function compressed(compression: Compression, plain: Uint8Array): Promise<Buffer> {
  switch (compression) {
    case "none":
      return Buffer.from(plain);
    case "gz":
      return gzipSync(plain);
    case "xz":
      return await new Promise((resolve) => lzma.compress(Buffer.from(plain), { preset: 1 }, resolve));
    case "zst":
      return runTool("zstd", ["-qc"], plain);
    case "bz2":
      return runTool("bzip2", ["-c"], plain);
    case "lzma":
      return runTool("lzma", ["-c"], plain, "xz-utils");
    default:
      return compression satisfies never;
  }
}

/** Runs a tool that the test requires. If it is missing, the error names the package to install. */
export function runTool(
  command: string,
  args: readonly string[],
  input: Uint8Array | string = "",
  debianPackage = command,
): Buffer {
  try {
    return execFileSync(command, args, { input, maxBuffer: 2 ** 28, stdio: ["pipe", "pipe", "pipe"] });
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") {
      throw new Error(`this test needs ${command}: apt-get install ${debianPackage}`, { cause });
    }
    throw cause;
  }
}

/** The properties of a source package, with valid defaults. */
export interface DscRecipe {
  readonly source?: string;
  readonly version?: string;
  readonly fields?: { readonly [name: string]: string | undefined };
  /** The contents of the files beside the .dsc, by name. */
  readonly parts?: { readonly [name: string]: string | Uint8Array };
}

/** The name of the .dsc, and all files of the source package by name, including the .dsc. Unsigned. */
export function aDsc(recipe: DscRecipe = {}): { readonly dsc: string; readonly files: ReadonlyMap<string, Buffer> } {
  const { source = "hello", version = "1.0-1" } = recipe;
  const upstream = version.replace(/^\d+:/, "");
  const parts = Object.entries(
    recipe.parts ?? {
      [`${source}_${upstream.replace(/-[^-]*$/, "")}.orig.tar.gz`]: gzipSync("the original"),
      [`${source}_${upstream}.debian.tar.xz`]: "the packaging",
    },
  ).map(([name, content]) => [name, Buffer.from(content as Uint8Array)] as const);
  const list = (algorithm: string) =>
    parts
      .map(([name, bytes]) => `\n ${createHash(algorithm).update(bytes).digest("hex")} ${bytes.length} ${name}`)
      .join("");
  const fields: { readonly [name: string]: string | undefined } = {
    Format: "3.0 (quilt)",
    Source: source,
    Binary: source,
    Architecture: "any",
    Version: version,
    Maintainer: "A Builder <builder@example.org>",
    "Standards-Version": "4.7.0",
    "Build-Depends": "debhelper-compat (= 13)",
    "Package-List": `\n ${source} deb misc optional arch=any`,
    "Checksums-Sha1": list("sha1"),
    "Checksums-Sha256": list("sha256"),
    Files: list("md5"),
    ...recipe.fields,
  };
  const text = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}:${value?.startsWith("\n") ? "" : " "}${value}\n`)
    .join("");
  const dsc = `${source}_${upstream}.dsc`;
  return { dsc, files: new Map([...parts, [dsc, Buffer.from(text)]]) };
}

/** Yields bytes in chunks of this size. */
export async function* inChunks(bytes: Uint8Array, chunkBytes = bytes.byteLength): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
}
