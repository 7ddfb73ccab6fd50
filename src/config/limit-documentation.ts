// What the reference says about each limit: which one a number without an explanation elsewhere bounds.
import type { Limits } from "./configuration.ts";
import type { KeyDocumentation } from "./key-documentation.ts";
import { since010 } from "./key-documentation.ts";

/** What the limits of a stage are for. */
export const stageDocumentation = {
  tree: since010("Requests to a grid."),
  webapi: since010("Requests to one gateway."),
  listing: since010("The listing of one directory of a grid."),
  folder: since010("Reading a local folder."),
  inspection: since010("The inspection of one package."),
  directory: since010(
    "The directory of one builder. Without builders, each directory directly below `binary-ARCH` or `source`.",
  ),
  changelog: since010("One changelog that apt asks for."),
  http: since010("Clients of the server."),
  webhook: since010("Receivers of webhooks."),
} as const satisfies Record<keyof Limits, KeyDocumentation>;

/** By the names of the limits in the code. */
export const limitDocumentation = {
  tree: {
    maxLooks: since010("Directories that are listed at the same time."),
    maxOpens: since010("Files that are read at the same time."),
    lookTimeoutMs: since010("The time for one listing, without the wait for its turn."),
  },
  webapi: {
    connectTimeoutMs: since010("The time until a connection is established."),
    firstByteTimeoutMs: since010(
      "The time until the first byte of a file arrives, including the wait for a free connection.",
    ),
    listingTimeoutMs: since010("The same for a listing, which Tahoe sends only after it has read the whole directory."),
    sendTimeoutMs: since010("During an upload, the time until the gateway accepts the next chunk."),
    writeTimeoutMs: since010("The time from the last byte of a change to the response."),
    minStoreBytesPerSecond: since010(
      "How fast Tahoe is expected to store an upload: its size, divided by this, is added to `write_timeout_seconds`.",
    ),
    stallTimeoutMs: since010("The time between two chunks of a response while somebody waits for them."),
    minBytesPerSecond: since010("A response that is slower than this for `stall_timeout_seconds` is requested again."),
    hedgeAfterMs: since010("A file without a first byte after this time is requested a second time, in parallel."),
    hedgeListingAfterMs: since010("The same for a listing."),
    maxHedges: since010("Such second requests at the same time."),
    maxSockets: since010("Connections at the same time."),
    doubtAfterMs: since010(
      "After this time without a response, a small request checks whether the gateway responds at all.",
    ),
    unresponsiveAfterMs: since010(
      "A gateway that did not respond for this time gets no requests until it responds again.",
    ),
  },
  listing: {
    maxListingBytes: since010("The listing of a directory as JSON: about 700 bytes per entry, plus its metadata."),
    maxEntries: since010("Entries of a directory."),
    maxMetadataBytes: since010("The metadata of an entry as JSON; if it is longer, the file itself is read."),
    maxLargeListings: since010("Listings of more than 4 MiB that are read at the same time, in total."),
  },
  folder: {
    maxEntries: since010("Entries of a directory."),
    maxLooks: since010("Directories that are listed at the same time; each holds a file descriptor."),
    maxStatThreads: since010(
      "Threads that read the metadata of files in large directories; each takes about 12 MB of memory.",
    ),
    parallelLinks: since010("Symbolic links that are followed at the same time."),
    chunkBytes: since010("The size of one read."),
  },
  inspection: {
    maxFileBytes: since010("The size of a file."),
    maxArMembers: since010("Members of a .deb."),
    maxControlEntries: since010("Entries of the control archive."),
    maxDecompressedBytes: since010("The size of the control archive, decompressed."),
    maxDataEntries: since010(
      "Entries of the data archive, including directories; a name of more than 100 bytes counts twice.",
    ),
    maxDataBytes: since010("The size of the data archive, decompressed."),
    maxDataRatio: since010(
      "The size of a decompressed member divided by its compressed size, beyond `any_ratio_bytes`. The highest in " +
        "Debian 12 is 228.",
    ),
    anyRatioBytes: since010("The size of a decompressed member that is always allowed."),
    maxFileListBytes: since010("The paths of all files of one package together."),
    maxFileListEntries: since010("Files of one package."),
    maxDecoderBytes: since010("The memory of one decoder; `xz -9` and `zstd --ultra` need 65 and 128 MiB."),
    maxStanzaBytes: since010(
      "The stanza of a binary package in an index. The longest in Debian 12 has 76 kB; apt fails at 1 MiB, so no " +
        "setting allows that.",
    ),
    maxSourceStanzaBytes: since010(
      "The same for a source package, and for a .changes or .buildinfo. The longest in Debian 12 has 398 kB.",
    ),
    maxFields: since010("Fields of one stanza."),
    maxFieldNameBytes: since010("The length of the name of a field."),
    maxDscBytes: since010("The size of a .dsc, .changes or .buildinfo, including its signature."),
    maxSourceParts: since010("Files that one .dsc, .changes or .buildinfo lists."),
  },
  directory: {
    maxDirectoryPackages: since010(
      "Packages of the directory that a suite lists; those that were linked first stay, on every replica.",
    ),
    maxDirectoryIndexBytes: since010(
      "The stanzas of these packages together. All 63,440 packages of Debian 12's main for amd64 have 50 MB.",
    ),
    maxDirectoryVariants: since010(
      "Architecture variants for which it may have builds; each adds an index of the whole suite.",
    ),
  },
  changelog: {
    maxReadingMs: since010("The time for reading the changelog of one package."),
    maxChangelogBytes: since010("The size of the changelog; a longer one is truncated."),
  },
  http: {
    pingsPerMinute: since010("Pings with one token."),
    maxWaitSeconds: since010("`?wait=` of a ping; longer waits are reduced to this."),
    failedLoginsPerMinute: since010(
      "Wrong passwords from one address; an IPv6 network of 64 bits counts as one address.",
    ),
    maxConnections: since010("Connections from all addresses."),
    maxConnectionsPerAddress: since010("Connections from one address; ignored with `behind_proxy = true`."),
    maxPipelinedRequests: since010("Requests that wait for their turn on one connection."),
    headersTimeoutSeconds: since010(
      "The time from the start of a connection, or the first byte of a request, to the end of the headers.",
    ),
    mirrorIdleSeconds: since010(
      "How long a mirror may be silent and still get files of the publication that it started with.",
    ),
    mirrorSessionSeconds: since010("The same, counted from the Release that it started with, however busy it is."),
    maxMirrorSessions: since010(
      "Pairs of a mirror and a suite that are remembered; the longest silent ones are forgotten first.",
    ),
    firstByteTimeoutMs: since010("The time until the first byte of a package can be sent."),
  },
  webhook: {
    maxWaitingEvents: since010("Events that one webhook has not received; beyond that, the oldest are dropped."),
    maxEventAgeMs: since010("How long an event is tried."),
    firstDelayMs: since010(
      "The time from the first failure to the next attempt; it doubles with each further failure.",
    ),
    maxDelayMs: since010("The longest time between two attempts."),
  },
} as const satisfies { readonly [Stage in keyof Limits]: Readonly<Record<keyof Limits[Stage], KeyDocumentation>> };
