// The data of a repository without packages, for tests of HTTP only: what its status and its snapshots say.
import type { ServedRepository } from "../../src/publishing/served-repository.ts";
import type { Cut, Page, RepositoryData } from "../../src/web/data/repository-data.ts";

const aPage = <Entry>(entries: readonly Entry[], limit = entries.length): Page<Entry> => ({
  entries: entries.slice(0, limit),
  total: entries.length,
  next: entries.length > limit ? "next" : undefined,
});

const noCut: Cut<never> = { entries: [], total: 0 };

export function someRepositoryData(
  repository: ServedRepository,
  changes: Partial<RepositoryData> = {},
): RepositoryData {
  const { name, key } = repository;
  return {
    name,
    filters: async () => ({ suites: [], components: [], architectures: [], builders: [] }),
    isIndexing: () => false,
    packages: async () => ({ ...aPage([]), hasMoreThanTotal: false }),
    summary: async () => undefined,
    package: async () => undefined,
    dependents: async () => aPage([]),
    files: async () => undefined,
    changelog: async () => undefined,
    source: async () => undefined,
    builders: async () => [],
    builder: async () => undefined,
    uploads: async () => aPage([]),
    rejects: ({ limit }) =>
      aPage(
        repository.status().rejected.map((file) => ({ ...file, suite: undefined, builder: undefined, advice: "" })),
        limit,
      ),
    pending: ({ limit }) =>
      aPage(
        repository.status().pending.map(({ path, missing, inspecting }) => ({
          path,
          missing,
          builder: undefined,
          isBeingInspected: inspecting === true,
        })),
        limit,
      ),
    snapshots: async ({ limit }) =>
      aPage(
        [...repository.snapshots()].map((kept) => ({
          ...kept,
          binaryPackages: 1,
          sourcePackages: 0,
          changes: { added: noCut, removed: noCut },
        })),
        limit,
      ),
    diff: async () => undefined,
    health: () => ({
      notReady: repository.status().notReady,
      lastError: repository.status().lastError,
      notices: repository.status().notices,
      suites: [],
      keys: key.fingerprints.map((fingerprint) => ({ fingerprint, expiresSeconds: undefined })),
      rejects: repository.status().rejected.length,
      pending: repository.status().pending.length,
      grid: undefined,
    }),
    stateId: () => "1",
    ...changes,
  };
}
