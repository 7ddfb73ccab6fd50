// Pages stay small, however much there is to show.
import { expect, test } from "vitest";
import type {
  PackageDetail,
  PackageVersion,
  RepositoryData,
  SourceDetail,
} from "../../../src/web/data/repository-data.ts";
import { Links } from "../../../src/web/html/links.ts";
import { renderPageAt } from "../../../src/web/pages/repository-pages.ts";
import { someRepositoryData } from "../../support/repository-data.ts";
import { aRepository } from "../../support/served-repository.ts";

const maxPageBytes = 60_000;
const many = <T>(count: number, of: (at: number) => T): T[] => Array.from({ length: count }, (_, at) => of(at));
const sha256 = "0123456789abcdef".repeat(4);
const longName = (at: number) => `libreoffice-l10n-${"x".repeat(20)}-${at}`;

const relation = (at: number) => [
  {
    name: longName(at),
    qualifier: "any",
    restriction: "(>= 1:7.4.7-1+deb12u5)",
    resolved: "elsewhere" as const,
    providers: [],
  },
];

const version = (at: number): PackageVersion => ({
  suite: "trixie-updates",
  component: "main",
  version: `1:7.4.7-${at}+deb12u5`,
  source: { name: "libreoffice", version: `1:7.4.7-${at}` },
  section: "editors",
  priority: "optional",
  isEssential: false,
  maintainer: { name: "Debian LibreOffice Maintainers", email: "debian-openoffice@lists.debian.org" },
  homepage: "https://www.libreoffice.org/",
  description: { short: "s".repeat(10_000), paragraphs: many(500, () => ({ kind: "text", text: "word ".repeat(50) })) },
  relations: (["Pre-Depends", "Depends", "Recommends", "Suggests", "Breaks", "Replaces"] as const).map((field) => ({
    field,
    groups: many(200, relation),
  })),
  files: many(15, (file) => ({
    architecture: `architecture${file}`,
    path: `pool/SHA256/${sha256}/${longName(at)}_7.4.7_architecture${file}.deb`,
    sizeBytes: 123_456_789,
    installedBytes: 987_654_321,
    sha256,
    uploadedSeconds: 1_700_000_000,
    builder: "dists/trixie/main/binary-amd64/builder",
    isForInstaller: false,
  })),
  phasedPercent: 10,
});

const detail: PackageDetail = {
  name: "libreoffice",
  newest: version(0),
  suites: many(20, (at) => ({ suite: `suite-${at}`, versions: many(20, version), moreVersions: 0 })),
  dependents: {
    entries: many(500, (at) => ({
      name: longName(at),
      suite: "trixie",
      version: "1.2.3-4",
      field: "Depends",
      on: "office",
    })),
    total: 60_000,
  },
  hidden: {
    entries: many(500, (at) => ({
      suite: "trixie",
      version: "1",
      architecture: "amd64",
      path: `dists/trixie/main/binary-amd64/builder/${longName(at)}_1.0_amd64.deb`,
      reason: { kind: "rejected", code: "not-a-deb", text: "t".repeat(300), advice: "a".repeat(200) },
    })),
    total: 5000,
  },
  earlier: {
    entries: many(500, (at) => ({
      suite: "trixie",
      version: `1.${at}`,
      architecture: "amd64",
      component: "main",
      snapshot: "20261129T225800Z",
      snapshotSeconds: 1_700_000_000,
    })),
    total: 5000,
  },
};

const source: SourceDetail = {
  name: "libreoffice",
  suites: many(10, (at) => ({
    suite: `suite-${at}`,
    versions: many(10, () => ({
      ...version(at),
      uploaders: many(100, (person) => ({ name: `Uploader ${person}`, email: `uploader-${person}@lists.debian.org` })),
      vcsBrowser: "https://salsa.debian.org/libreoffice-team/libreoffice",
      standardsVersion: "4.7.0",
      architectures: ["any", "all"],
      binaries: many(500, longName),
      relations: [{ field: "Build-Depends", groups: many(500, relation) }],
      files: many(100, (file) => ({
        name: `${longName(file)}.orig.tar.xz`,
        path: `pool/SHA256/${sha256}/${longName(file)}.orig.tar.xz`,
        sizeBytes: 123_456,
        sha256,
      })),
      uploadedSeconds: 1_700_000_000,
      builder: "dists/trixie/main/source/builder",
    })),
  })),
  binaries: { entries: many(1000, (at) => ({ name: longName(at), suite: "trixie", version: "1.2" })), total: 5000 },
};

