// Repositories in memory, for tests of HTTP only.
import { createHash } from "node:crypto";
import { parseRepositoryName, parseSuite } from "../../src/base/names.ts";
import type { Resource } from "../../src/publishing/resource.ts";
import type { PingOutcome, RepositoryStatus, ServedRepository } from "../../src/publishing/served-repository.ts";

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
    find: async (path) => (Object.hasOwn(files, path) ? files[path] : undefined),
    ping: async () => anOutcome,
    status: () => aStatus(),
    snapshots: () => [],
    ...changes,
  };
}
