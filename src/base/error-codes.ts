// All error codes in one union, so that the compiler finds a table of codes that is not complete.

/**
 * The stable code of an error: `AREA/CASE`. Codes are part of the public interface: they appear in HTTP replies, in the
 * output of `--json`, in logs and as the label `code` of metrics.
 */
export type ErrorCode =
  // Requests that the HTTP server refuses, and the state of the server.
  | "request/malformed"
  | "request/unauthorized"
  | "request/forbidden"
  | "request/not-found"
  | "request/method"
  | "request/timeout"
  | "request/precondition"
  | "request/too-long"
  | "request/range"
  | "request/rate"
  | "request/headers-too-large"
  | "request/not-implemented"
  | "server/not-ready"
  | "server/slow-source"
  | "server/listen-failed"
  /** An HTTP reply has it in place of the code of an error whose status is 500. */
  | "server/internal"
  // Values that every part uses.
  | "name/malformed"
  | "limit/exceeded"
  | "state/unwritable"
  | "state/in-use"
  | "state/corrupt"
  | "state/too-new"
  | "state/restore-unfinished"
  | "state/secret-file"
  // The storage that holds the tree.
  | "storage/gone"
  | "storage/unavailable"
  | "storage/bad-cap"
  | "storage/bad-certificate"
  | "storage/bad-webapi-url"
  // Debian's file formats.
  | "debian/malformed"
  | "debian/relations"
  | "debian/version"
  | "debian/deb822"
  // Indices and signatures.
  | "indices/unwritable"
  | "indices/xz-form"
  | "signing/key-file"
  | "signing/unfit-key"
  // The servers that share a Valkey.
  | "cluster/unavailable"
  // The catalog of packages.
  | "catalog/inspector-failed"
  | "catalog/bad-override"
  // Publications: building, storing and serving them.
  | "publishing/not-seen-yet"
  | "publishing/busy"
  | "publishing/changelog-unreadable"
  | "publishing/clock-behind"
  | "publishing/blob-missing"
  | "publishing/segment-missing"
  | "publishing/damaged"
  | "publishing/identity-changed"
  | "publishing/no-such-past"
  | "content/mismatch"
  | "cache/unwritable"
  // Exports of a publication.
  | "publishing/publish-incomplete"
  | "publishing/export-incomplete"
  | "publishing/no-write-cap"
  | "publishing/foreign-site"
  // Commands.
  | "usage/wrong-arguments"
  | "configuration/invalid"
  | "backup/failed"
  | "backup/refused"
  | "backup/unusable"
  | "operator/choice-needed"
  | "operator/refused"
  | "builder/bad-bundle"
  | "builder/bad-pattern"
  | "builder/file-changed"
  | "builder/listing-unknown"
  | "builder/outside-bundle"
  | "builder/overtaken"
  | "builder/ping-refused"
  | "owner/no-tree"
  | "verify/nothing"
  | "verify/site-unavailable"
  // The local test grid.
  | "demo/failed"
  | "demo/no-packages"
  | "grid/failed"
  | "grid/install-failed"
  | "grid/tool-missing"
  | "start/no-grid"
  | "start/running"
  | "start/not-published"
  /** Anything thrown that is not a RepoError. */
  | "unknown";
