// Parsers for single values of a configuration, with error messages for people.
import { readFileSync, statSync } from "node:fs";
import { parse as parseToml, TomlError } from "smol-toml";
import type { z } from "zod";
import { fileReasonOf, messageOf } from "../base/errors.ts";
import type { TreePath } from "../base/names.ts";
import { parseTreePath, rootPath } from "../base/names.ts";
import { Secret } from "../base/secret.ts";
import { isOpenToOthers } from "../base/secret-file.ts";
import { validationMessage } from "../base/validation-messages.ts";
import { isDists } from "../catalog/layout/repository-layout.ts";
import { parseCertificates } from "../storage/tahoe/certificates.ts";

const maxSecretFileBytes = 64 * 1024;
const maxPort = 65_535;
/** How many mistakes of one file are looked for. */
const maxTomlMistakes = 20;

/** The place of a value in a parsed file. */
export type Path = readonly PropertyKey[];

/** A parsed TOML file that may have mistakes. */
export interface TomlParts {
  /** What can be read. */
  readonly table: Record<string, unknown>;
  /** Each names its line. None quotes the file, because it may contain a secret. */
  readonly mistakes: readonly string[];
  /** The keys on the lines that cannot be read; "all" if it is unknown what the rest of the file means. */
  readonly unread: ReadonlySet<string> | "all";
}

/** @throws Error that quotes nothing from the file, because it may contain a secret */
export function readToml(path: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new Error(fileReasonOf(error));
  }
  return parseTomlText(text);
}

/** @throws Error that quotes nothing from the text, because it may contain a secret */
export function parseTomlText(text: string): Record<string, unknown> {
  try {
    return parseToml(text);
  } catch (error) {
    throw new Error(error instanceof TomlError ? tomlMistake(error) : messageOf(error));
  }
}

/**
 * Reads as much as possible of a file. A mistake in the value of a key takes nothing but this key away; any other mistake
 * takes away the rest of the file.
 * @throws Error if the file cannot be read
 */
export function readTomlParts(path: string): TomlParts {
  let lines: string[];
  try {
    lines = readFileSync(path, "utf8").split("\n");
  } catch (error) {
    throw new Error(fileReasonOf(error));
  }
  const mistakes: string[] = [];
  const unread = new Set<string>();
  let isCut = false;
  for (;;) {
    try {
      return { table: parseToml(lines.join("\n")), mistakes, unread: isCut ? "all" : unread };
    } catch (error) {
      if (!(error instanceof TomlError)) throw error;
      const at = error.line - 1;
      const text = lines[at] ?? "";
      const key = /^\s*([\w-]+)\s*=/.exec(text)?.[1];
      // Other lines may be the rest of a value that was taken away.
      const isOwnMistake = mistakes.length === 0 || key !== undefined || text.startsWith("[");
      if (isOwnMistake && !isCut) mistakes.push(tomlMistake(error));
      if (key !== undefined && mistakes.length <= maxTomlMistakes) {
        unread.add(key);
        lines[at] = "";
      } else {
        isCut = true;
        lines = lines.slice(0, Math.min(at, lines.length - 1));
      }
    }
  }
}

/** Without the other lines of the parser's message, which quote the file. */
const tomlMistake = (error: TomlError): string => `line ${error.line} is not valid TOML: ${tomlReasonOf(error)}`;

/** @throws Error that names the file and its mistakes */
export function readTomlAs<Value>(file: string, schema: z.ZodType<Value>): Value {
  let raw: unknown;
  try {
    raw = readToml(file);
  } catch (thrown) {
    throw new Error(`${file}: ${messageOf(thrown)}`);
  }
  const parsed = schema.safeParse(raw, { error: validationMessage });
  const mistakes = parsed.error?.issues.map(({ path, message }) => `${path.join(".")}: ${message}`) ?? [];
  demand(parsed.success, `${file}: ${mistakes.join("; ")}`);
  return parsed.data;
}

/** The first line of the parser's message, without its prefix. The other lines quote the file. */
const tomlReasonOf = ({ message }: TomlError): string =>
  (message.split("\n")[0] ?? "").replace(/^Invalid TOML document: /, "");

/** @throws Error with the message `otherwise` if the condition does not hold */
export function demand(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new Error(otherwise);
}

/** Parses `HOST:PORT` or `[V6]:PORT`. */
export function parseListen(raw: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[(?<v6>[0-9a-f:.]+)\]|(?<name>[^:[\]]+)):(?<port>\d{1,5})$/i.exec(raw);
  const host = match?.groups?.v6 ?? match?.groups?.name;
  const port = Number(match?.groups?.port);
  demand(host !== undefined && port <= maxPort, `${JSON.stringify(raw)} is not HOST:PORT`);
  return { host, port };
}

/** Whether only this machine can connect to an address. A name other than localhost may be any address. */
export const isLoopback = (host: string): boolean => /^(localhost|127(\.\d{1,3}){3}|::1)$/i.test(host);

/** Parses a Date as in a Release file. @returns seconds since the epoch */
export function parseDate(raw: string): number {
  const milliseconds = Date.parse(raw);
  demand(!Number.isNaN(milliseconds), `${JSON.stringify(raw)} is not a date like "Sun, 22 Nov 2026 13:45:00 UTC"`);
  return Math.floor(milliseconds / 1000);
}

/** Reads a secret from a file. @param warn receives a warning if other users may read the file */
export function readSecret(path: string, warn: (text: string) => void): Secret {
  try {
    const stats = statSync(path);
    demand(stats.size <= maxSecretFileBytes, `is larger than ${maxSecretFileBytes} bytes`);
    const text = readFileSync(path, "utf8").trim();
    demand(text !== "", "is empty");
    if (isOpenToOthers(stats)) warn(`${path}: others may read this secret; chmod 600 it`);
    return new Secret(text);
  } catch (error) {
    throw new Error(`${path}: ${fileReasonOf(error)}`);
  }
}

/** Reads certificates in PEM. */
export function readCertificates(path: string): string {
  try {
    return parseCertificates(readFileSync(path, "utf8"));
  } catch (error) {
    throw new Error(`${path}: ${fileReasonOf(error)}`);
  }
}

/** Parses the directory of a flat repository; "." is the root. */
export function parseFlat(raw: string): TreePath {
  const path = raw === "." ? rootPath : parseTreePath(raw.replace(/^\.\//, "").replace(/\/$/, ""));
  demand(!isDists(path), "is in dists, which contains suites");
  demand(path !== "-" && !path.startsWith("-/"), "is in -, where the server has its pages");
  return path;
}
