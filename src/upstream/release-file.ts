// Reads a Release of another repository: checks its signature, its dates and its form.
import type { Key } from "openpgp";
import { messageOf } from "../base/errors.ts";
import { parseStanza } from "../debian/deb822.ts";
import { fieldOf } from "../debian/stanza.ts";
import { listedFiles } from "../indices/named-files.ts";
import { maxReleaseBytes } from "../indices/release.ts";
import type { Verdict } from "../signing/verify.ts";
import type { RepositoryFiles } from "./repository-files.ts";
import { readWhole } from "./repository-files.ts";
import { UnusableRepository } from "./unusable-repository.ts";

/** Which Releases to accept. */
export interface ReleaseTrust {
  /** One of these keys must have signed it; undefined: no signature is required. */
  readonly keys: readonly Key[] | undefined;
  /** Whether its Valid-Until may be over. */
  readonly mayBeExpired: boolean;
  /** Whether its Suite and Codename may be those of another suite than its directory's. */
  readonly mayBeOtherSuite: boolean;
}

/** The size and digest that a Release lists for a file. */
export interface ListedIndex {
  readonly sizeBytes: number;
  readonly sha256: string;
}

export interface UpstreamRelease {
  /** The directory of the Release, relative to the repository's root; "" for the root. */
  readonly directory: string;
  /** The fields by which clients recognise it; "" for those that it lacks. */
  readonly identity: { readonly [Field in "origin" | "label" | "suite" | "codename"]: string };
  readonly dateMs: number;
  /** Whether the files are also in `by-hash` directories. */
  readonly byHash: boolean;
  /** By path relative to `directory`. */
  readonly files: ReadonlyMap<string, ListedIndex>;
  /** The fingerprints of the keys with good signatures. */
  readonly signedBy: readonly string[];
  /** The signed text, to see whether a later Release is the same. */
  readonly text: string;
}

/** How far the clock of the repository may be ahead, in ms: as much as apt allows. */
const allowedAheadMs = 10_000;
const limits = { maxStanzaBytes: maxReleaseBytes, maxFields: 200, maxFieldNameBytes: 1024 } as const;
/** The number of files that one Release may list. Debian's lists 4,000. */
const maxListedFiles = 200_000;

/**
 * Reads and verifies the Release of a suite.
 * @param directory `dists/SUITE`, or the directory of a flat repository
 * @throws UnusableRepository; errors of reading the repository
 */
