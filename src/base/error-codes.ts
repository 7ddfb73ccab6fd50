// All error codes in one table, so that the compiler finds another table of codes that is not complete.

/** What a code means, and what whoever meets it can do. The reference of error codes is made of these texts. */
interface CodeDocumentation {
  readonly meaning: string;
  readonly advice: string;
}

const code = (meaning: string, advice: string): CodeDocumentation => ({ meaning, advice });

export const errorCodes = {
  // Requests that the HTTP server refuses, and the state of the server.
  "request/malformed": code(
    "The path, the query, the body or a header of the request is not valid.",
    "Correct the request as the message says.",
  ),
  "request/unauthorized": code(
    "A password or token is missing or wrong.",
    "apt: correct `/etc/apt/auth.conf.d`. Builders: ask the operator for a new bundle.",
  ),
  "request/forbidden": code(
    "The token of a ping is for another directory.",
    "Ping the directory that the bundle names.",
  ),
  "request/not-found": code(
    "The path is in no publication, and not in the tree.",
    "Check the address. A file that was just uploaded appears with the next publication.",
  ),
  "request/method": code(
    "The method is not allowed for this path; the header `Allow` lists those that are.",
    "Use one of these.",
  ),
  "request/timeout": code("The request did not arrive in time.", "Look for a slow network or proxy."),
  "request/precondition": code(
    "The file has changed since the request's `If-Match` or `If-Unmodified-Since`.",
    "Fetch it again without the condition.",
  ),
  "request/too-long": code("The request target has more than 8 KiB.", "Shorten the query."),
  "request/range": code("The requested range is outside of the file.", "Fetch the whole file."),
  "request/rate": code(
    "Too many wrong passwords from one address, or too many pings with one token.",
    "Wait as long as `Retry-After` says. See `failed_logins_per_minute` and `pings_per_minute`.",
  ),
  "request/headers-too-large": code(
    "The headers of the request are too large.",
    "Send fewer or shorter headers and cookies.",
  ),
  "request/not-implemented": code("The server does not know the method.", "Use GET or HEAD; POST for pings."),
  "server/not-ready": code(
    "Something is not there yet: the first publication, or the index for searches.",
    "Try again after the time in `Retry-After`.",
  ),
  "server/slow-source": code(
    "The storage sent no byte of a package within `first_byte_timeout_seconds`.",
    "Clients try again. If it lasts, look at the gateway and the grid.",
  ),
  "server/listen-failed": code(
    "The server cannot listen on its address.",
    "Stop the program that uses the port, or change `listen`.",
  ),
  // An HTTP reply has it in place of the code of an error whose status is 500.
  "server/internal": code(
    "An error that no request should meet. The response hides its code and text.",
    "Find the line of the log with the same request id, and report it.",
  ),
  // Values that every part uses.
  "name/malformed": code(
    "A text cannot be the name of a suite, component, architecture, package or path.",
    "Correct the name that the message quotes.",
  ),
  "limit/exceeded": code(
    "Something is larger than a limit of the configuration.",
    "Raise the key that the message names, if you trust what exceeds it.",
  ),
  "state/unwritable": code(
    "The state directory cannot be written, mostly because the disk is full.",
    "Make room. The server tries again by itself.",
  ),
  "state/in-use": code("Another server uses the state directory.", "Stop it, or give this one its own `state`."),
  "state/corrupt": code(
    "The database is corrupt.",
    "Start the server again: it sets the database aside and rebuilds it from the tree.",
  ),
  "state/too-new": code(
    "A newer version of the program has written the state directory.",
    "Install that version again, or restore a backup of the older one.",
  ),
  "state/restore-unfinished": code(
    "A restore into this state directory was interrupted.",
    "Run the same `tahoe-apt restore` again.",
  ),
  "state/secret-file": code(
    "A file with a generated secret is empty or cannot be read.",
    "Put the secret back from a backup, or remove the file: a new secret is made.",
  ),
  // The storage that holds the tree.
  "storage/full": code(
    "The file system of a folder has no space left.",
    "Make room, then run the same command again, which continues.",
  ),
  "storage/gone": code("A file is linked, but the storage no longer has it.", "Upload it again."),
  "storage/unavailable": code(
    "The grid, the gateway or the folder does not respond, or fails.",
    "Start the gateway, or wait for the grid. The server tries again by itself.",
  ),
  "storage/bad-cap": code(
    "A text is not a cap of the needed kind.",
    "Put the complete cap of a directory into the file that the message names.",
  ),
  "storage/bad-certificate": code(
    "A file has no valid certificates in PEM.",
    "Name the certificate of the authority in `gateway_ca_file`.",
  ),
  "storage/bad-webapi-url": code(
    "A text is not the URL of a gateway.",
    "Write it as `http://127.0.0.1:3456`, without a cap.",
  ),
  // Debian's file formats.
  "debian/malformed": code(
    "A package or control file does not have Debian's format.",
    "Build the package again as the message says.",
  ),
  "debian/relations": code(
    "A field such as Depends cannot be parsed.",
    "Correct it at the place that the message names.",
  ),
  "debian/version": code("A version is not valid in Debian.", "Correct the version."),
  "debian/deb822": code("A control file cannot be parsed.", "Correct the line that the message names."),
  // Indices and signatures.
  "indices/unwritable": code(
    "A value cannot be written into an index without changing its meaning.",
    "Remove the package that the message names, and report the error.",
  ),
  "indices/xz-form": code(
    "A compressed piece of an index is damaged.",
    "Report it with the log. The index is compressed anew.",
  ),
  "signing/key-file": code(
    "The file of a signing key cannot be read or written, or is empty.",
    "Put the key back from a backup. Only without clients, remove the file to get a new key.",
  ),
  "signing/unfit-key": code(
    "A key cannot sign, or apt would reject its signatures.",
    "Follow the message: it names the file, and what to change.",
  ),
  // The servers that share a Valkey.
  "cluster/unavailable": code(
    "The Valkey that the servers share does not respond.",
    "Start it, or look at the network. The server tries again by itself.",
  ),
  "cluster/lease-lost": code(
    "Another server of the fleet publishes the repository now.",
    "Nothing: that one publishes the same changes.",
  ),
  // The catalog of packages.
  "catalog/inspector-failed": code(
    "The process that reads packages ended unexpectedly.",
    "The server tries again. If it lasts, look for missing memory, and report it.",
  ),
  "catalog/bad-override": code(
    "A rule of an override is not valid.",
    "Correct the field or value that the message names.",
  ),
  // Publications: building, storing and serving them.
  "publishing/not-seen-yet": code(
    "The server has not listed this part of the tree yet.",
    "Try again after the time in `Retry-After`.",
  ),
  "publishing/busy": code(
    "Too many pings of one directory, or requests for changelogs, wait already.",
    "Try again later; ping once for several uploads.",
  ),
  "publishing/changelog-unreadable": code(
    "The changelog of a package could not be read, or not in time.",
    "Try again. See `[limits.changelog]`.",
  ),
  "publishing/clock-behind": code(
    "The server's clock is behind the `Date` that clients have seen, so nothing is published.",
    "Set the clock.",
  ),
  "publishing/blob-missing": code(
    "The state directory lacks a file of a publication.",
    "Check the disk, and restart the server. The next publication has all files.",
  ),
  "publishing/segment-missing": code(
    "The state directory lacks a part of an index.",
    "Check the disk, and restart the server. The next publication has all parts.",
  ),
  "publishing/damaged": code(
    "A stored index differs from its digest, and is not served.",
    "Check the disk. The server starts again with another database.",
  ),
  "publishing/identity-changed": code(
    "Origin, Label, Codename or the pin of a suite differs from what clients know, so apt would ask.",
    "Undo the change, or start once with `--accept-identity-change`.",
  ),
  "publishing/no-such-past": code(
    "The named publication, pin or rollback does not exist.",
    "`tahoe-apt snapshot list` shows those that do.",
  ),
  "content/mismatch": code(
    "The bytes of a package differ from those in the index.",
    "The server inspects the package again. Upload it again if it lasts.",
  ),
  "cache/unwritable": code(
    "The package cache cannot be written.",
    "Make room on the disk. Packages are served without the cache meanwhile.",
  ),
  // Exports of a publication.
  "publishing/publish-incomplete": code(
    "A file was not available while the indices were written into the tree.",
    "It is tried again after the next publication, or run `tahoe-apt publish` again.",
  ),
  "publishing/export-incomplete": code(
    "A file was not available, or not valid, while a site was written.",
    "It is tried again after the next publication, or run `tahoe-apt export` again.",
  ),
  "publishing/no-write-cap": code(
    "The bundle has no write cap for a directory that gets an index.",
    "Use the owner's bundle, or add the cap that the message names.",
  ),
  "publishing/foreign-site": code(
    "The directory has the site of another repository.",
    "Give each repository a directory of its own.",
  ),
  // Commands.
  "usage/wrong-arguments": code("An option or argument of the command is wrong.", "See `tahoe-apt COMMAND --help`."),
  "configuration/invalid": code(
    "The configuration, or a value of an option, is not valid.",
    "Correct all mistakes that are listed; `tahoe-apt check FILE` shows them again.",
  ),
  "backup/failed": code("The state could not be read completely.", "Repeat the command."),
  "backup/refused": code("A file exists already, is missing, or cannot be read or written.", "Follow the message."),
  "backup/unusable": code("The file is not a complete backup.", "Use another one."),
  "operator/choice-needed": code(
    "There are several repositories or suites.",
    "Name one with `--repository` or `--suite`.",
  ),
  "operator/refused": code("The server, or the state, does not allow the command now.", "Follow the message."),
  "builder/bad-bundle": code(
    "The file is not a valid bundle.",
    "Use the complete file from `tahoe-apt init` or `builder add`.",
  ),
  "builder/bad-pattern": code(
    "A pattern of packages is not valid.",
    "Write it as `NAME`, `NAME=VERSION`, `src:NAME` or `src:NAME=VERSION`.",
  ),
  "builder/file-changed": code("A file changed while it was uploaded.", "Wait until it is complete, and upload again."),
  "builder/listing-unknown": code(
    "The server did not say in time which files it lists, so nothing was changed.",
    "Try again when the server answers.",
  ),
  "builder/outside-bundle": code(
    "The bundle does not open a directory that would be changed.",
    "Use the bundle of its builder or of the owner.",
  ),
  "builder/overtaken": code("Somebody else changed the directory since the plan was made.", "Run the command again."),
  "builder/ping-refused": code(
    "The server refused the ping, or is not tahoe-apt.",
    "Check `ping_url` and the token in the bundle; ask the operator.",
  ),
  "owner/no-tree": code("The directory was not made by `tahoe-apt init`.", "Name it with `--dir`."),
  // Repositories to import from.
  "upstream/absent": code(
    "The repository has no such suite, or lists a file that it does not have.",
    "Check the address and the suite. If the repository was just being published, try again later.",
  ),
  "upstream/bad-signature": code(
    "No key of the keyring has signed the Release.",
    "Get the publisher's present key from a place that you trust.",
  ),
  "upstream/expired": code(
    "The Release is older than its publisher allows.",
    "Ask the publisher to renew it. `--allow-expired` accepts it, for example for an archive.",
  ),
  "upstream/malformed": code(
    "A Release or an index of the repository cannot be read.",
    "Tell the publisher what the message says.",
  ),
  "upstream/mismatch": code(
    "A file of the repository differs in size or SHA256 from what is listed.",
    "If the repository was just being published, try again later. Otherwise its publisher must repair it.",
  ),
  "upstream/not-yet-valid": code(
    "The Date of the Release is in the future.",
    "Correct the clock of this machine, or of the one that signed it.",
  ),
  "upstream/older": code(
    "The Release is older than the last imported one: somebody may be hiding updates.",
    "Use another mirror. `--allow-older` accepts it if the publisher went back on purpose.",
  ),
  "upstream/other-suite": code(
    "The Release names another suite than the one that was asked for: somebody may present it in its place.",
    "Check the address and the suite. `--allow-other-suite` accepts it if the publisher names it so.",
  ),
  "upstream/outside": code(
    "A symbolic link leads out of the source, or out of the folder that an import changes.",
    "Replace the link by the file or directory itself, or give a directory that contains both.",
  ),
  "verify/nothing": code(
    "The tree has nothing to compare the server with.",
    "Check the address, the suite and the cap.",
  ),
  "verify/site-unavailable": code(
    "The server does not respond, or sends something invalid.",
    "Check the URL, and try again.",
  ),
  // The local test grid.
  "demo/failed": code("A step of the demonstration failed.", "The message has the output of the step."),
  "demo/no-packages": code(
    "There are no packages for this machine in the directory.",
    "Build them with `npm run package`.",
  ),
  "grid/failed": code("The Tahoe node did not start, or ended.", "The message has the last lines of its log."),
  "grid/install-failed": code("Tahoe-LAFS could not be installed.", "The message has the output of pip."),
  "grid/tool-missing": code("A program is missing.", "Install the Debian package that the message names."),
  "start/no-grid": code("Tahoe-LAFS is not there and cannot be installed.", "Follow the message, or use `--folder`."),
  "start/running": code("Another `npm start` uses the directory.", "Stop it, or use it."),
  "start/not-published": code(
    "The first package did not reach the repository.",
    "Look at the output above, and start again.",
  ),
  // Anything thrown that is not a RepoError.
  unknown: code("An error without a code of its own.", "Read the message. If it does not help, report it."),
} as const;

/**
 * The stable code of an error: `AREA/CASE`. Codes are part of the public interface: they appear in HTTP replies, in the
 * output of `--json`, in logs and as the label `code` of metrics.
 */
export type ErrorCode = keyof typeof errorCodes;