const listed = (at: number) => ({ name: longName(at), component: "main", version: "1.2.3-4", architecture: "amd64" });
const upload = (at: number) => ({
  ...listed(at),
  isSource: false,
  suite: "trixie",
  uploadedSeconds: 1_700_000_000,
  description: "a package",
  builder: "dists/trixie/main/binary-amd64/builder",
  sizeBytes: 1,
  sha256,
});
const reject = (at: number) => ({
  path: `dists/trixie/main/binary-amd64/builder/${longName(at)}_1.0_amd64.deb`,
  suite: "trixie",
  builder: "dists/trixie/main/binary-amd64/builder",
  code: "not-a-deb" as const,
  reason: "r".repeat(200),
  advice: "a".repeat(100),
});
const pending = (at: number) => ({
  path: `dists/trixie/main/source/builder/${longName(at)}_1.0.dsc`,
  builder: undefined,
  missing: many(500, longName),
  isBeingInspected: false,
});
const page = <T>(limit: number | undefined, of: (at: number) => T) => ({
  entries: many(limit ?? 50, of),
  total: 60_000,
  next: "next",
});
const builder = (at: number) => ({
  directory: `dists/trixie/main/binary-amd64/${longName(at)}`,
  packages: 1000,
  rejects: 1000,
  pending: 1000,
  lastUploadSeconds: 1_700_000_000,
});

const full: Partial<RepositoryData> = {
  filters: async () => ({
    suites: many(50, (at) => `suite-${at}`),
    components: many(10, (at) => `component-${at}`),
    architectures: many(20, (at) => `architecture-${at}`),
    builders: many(1000, (at) => `dists/trixie/main/binary-amd64/builder-${at}`),
  }),
  packages: async ({ limit }) => ({
    hasMoreThanTotal: true,
    ...page(limit, (at) => ({
      name: longName(at),
      description: "d".repeat(10_000),
      section: "editors",
      source: "libreoffice",
      suites: many(50, (suite) => ({
        suite: `suite-${suite}`,
        version: "1:7.4.7-1+deb12u5",
        components: ["main"],
        architectures: many(10, (each) => `architecture${each}`),
      })),
      uploadedSeconds: 1_700_000_000,
    })),
  }),
  package: async () => detail,
  dependents: async (_name, { limit }) =>
    page(limit, (at) => ({ name: longName(at), suite: "trixie", version: "1.2.3-4", field: "Depends", on: "office" })),
  files: async () => ({
    package: "libreoffice",
    version: "1",
    architecture: "amd64",
    paths: { entries: many(1000, (at) => `/usr/share/${"directory/".repeat(10)}${at}`), total: 100_000 },
  }),
  changelog: async () => ({ text: "  * a change\n".repeat(15_000), isCut: true }),
  source: async () => source,
  builders: async () => many(3000, builder),
  builder: async () => ({
    ...builder(0),
    uploads: { entries: many(1000, upload), total: 5000 },
    rejected: { entries: many(1000, reject), total: 5000 },
    waiting: { entries: many(1000, pending), total: 5000 },
    budgets: [{ limitKey: "max_directory_packages", used: 1, limit: 10 }],
  }),
  uploads: async ({ limit }) => page(limit, upload),
  rejects: ({ limit }) => page(limit, reject),
  pending: ({ limit }) => page(limit, pending),
  snapshots: async ({ limit }) =>
    page(limit, (at) => ({
      suite: "trixie",
      id: `20261129T2258${String(at % 60).padStart(2, "0")}Z`,
      servedSeconds: 1_700_000_000,
      isCurrent: false,
      pins: ["release-1"],
      binaryPackages: 60_000,
      sourcePackages: 30_000,
      changes: {
        added: { entries: many(1000, listed), total: 60_000 },
        removed: { entries: many(1000, listed), total: 60_000 },
      },
    })),
  diff: async ({ limit }) => ({
    ...page(limit, (at) => ({ ...listed(at), kind: "changed" as const, before: ["1.2.3-4"], after: ["1.2.4-1"] })),
    from: { suite: "trixie", snapshot: "1", isCurrent: false, dateSeconds: 1 },
    to: { suite: "trixie", snapshot: "2", isCurrent: true, dateSeconds: 2 },
    counts: { added: 1, removed: 1, changed: 60_000 },
  }),
};

const repository = aRepository("debian");
const ofEverything = { repository, data: someRepositoryData(repository, full) };

test.each([
  "",
  "-/packages",
  "-/packages/libreoffice",
  "-/packages/libreoffice/relations",
  "-/packages/libreoffice/dependents",
  "-/packages/libreoffice/files",
  "-/sources/libreoffice",
  "-/builders",
  "-/builders/dists/trixie/main/binary-amd64/builder",
  "-/rejects",
  "-/snapshots",
  "-/diff",
  "-/health",
])("/debian/%s is smaller than 60 kB in the largest repository", async (path) => {
  const html = await renderPageAt(path, ofEverything, {
    links: new Links("../../../", "debian"),
    query: new URLSearchParams("q=office&from=a&to=b"),
    uri: "https://apt.example.org/debian",
    isPrivate: true,
    nowSeconds: 1_700_000_000,
    signal: new AbortController().signal,
  });
  expect(html).toContain("<h1>");
  expect(Buffer.byteLength(html ?? "")).toBeLessThan(maxPageBytes);
});
