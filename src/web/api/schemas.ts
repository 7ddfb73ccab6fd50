// The forms of the JSON API's responses. The OpenAPI document is made from them.
import { z } from "zod";
import type { RejectCode } from "../../catalog/inspection/inspection.ts";
import { sourceRelations } from "../../debian/apt-fields.ts";
import { rejectAdvice } from "../data/reject-advice.ts";
import { relationFields } from "../data/repository-data.ts";

const list = <Entry extends z.ZodType>(entry: Entry) => z.array(entry).readonly();
const text = z.string();
const count = z.int().nonnegative();
/** JSON has no undefined: such properties are left out. */
const optional = <Value extends z.ZodType>(value: Value) => value.optional();
const seconds = count.describe("Seconds since the epoch.");
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const builder = optional(text.describe("The builder's directory in the tree."));

/** A page of a list. */
export const pageOf = <Entry extends z.ZodType>(entry: Entry) =>
  z.object({
    entries: list(entry),
    total: count.describe("The number of entries on all pages."),
    next: optional(text.describe("The cursor of the next page; absent on the last page.")),
  });
const cutOf = <Entry extends z.ZodType>(entry: Entry) =>
  z.object({ entries: list(entry), total: count.describe("The number of entries, also of those that are not shown.") });

export const repository = z.object({ name: text, isIndexing: z.boolean(), url: text });
export const repositories = z.object({ repositories: list(z.object({ name: text, url: text })) });

export const filters = z.object({
  suites: list(text),
  components: list(text),
  architectures: list(text),
  builders: list(text),
});

const packageSummary = z.object({
  name: text,
  description: text.describe("The first line of the description."),
  section: optional(text),
  source: text,
  suites: list(z.object({ suite: text, version: text, components: list(text), architectures: list(text) })),
  uploadedSeconds: optional(seconds),
});

export const foundPage = pageOf(packageSummary).extend({
  hasMoreThanTotal: z.boolean().describe("Whether more packages match than are listed."),
});

const person = z.object({ name: text, email: optional(text) });
const sourceVersion = z.object({ name: text, version: text });
const relationField = z.object({
  field: z.enum([...relationFields, ...sourceRelations]),
  groups: list(
    list(
      z.object({
        name: text,
        qualifier: optional(text),
        restriction: text,
        resolved: z.enum(["package", "provided", "elsewhere", "unknown"]),
        providers: list(text),
      }),
    ),
  ).describe("Each group is a list of alternatives, one of which suffices."),
});
const paragraph = z.object({ kind: z.enum(["text", "verbatim"]), text });
const packageFile = z.object({
  architecture: text,
  path: text.describe("Below the URL of the repository."),
  sizeBytes: count,
  installedBytes: optional(count),
  sha256,
  uploadedSeconds: optional(seconds),
  builder,
  isForInstaller: z.boolean(),
});
const packageVersion = z.object({
  suite: text,
  component: text,
  version: text,
  source: sourceVersion,
  section: optional(text),
  priority: optional(text),
  isEssential: z.boolean(),
  maintainer: optional(person),
  homepage: optional(text),
  description: optional(z.object({ short: text, paragraphs: list(paragraph) })),
  relations: list(relationField),
  files: list(packageFile),
  phasedPercent: optional(z.number().min(0).max(100)),
});
export const dependent = z.object({
  name: text,
  suite: text,
  version: text,
  field: z.enum([...relationFields, ...sourceRelations]),
  on: text,
});
const rejectCode = z.enum(Object.keys(rejectAdvice) as [RejectCode, ...RejectCode[]]);
const hiddenPackage = z.object({
  suite: text,
  version: optional(text),
  architecture: optional(text),
  path: text.describe("In the tree."),
  reason: z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("view") }),
    z.object({ kind: z.literal("rejected"), code: rejectCode, text, advice: text }),
    z.object({ kind: z.literal("pending"), missing: list(text) }),
  ]),
});
export const packageDetail = z.object({
  name: text,
  newest: optional(packageVersion),
  suites: list(
    z.object({
      suite: text,
      versions: list(packageVersion),
      moreVersions: count.describe("The number of older versions that are not listed here."),
    }),
  ),
  dependents: cutOf(dependent),
  hidden: cutOf(hiddenPackage),
  earlier: cutOf(
    z.object({
      suite: text,
      version: text,
      architecture: text,
      component: text,
      snapshot: text,
      snapshotSeconds: seconds,
    }),
  ),
});
export const fileListing = z.object({ package: text, version: text, architecture: text, paths: cutOf(text) });
export const changelog = z.object({ text, isCut: z.boolean() });