export async function readRelease(
  files: RepositoryFiles,
  directory: string,
  { keys, mayBeExpired, mayBeOtherSuite }: ReleaseTrust,
  nowMs: number,
): Promise<UpstreamRelease> {
  const { path, text, signedBy } = await verifiedText(files, directory, keys, new Date(nowMs + allowedAheadMs));
  const malformed = (why: string) => new UnusableRepository("upstream/malformed", path, why);
  let stanza: ReturnType<typeof parseStanza>;
  try {
    stanza = parseStanza(Buffer.from(text), limits);
  } catch (thrown) {
    throw malformed(messageOf(thrown));
  }
  const field = (name: string): string => fieldOf(stanza, name) ?? "";
  const dateMs = Date.parse(field("Date"));
  if (!Number.isFinite(dateMs)) throw malformed("it has no valid Date");
  if (dateMs > nowMs + allowedAheadMs)
    throw new UnusableRepository(
      "upstream/not-yet-valid",
      path,
      `its Date, ${field("Date")}, is in the future: correct the clock of this machine or of the one that signed it`,
    );
  const validUntil = field("Valid-Until");
  const validUntilMs = Date.parse(validUntil);
  if (validUntil !== "" && !Number.isFinite(validUntilMs)) throw malformed("its Valid-Until is not a date");
  if (validUntilMs < nowMs && !mayBeExpired)
    throw new UnusableRepository(
      "upstream/expired",
      path,
      `it expired on ${validUntil}: its publisher must renew it; --allow-expired accepts it, e.g. for an archive`,
    );
  const [suite, codename] = [field("Suite"), field("Codename")];
  if (!mayBeOtherSuite && isOtherSuite(directory, [suite, codename]))
    throw new UnusableRepository(
      "upstream/other-suite",
      path,
      `its Suite is ${JSON.stringify(suite)} and its Codename ${JSON.stringify(codename)}: somebody may present another suite, with a good signature; --allow-other-suite accepts it`,
    );
  const listed = new Map<string, ListedIndex>();
  for (const file of listedFiles(field("SHA256"))) {
    listed.set(file.path.replace(/^\.\//, ""), { sizeBytes: file.sizeBytes, sha256: file.sha256 });
    if (listed.size > maxListedFiles) throw malformed(`it lists more than ${maxListedFiles} files`);
  }
  if (listed.size === 0) throw malformed("it lists no files with SHA256, which a client needs");
  return {
    directory,
    identity: {
      origin: field("Origin"),
      label: field("Label"),
      suite,
      codename,
    },
    dateMs,
    byHash: /^yes$/i.test(field("Acquire-By-Hash")),
    files: listed,
    signedBy,
    text,
  };
}

/** Accepts what apt accepts without a warning. @param names Suite and Codename; "" for those that it lacks */
function isOtherSuite(directory: string, names: readonly string[]): boolean {
  const [, asked] = /^dists\/(.+)$/.exec(directory) ?? [];
  if (asked === undefined || names.every((name) => name === "")) return false;
  // The Release in dists/buster/updates has the Codename buster.
  const withoutLast = asked.replace(/\/[^/]*$/, "");
  return ![asked, withoutLast].some((name) => names.includes(name));
}

interface VerifiedText {
  readonly path: string;
  readonly text: string;
  readonly signedBy: readonly string[];
}

async function verifiedText(
  files: RepositoryFiles,
  directory: string,
  keys: readonly Key[] | undefined,
  now: Date,
): Promise<VerifiedText> {
  const at = (name: string): string => (directory === "" ? name : `${directory}/${name}`);
  const read = async (name: string): Promise<string | undefined> => {
    const bytes = await readWhole(files, at(name), maxReleaseBytes);
    if (bytes !== undefined && bytes.length > maxReleaseBytes)
      throw new UnusableRepository("upstream/malformed", at(name), `it is longer than ${maxReleaseBytes} bytes`);
    return bytes?.toString();
  };
  const inRelease = await read("InRelease");
  if (inRelease !== undefined) {
    const { verifyInRelease } = await signatures();
    const verdict = await verifyInRelease(inRelease, keys ?? [], now);
    return { path: at("InRelease"), ...signed(verdict, at("InRelease"), keys) };
  }
  const release = await read("Release");
  if (release === undefined)
    throw new UnusableRepository(
      "upstream/absent",
      at("InRelease"),
      "there is neither InRelease nor Release: check the address of the repository and the name of the suite",
    );
  if (keys === undefined) return { path: at("Release"), text: release, signedBy: [] };
  const signature = await read("Release.gpg");
  if (signature === undefined)
    throw new UnusableRepository(
      "upstream/bad-signature",
      at("Release"),
      "it has no signature: neither InRelease nor Release.gpg is there; --allow-unsigned accepts it",
    );
  const { verifyDetached } = await signatures();
  const verdict = await verifyDetached(release, signature, keys, now);
  return { path: at("Release"), ...signed(verdict, at("Release.gpg"), keys) };
}

/** Loads openpgp when it is needed: without signatures, the rest of an import starts earlier. */
const signatures = async () => await import("../signing/verify.ts");

function signed(
  { goodFingerprints, complaints, text }: Verdict,
  path: string,
  keys: readonly Key[] | undefined,
): Omit<VerifiedText, "path"> {
  if (keys === undefined && text !== undefined) return { text, signedBy: [] };
  if (text !== undefined && goodFingerprints.length > 0) return { text, signedBy: [...new Set(goodFingerprints)] };
  throw new UnusableRepository(
    "upstream/bad-signature",
    path,
    `no key of the keyring has signed it (${complaints.join("; ") || "it has no signature"}): get the publisher's present key`,
  );
}
