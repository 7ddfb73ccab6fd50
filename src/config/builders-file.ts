// Reads builders from a file of their own, and again when it changes, so that new builders need no restart.

import { dirname } from "node:path";
import { z } from "zod";
import { parseTreePath } from "../base/names.ts";
import { parsedBy } from "../base/parsed-by.ts";
import { parsePackagePattern } from "../catalog/suite/owner-rules.ts";
import { readSecret, readTomlAs } from "./config-values.ts";
import type { BuilderConfiguration, RepositoryConfiguration } from "./configuration.ts";
import type { PathOf } from "./file-paths.ts";
import { pathsFrom } from "./file-paths.ts";
import { since010 } from "./key-documentation.ts";
import { rereadWhenChanged } from "./reread-file.ts";

/**
 * Returns the schema of one builder.
 * @param warn receives warnings about secrets that other users may read
 */
export const builderIn = (pathOf: PathOf, warn: (text: string) => void) =>
  z
    .strictObject({
      name: z.string().min(1).meta(since010("The builder's name, on pages and in the log.")),
      token_file: parsedBy((raw) => readSecret(pathOf(raw), warn)).meta(
        since010("The token that the builder's pings send, a secret.", { form: "file" }),
      ),
      directory: parsedBy(parseTreePath).meta(
        since010("Where its packages are, such as `dists/sid/main/binary-amd64/alice`.", {
          form: "directory of the tree",
        }),
      ),
      packages: z
        .array(parsedBy(parsePackagePattern).meta({ form: "pattern" }))
        .optional()
        .meta(
          since010(
            "The builder owns these names, and may publish no others. `!` before a pattern excludes names; `*` alone " +
              "allows every name without an owner.",
            { byDefault: "every name without an owner, as `package_owners` says" },
          ),
        ),
    })
    .transform(({ token_file: token, ...raw }): BuilderConfiguration => ({ ...raw, token }));

/**
 * @returns a function that returns the builders in the file now or, while it cannot be read, before; a change of a
 * token
 *   file alone is not noticed
 * @throws Error that names the file and its mistakes
 */
export function buildersIn(
  file: string,
  credentialPath: PathOf,
  warn: (text: string) => void,
): RepositoryConfiguration["builders"] {
  const pathOf = pathsFrom(dirname(file), credentialPath);
  return rereadWhenChanged(file, (complain) => read(file, pathOf, complain), warn);
}

function read(file: string, pathOf: PathOf, warn: (text: string) => void): readonly BuilderConfiguration[] {
  const schema = z.strictObject({ builder: z.array(builderIn(pathOf, warn)).default([]) });
  return readTomlAs(file, schema).builder;
}