const sourcePackageVersion = z.object({
  suite: text,
  component: text,
  version: text,
  section: optional(text),
  maintainer: optional(person),
  uploaders: list(person),
  homepage: optional(text),
  vcsBrowser: optional(text),
  standardsVersion: optional(text),
  architectures: list(text),
  binaries: list(text),
  relations: list(relationField),
  files: list(z.object({ name: text, path: text, sizeBytes: count, sha256 })),
  uploadedSeconds: optional(seconds),
  builder,
});
export const sourceDetail = z.object({
  name: text,
  suites: list(z.object({ suite: text, versions: list(sourcePackageVersion) })),
  binaries: cutOf(z.object({ name: text, suite: text, version: text })),
});

const builderFields = {
  directory: text,
  packages: count,
  rejects: count,
  pending: count,
  lastUploadSeconds: optional(seconds),
};
export const builders = z.object({ builders: list(z.object(builderFields)) });
export const upload = z.object({
  name: text,
  isSource: z.boolean(),
  suite: text,
  component: text,
  version: text,
  architecture: text.describe("`source` for a source package."),
  description: text.describe("The first line of the description."),
  uploadedSeconds: optional(seconds),
  builder,
  sizeBytes: count,
  sha256,
});
export const reject = z.object({
  path: text.describe("In the tree."),
  suite: optional(text),
  builder,
  code: rejectCode,
  reason: text,
  advice: text,
});
export const pendingUpload = z.object({ path: text, builder, missing: list(text), isBeingInspected: z.boolean() });
export const builderDetail = z.object({
  ...builderFields,
  uploads: cutOf(upload),
  rejected: cutOf(reject),
  waiting: cutOf(pendingUpload),
  budgets: list(
    z.object({
      limitKey: z.enum(["max_directory_packages", "max_directory_index_bytes", "max_directory_variants"]),
      used: count,
      limit: count,
    }),
  ),
});

const listedVersion = z.object({ name: text, component: text, version: text, architecture: text });
export const snapshot = z.object({
  suite: text,
  id: text,
  servedSeconds: seconds,
  isCurrent: z.boolean(),
  pins: list(text),
  binaryPackages: count,
  sourcePackages: count,
  changes: optional(z.object({ added: cutOf(listedVersion), removed: cutOf(listedVersion) })),
});
const diffSide = z.object({ suite: text, snapshot: text, isCurrent: z.boolean(), dateSeconds: seconds });
const difference = z.object({
  kind: z.enum(["added", "removed", "changed"]),
  name: text,
  component: text,
  architecture: text,
  before: list(text),
  after: list(text),
});
export const diff = pageOf(difference).extend({
  from: diffSide,
  to: diffSide,
  counts: z.object({ added: count, removed: count, changed: count }),
});

export const health = z.object({
  notReady: optional(text),
  lastError: optional(text),
  notices: list(text),
  suites: list(
    z.object({
      suite: text,
      publishedSeconds: seconds,
      validUntilSeconds: optional(seconds),
      isAwaitingDeferredFiles: z.boolean(),
      rolledBackTo: optional(text),
    }),
  ),
  keys: list(z.object({ fingerprint: text, expiresSeconds: optional(seconds) })),
  rejects: count,
  pending: count,
  grid: optional(
    z.object({
      gateways: list(z.object({ number: count, isReachable: z.boolean() })),
      lastCheck: optional(
        z.object({ endedSeconds: z.number(), healthy: count, unhealthy: count, lost: count, unchecked: count }),
      ),
    }),
  ),
});

/** An error. @see RFC 9457 */
export const problem = z.object({
  type: text.describe("`about:blank`: the code says more."),
  title: text,
  status: z.int(),
  code: text.describe("Stable, for programs."),
  detail: text,
});
