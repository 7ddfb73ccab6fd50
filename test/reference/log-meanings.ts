// What each message of the server's log means, for the reference. A test compares the messages with the source.

export interface LogMeaning {
  readonly meaning: string;
  /** Fields that the source does not name where it logs. */
  readonly fields?: readonly string[];
}

/** The fields of a file that no index lists. */
const rejected = ["path", "code", "reason"];

/** By message; `…` stands for a part that varies. */
export const logMeanings: Readonly<Record<string, LogMeaning>> = {
  "a worker could not be started": { meaning: "For the reason in `error`. It is tried again." },
  "a worker ended: another one is started": {
    meaning: "It ended by itself, with the exit code or signal in `how`. Clients lose their connections to it.",
  },
  "a worker hangs: it is ended": { meaning: "It has not reported for ten seconds. Another one is started." },
  "Valkey is away": { meaning: "The Valkey that the servers share does not respond. It is logged once." },
  "Valkey is back": { meaning: "It responds again." },
  "a directory could not be listed": {
    meaning: "This part of the tree cannot be read; what was published of it stays. `up to date again` follows.",
    fields: rejected,
  },
  "a file does not match a prebuilt index": {
    meaning: 'With `indices = "prebuilt"`: a package or index differs from what the index in the tree says.',
    fields: rejected,
  },
  "a file of the package cache could not be removed": { meaning: "It stays on the disk. Check the permissions." },
  "a file of the package cache is damaged: it is fetched again": {
    meaning: "The disk has changed the file. It is never served.",
  },
  "a package could not be audited": {
    meaning: "Its bytes could not be compared with the metadata beside its link. It is tried again.",
  },
  "a package differs from its entry metadata": {
    meaning: "An uploader's metadata was wrong. The package is inspected, and listed as it is.",
  },
  "a path could not be surveyed": {
    meaning: "This part of the tree could not be read; what was published of it stays. `up to date again` follows.",
  },
  "a pin or rollback of another replica has no effect here yet": {
    meaning: "It is tried again every second.",
  },
  "a ping could not be answered yet": {
    meaning: "Valkey did not respond. The ping is noted there, and is answered later, perhaps by another replica.",
  },
  "a publication could not be announced to webhooks yet": { meaning: "It is tried again." },
  "a publication could not be renewed": {
    meaning: "`Valid-Until` of the suite was not extended. It is tried again; look at the disk.",
  },
  "a publication of another replica cannot be taken over yet": {
    meaning:
      "This replica counts as not ready, and the others do not wait for it, until it has taken over all publications.",
  },
  "all objects checked": {
    meaning:
      "A complete round over the grid has ended: how many objects are in each state, and how many leases renewed.",
    fields: ["healthy", "unhealthy", "lost", "unchecked", "repaired", "renewed"],
  },
  "cannot make sure that no other server uses the state directory": {
    meaning: "The file system cannot lock. Make sure yourself that only one server uses it.",
  },
  "cannot send messages to the service manager": {
    meaning: "systemd learns neither that the server is ready nor that it lives.",
  },
  "configuration reloaded": {
    meaning: "The keys in `changed` are in effect, and the repositories in `reopened` were opened again.",
  },
  "connections closed because of a limit": {
    meaning: "`limit` names the key, `times` how often since the last such line.",
  },
  "control command executed": { meaning: "A command such as `tahoe-apt snapshot rollback` acted on the server." },
  "could not be …: …": {
    meaning: "An export after a publication failed. The target keeps its previous state; it is tried again.",
  },
  "created a signing key: keep a copy of it, because clients trust only this key": {
    meaning: "The repository has no `signing_key_file`, and got a key of its own. Put it into a backup.",
  },
  "deferred files could not be generated": {
    meaning: "The suite is published without new Contents, pdiffs or variants. They are tried again.",
  },
  "deferred files were generated again": { meaning: "They are up to date after a failure." },
  "events of the webhook are dropped": {
    meaning: "Too many events waited, or one waited for too long; see `[limits.webhook]`.",
  },
  "listening on the sockets of the service manager instead of the key listen": {
    meaning: "systemd passed its sockets (`tahoe-apt.socket`).",
  },
  "not healthy": {
    meaning: "An object of the grid has too few shares, or none that can be read.",
    fields: ["storageIndex", "shares", "repaired", "why"],
  },
  "object check failed": { meaning: "The round over all objects was not complete. It is tried again within an hour." },
  "old publications could not be removed": { meaning: "They stay on the disk. It is tried again; look at the disk." },
  "other replicas do not prepare a publication": {
    meaning: "They respond, but are very slow. Nothing is published; the next refresh tries again. Look at their logs.",
  },
  "others may read the signing key: chmod 600": { meaning: "Other users of the machine can copy the key." },
  "past publications could not be exchanged with the other replicas yet": {
    meaning: "Clients that read a past publication may get 404 from this replica. It is tried again.",
  },
  "ping failed": { meaning: "A builder's ping without `?wait=` had no effect. `poll_seconds` makes up for it." },
  "prebuilt indices could not be checked": { meaning: "They are served all the same. It is tried again." },
  published: { meaning: "A suite has a new publication: how many files it added, removed and rejected." },
  "removed old publications": { meaning: "They were older than `keep_seconds`." },
  request: {
    meaning: "The access log. `path` is without the query, `bytes` of the body; `isCut` if the client left early.",
  },
  "request failed": {
    meaning: "An unexpected error: the response has status 500, or 503 if the database is damaged. Report it.",
  },
  "serving …": { meaning: "The repository can be reached at `url`; `keys` are the fingerprints of its signing keys." },
  "something in the tree is in no index": {
    meaning: "A file or directory was rejected, for `reason`. [Codes](error-codes.md#rejected-packages).",
    fields: rejected,
  },
  stopping: { meaning: "The server finishes the requests in progress, and ends." },
  "the activity of the repository could not be written": { meaning: "The plots on the page of health lack this time." },
  "the changelog of a package could not be read": { meaning: "apt gets an error for it; `why` says the reason." },
  "the configuration could not be reloaded: the previous one stays in effect": {
    meaning: "Correct the `mistakes`, and reload again.",
  },
  "the configuration of another replica differs": {
    meaning:
      "All replicas need the same settings. `differing` names those that are not equal, without their values. It is logged once for each replica and start.",
  },
  "the database could not be checked": { meaning: "It counts as sound." },
  "the database is corrupt: it is set aside, and rebuilt from the tree": {
    meaning: "Pins, rollbacks and snapshots are lost, unless a backup has them. Check the disk.",
  },
  "the database was not closed last time, and is sound": { meaning: "The last server was killed. Nothing is lost." },
  "the directory dists could not be listed": { meaning: "The server does not know the suites. It is tried again." },
  "the files of a package cannot be listed: Contents are generated without them": {
    meaning: "The package could not be read several times.",
  },
  "the index of packages could not be updated": { meaning: "Searches show an earlier state. It is tried again." },
  "the last Dates could not be read": {
    meaning: "The copy beside the database is damaged; the database has them too.",
  },
  "the last Dates could not be written": { meaning: "The copy beside the database is out of date. Look at the disk." },
  "the owner of a package name could not be stored": {
    meaning: 'With `package_owners = "first"`: after a restart, the tree decides again who was first.',
  },
  "the package cache cannot be written: packages are streamed without it": {
    meaning: "Mostly a full disk. Clients notice nothing but speed.",
  },
  "the publications of the other replicas cannot be taken over yet": {
    meaning: "This replica counts as not ready until it has taken them over. It is tried again every second.",
  },
  "the repository could not be started": { meaning: "The others are served. Look at the error." },
  "the state directory cannot be written": { meaning: "Mostly a full disk. What was published is served." },
  "the state of the webhooks cannot be read: what was not delivered is lost": {
    meaning: "`webhooks.json` is damaged. Receivers miss events.",
  },
  "the state of the webhooks could not be written": {
    meaning: "After a restart, receivers may get events twice, or miss some.",
  },
  "the suite could not be published": {
    meaning: "The last publication stays; mostly a full disk (`state/unwritable`). It is tried again.",
  },
  "the token that pings … is in this file": {
    meaning: "The repository has no builders, and got a token for pings of the whole tree.",
  },
  "the tree is away: what was published is still served": {
    meaning:
      "The directory `dists` cannot be listed: the gateway, the grid or the cap. It is logged once, and so are all " +
      "failures that follow from it.",
  },
  "the tree is back": { meaning: "It can be listed again, after `awaySeconds`." },
  "the version of the state directory could not be read": { meaning: "The server goes on as with its own version." },
  "the webhook failed, and is tried again": { meaning: "It is logged once, until it works again." },
  "the webhook works again": { meaning: "What waited was delivered." },
  "these keys have changed and need a restart to have an effect": {
    meaning: "A reload took over everything but these [keys](configuration.md).",
  },
  "this replica cannot publish: another one may": {
    meaning: "It could not read the tree. It gives its lease back, and tries again after some seconds.",
  },
  "this replica publishes now": {
    meaning: "It has the lease of the repository and has read the tree. The others take over what it publishes.",
  },
  "this signing key has expired and signs nothing any more": {
    meaning: "Clients reject the repository, unless another key signs too.",
  },
  "this signing key will expire: extend it, or add a second key that signs too": {
    meaning: "Within 60 days. It is logged each day.",
  },
  "too many failed logins: requests from this address are rejected for a minute": {
    meaning: "Somebody guesses passwords from `address`, or a client has an old one.",
  },
  "unhandled promise rejection": { meaning: "A bug. The server goes on; report it." },
  "up to date again": { meaning: "What `about` names could not be read or published before, and now is." },
  "uploads could not be counted": { meaning: "The plots on the page of health lack them." },
};

