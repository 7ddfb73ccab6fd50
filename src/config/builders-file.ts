// The builders that stand in a file of their own: read anew when it has changed, so that whoever comes or goes needs no
// restart of the server.

import { dirname, resolve } from "node:path";
import { z } from "zod";
import { parseTreePath } from "../base/names.ts";
import { parsedBy } from "../base/parsed-by.ts";
import { parsePackagePattern } from "../catalog/suite/owner-rules.ts";
import { readSecret, readTomlAs } from "./config-values.ts";
import type { BuilderConfiguration, RepositoryConfiguration } from "./configuration.ts";
import { rereadWhenChanged } from "./reread-file.ts";

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
  return rereadWhenChanged(file, (complain) => read(file, complain), warn);
}

function read(file: string, warn: (text: string) => void): readonly BuilderConfiguration[] {
  const schema = z.strictObject({ builder: z.array(builderIn(dirname(file), warn)).default([]) });
  return readTomlAs(file, schema).builder;
}
