// The paths of a repository's pages and keys: requests for all other paths of a repository are for its files.

/** Whether a path below a mount is a public key: these are readable without a password. */
export const isKey = (rest: string): boolean => rest === "key.asc" || rest === "key.gpg";

/** Whether making the response takes so long that only some may be made at the same time. */
export const isCostly = (mount: string, rest: string): boolean =>
  !(mount === "metrics" || mount === "healthz" || mount === "readyz") &&
  !(mount === "-" && rest.startsWith("ping/")) &&
  !isKey(rest);

/**
 * Whether a path below a mount is a page, or another route for setting the repository up. A file of the tree at such a
 * path is not served.
 */
export const isRepositoryPage = (mount: string, rest: string): boolean =>
  rest === "" ||
  rest === "-" ||
  rest.startsWith("-/") ||
  isKey(rest) ||
  rest === "snapshots" ||
  rest === "snapshots/index.json" ||
  rest === `${mount}.sources` ||
  rest === `${mount}.yaml`;
