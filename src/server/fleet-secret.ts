// What all servers of a fleet know of a repository and nobody else.
import { Secret } from "../base/secret.ts";
import type { Configuration, RepositoryConfiguration } from "../config/configuration.ts";

/** A local folder has no secret, and what is in it can be read by all who can read the folder. */
const noSecret = new Secret("a folder");

export const fleetSecret = (
  { tree }: Pick<RepositoryConfiguration, "tree">,
  { cluster }: Pick<Configuration, "cluster">,
): Secret => (tree.kind === "tahoe" ? tree.readCap : (cluster?.password ?? noSecret));
