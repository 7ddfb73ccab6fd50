// The builders that stand in a file of their own: read anew when it has changed, so that whoever comes or goes needs no
// restart of the server.
import { statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { z } from "zod";
import { messageOf } from "./base/errors.ts";
import { parseTreePath } from "./base/names.ts";
import { validationMessage } from "./base/validation-messages.ts";
import { parsePackagePattern } from "./catalog/owner-rules.ts";
import { demand, parsedBy, readSecret, readToml } from "./config-values.ts";
import type { BuilderConfiguration, RepositoryConfiguration } from "./configuration.ts";

/** @param directory that the names of token files are relative to @param warn is told of files that others may read */
export const builderIn = (directory: string, warn: (text: string) => void) =>
  z
    .strictObject({
      name: z.string().min(1),
      token_file: parsedBy((raw) => readSecret(resolve(directory, raw), warn)),
      directory: parsedBy(parseTreePath),
      packages: z.array(parsedBy(parsePackagePattern)).optional(),
    })
    .transform(({ token_file: token, ...raw }): BuilderConfiguration => ({ ...raw, token }));

/**
 * @returns what gives those of the file as it is now, and as it was while it can't be read
 * (that a token's file alone has changed is not noticed)
 * @throws Error that names the file, and what is wrong with it
 */
export function buildersIn(file: string, warn: (text: string) => void): RepositoryConfiguration["builders"] {
  let version = versionOf(file);
  let builders = read(file, warn);
  let complaint: string | undefined;
  return (complain) => {
    const present = versionOf(file);
    if (present === version) return builders;
    try {
      builders = read(file, complain);
      version = present;
      complaint = undefined;
    } catch (thrown) {
      // Tried again each time, because what is wrong may be a token's file that comes later; told once.
      const text = `${messageOf(thrown)}; the builders stay as they were`;
      if (text !== complaint) complain(text);
      complaint = text;
    }
    return builders;
  };
}

/** Whoever writes the file gives it another time, or puts another file in its place. */
function versionOf(file: string): string {
  try {
    const { ino, size, mtimeNs, ctimeNs } = statSync(file, { bigint: true });
    return [ino, size, mtimeNs, ctimeNs].join(" ");
  } catch (thrown) {
    return messageOf(thrown);
  }
}

function read(file: string, warn: (text: string) => void): readonly BuilderConfiguration[] {
  const schema = z.strictObject({ builder: z.array(builderIn(dirname(file), warn)).default([]) });
  const parsed = schema.safeParse(tomlOf(file), { error: validationMessage });
  const mistakes = parsed.error?.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`) ?? [];
  demand(parsed.success, `${file}: ${mistakes.join("; ")}`);
  return parsed.data.builder;
}

function tomlOf(file: string): unknown {
  try {
    return readToml(file);
  } catch (thrown) {
    throw new Error(`${file}: ${messageOf(thrown)}`);
  }
}