/** Messages whose text is made elsewhere, by the file below `src/` and the expression that is logged. */
export const varyingMessages: Readonly<Record<string, LogMeaning & { readonly shown: string }>> = {
  "cli.ts warning": {
    shown: "a warning about the configuration",
    meaning: "Valid, but unwise; as `tahoe-apt check` prints it.",
  },
  "server/reload.ts warning": {
    shown: "a warning about the configuration",
    meaning: "Valid, but unwise; as `tahoe-apt check` prints it.",
  },
  "server/offline-repository.ts complaint": {
    shown: "a complaint about a file that is read again",
    meaning: "`builders_file` or the overrides have a mistake. What was read before stays in effect.",
  },
  "server/repository-service.ts text": {
    shown: "a complaint about a file that is read again",
    meaning: "`builders_file` or the overrides have a mistake. What was read before stays in effect.",
  },
  "server/export-after-publish.ts done": {
    shown: "`exported` or `published into the tree`",
    meaning: "`export_directory`, or the indices in the tree, are up to date: how many files changed.",
    fields: ["numbers of files"],
  },
  "publishing/live/notices.ts text": {
    shown: "a notice about a suite or the tree",
    meaning:
      "The tree looks like that of another tool, has no packages, or lacks a configured suite. Also on the page.",
  },
};
