// Repositories in memory, for tests of HTTP only.
import { createHash } from "node:crypto";
import { parseRepositoryName, parseSuite } from "../../src/base/names.ts";
import type { Resource } from "../../src/publishing/resource.ts";
import { partOf } from "../../src/publishing/serve/directory-listings.ts";
import type {
  DirectoryListing,
  ListingRange,
  PingOutcome,
  RepositoryStatus,
  ServedRepository,
} from "../../src/publishing/served-repository.ts";

export const novemberSeconds = Date.parse("Sun, 06 Nov 1994 08:49:37 GMT") / 1000;

/** A resource of some bytes; `read` may be replaced to make it fail. */
export function aResource(bytes: string | Uint8Array, changes: Partial<Resource> = {}): Resource {
  const buffer = Buffer.from(bytes);
  return {
    sizeBytes: buffer.length,
    etag: createHash("sha256").update(buffer).digest("hex").slice(0, 12),
    lastModifiedSeconds: novemberSeconds,
    contentType: "text/plain; charset=utf-8",
    caching: "revalidate",
    read: async ({ start, end }) => buffer.subarray(start, end),
    ...changes,
  };
}

export const anOutcome: PingOutcome = {
  publications: [],
  added: [],
  removed: [],
  rejected: [],
  pending: [],
  notices: [],
};

const armoredKey = `-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEZ
=abcd
-----END PGP PUBLIC KEY BLOCK-----
`;

export function aStatus(changes: Partial<RepositoryStatus> = {}): RepositoryStatus {
  const suite = {
    suite: parseSuite("sid"),
    id: "1",
    dateSeconds: novemberSeconds,
    components: ["main", "extra"],
    architectures: ["all", "amd64", "arm64"],
    binaryPackages: 7,
    sourcePackages: 1,
  };
  return {
    suites: [suite],
    rejected: [],
    pending: [],
    notices: [],
    notReady: undefined,
    lastError: undefined,
    ...changes,
  };
}

/** @param files by path below the mount */
export function aRepository(
  name: string,
  files: { readonly [path: string]: Resource } = {},
  changes: Partial<ServedRepository> = {},
): ServedRepository {
  return {
    name: parseRepositoryName(name),
    key: {
      armored: armoredKey,
      binary: Buffer.from("the key"),
      fingerprints: ["0123456789ABCDEF0123456789ABCDEF01234567"],
    },
    findNow: () => undefined,
    find: async (path) => (Object.hasOwn(files, path) ? files[path] : undefined),
    list: async (path, range) => listed(Object.keys(files), path, range),
    ping: async () => anOutcome,
    get notReady() {
      return this.status().notReady;
    },
    status: () => aStatus(),
    snapshots: () => [],
    ...changes,
  };
}

/** Lists a directory of files. */
function listed(paths: readonly string[], directory: string, range: ListingRange): DirectoryListing | undefined {
  const prefix = directory === "" ? "" : `${directory}/`;
  const below = paths.filter((path) => path.startsWith(prefix)).map((path) => path.slice(prefix.length).split("/"));
  const names = new Map(below.map(([name = "", ...rest]) => [name, rest.length > 0 ? "directory" : "file"] as const));
  return names.size === 0
    ? undefined
    : partOf(
        [...names].map(([name, kind]) => ({ name, kind })),
        range,
      );
}
