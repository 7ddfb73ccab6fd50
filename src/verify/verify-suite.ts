// Whether a public server tells the truth about a tree: signatures, indices and packages, held against what the tree gives.
import { createHash } from "node:crypto";
import pLimit from "p-limit";
import { LimitExceeded } from "../base/errors.ts";
import type { Suite } from "../base/names.ts";
import { listedFiles, namedFiles } from "../indices/named-files.ts";
import { maxReleaseBytes } from "../indices/release.ts";
import { directoryOf, hashPath } from "../publishing/store/publication.ts";
import { stanzaDifferences } from "./stanza-diff.ts";

/** One thing that is not as it should be. */
export interface Discrepancy {
  /**
   * `signature`; `absent`: a file that is listed or must be there is not; `bytes`: a file is not what its index says;
   * `missing`, `surplus`, `changed`: entries of an index against the tree's.
   */
  readonly code: "signature" | "absent" | "bytes" | "missing" | "surplus" | "changed";
  /** Below the repository's root. */
  readonly path: string;
  /** For people. */
  readonly text: string;
}

/** The server that is checked; nothing that it says is believed. Paths are below the repository's root. */
export interface VerifiedServer {
  /** @returns undefined where there is no such file @throws for what can't be asked, or is longer */
  read(path: string, maxBytes: number): Promise<Buffer | undefined>;
  /** Reads a file's first bytes, no more than asked for. */
  readStart(path: string, maxBytes: number): Promise<Buffer | undefined>;
  /** Reads a file to its end and keeps nothing. @param maxBytes it is not read further */
  measure(path: string, maxBytes: number): Promise<FileDigest | undefined>;
}

interface FileDigest {
  readonly sizeBytes: number;
  readonly sha256: string;
}

export interface VerificationOptions {
  readonly suite: Suite;
  readonly server: VerifiedServer;
  /** What the tree gives: a file of the suite as it should be, as text; undefined: there is none. */
  readonly expected: (path: string) => Promise<string | undefined>;
  /** The paths of the plain indices that the tree gives, below the suite. */
  readonly indices: readonly string[];
  /** What is wrong with the signatures of InRelease, or of Release by Release.gpg; nothing if all is well. */
  readonly signatures: (signed: SignedFiles) => Promise<readonly string[]>;
  /** How many packages are read and held against their index, evenly spread over it. */
  readonly maxPackages: number;
  readonly signal: AbortSignal;
  readonly progress?: (text: string) => void;
}

export interface SignedFiles {
  readonly inRelease: string;
  readonly release: string;
  readonly releaseGpg: string;
}

export interface Verification {
  readonly findings: readonly Discrepancy[];
  readonly indices: number;
  readonly packages: number;
}

/** The longest index that is compared: V8 has no longer strings. */
const maxIndexBytes = 2 ** 29 - 1024;
const maxPackageBytes = 64 * 1024 ** 3;
/** How many files are asked for at once. */
const concurrentRequests = 4;
/** How often it is begun again because the server published meanwhile. */
const maxAttempts = 3;
/** How many differences of one index are told one by one. */
const maxReportedPerIndex = 100;

/** @throws what the site throws */
export async function verifySuite(options: VerificationOptions): Promise<Verification> {
  for (let attempt = 1; ; attempt++) {
    const before = await options.server.read(`dists/${options.suite}/InRelease`, maxReleaseBytes);
    const verification = await verifyOnce(options);
    const after = await options.server.read(`dists/${options.suite}/InRelease`, maxReleaseBytes);
    const isSame = before === undefined ? after === undefined : after !== undefined && before.equals(after);
    if (verification.findings.length === 0 || isSame || attempt >= maxAttempts) return verification;
    options.progress?.(`${options.suite} was published anew meanwhile; once more`);
  }
}

async function verifyOnce(options: VerificationOptions): Promise<Verification> {
  const { suite, server, signal } = options;
  const findings: Discrepancy[] = [];
  const report = (code: Discrepancy["code"], path: string, text: string) => void findings.push({ code, path, text });
  const base = `dists/${suite}`;
  const texts = await Promise.all(
    ["InRelease", "Release", "Release.gpg"].map(async (name) => {
      const bytes = await server.read(`${base}/${name}`, maxReleaseBytes);
      if (bytes === undefined) report("absent", `${base}/${name}`, "is not there");
      return bytes?.toString();
    }),
  );
  const [inRelease, release, releaseGpg] = texts;
  if (inRelease === undefined || release === undefined || releaseGpg === undefined)
    return { findings, indices: 0, packages: 0 };
  for (const discrepancy of await options.signatures({ inRelease, release, releaseGpg })) {
    report("signature", `${base}/InRelease`, discrepancy);
  }

  const limit = pLimit(concurrentRequests);
  const files = listedIn(release);
  for (const path of options.indices) {
    if (!files.some((file) => file.path === path)) report("absent", `${base}/${path}`, "Release does not list it");
  }
  await Promise.all(
    files.flatMap(({ path, ...listed }) => {
      const reference = { directory: directoryOf(path), algorithm: "sha256", digest: listed.sha256 } as const;
      const paths = isPlain(path) ? [hashPath(reference)] : [path, hashPath(reference)];
      return paths.map((each) =>
        limit(async () => {
          signal.throwIfAborted();
          const discrepancy = discrepancyOf(listed, await server.measure(`${base}/${each}`, listed.sizeBytes + 1));
          if (discrepancy !== undefined) report(discrepancy.code, `${base}/${each}`, discrepancy.text);
        }),
      );
    }),
  );

  let packages = 0;
  for (const { path, ...listed } of files) {
    if (!isPlain(path)) continue;
    signal.throwIfAborted();
    if (listed.sizeBytes > maxIndexBytes)
      throw new LimitExceeded(undefined, maxIndexBytes, `the size of ${base}/${path} in bytes`);
    const bytes = await server.readStart(`${base}/${path}`, listed.sizeBytes + 1);
    const discrepancy = discrepancyOf(listed, bytes && { sizeBytes: bytes.length, sha256: digestOf(bytes) });
    if (discrepancy !== undefined) report(discrepancy.code, `${base}/${path}`, discrepancy.text);
    const actual = bytes?.toString() ?? "";
    const expected = (await options.expected(path)) ?? "";
    options.progress?.(`${base}/${path}`);
    let reported = 0;
    for (const { kind, entry, fields } of expected === actual ? [] : stanzaDifferences(expected, actual)) {
      if (++reported <= maxReportedPerIndex) report(kind, `${base}/${path}`, describeDifference(kind, entry, fields));
    }
    if (reported > maxReportedPerIndex)
      report("changed", `${base}/${path}`, `and ${reported - maxReportedPerIndex} more entries differ`);
    const named = [...namedFiles(actual)];
    const step = Math.max(1, named.length / Math.max(0, options.maxPackages - packages));
    const chosen = options.maxPackages <= packages ? [] : named.filter((_, at) => at % step < 1);
    packages += chosen.length;
    await Promise.all(
      chosen.map(({ path: file, ...listed }) =>
        limit(async () => {
          signal.throwIfAborted();
          const discrepancy = discrepancyOf(
            listed,
            await server.measure(file, Math.min(maxPackageBytes, listed.sizeBytes + 1)),
          );
          if (discrepancy !== undefined) report(discrepancy.code, file, `${discrepancy.text}, says ${base}/${path}`);
        }),
      ),
    );
  }
  return { findings, indices: files.length, packages };
}

/** Those are read once, to be both measured and compared; of all others just the digest counts. */
const isPlain = (path: string): boolean => /(^|\/)(Packages|Sources|Translation-en)$/.test(path);

const digestOf = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

function discrepancyOf(
  listed: FileDigest,
  found: FileDigest | undefined,
): Pick<Discrepancy, "code" | "text"> | undefined {
  if (found === undefined) return { code: "absent", text: "is not there" };
  if (found.sizeBytes !== listed.sizeBytes)
    return { code: "bytes", text: `does not have the ${listed.sizeBytes} bytes that it ought to have` };
  if (found.sha256 !== listed.sha256)
    return { code: "bytes", text: `its SHA256 is ${found.sha256}, not ${listed.sha256}` };
  return undefined;
}

function describeDifference(kind: "missing" | "surplus" | "changed", entry: string, fields: readonly string[]): string {
  if (kind === "missing") return `${entry}: the tree has it, the server does not tell of it`;
  if (kind === "surplus") return `${entry}: the server tells of it, the tree does not have it`;
  return `${entry}: other values of ${fields.join(", ")}`;
}

/** What a Release lists under SHA256. */
const listedIn = (release: string) => [...listedFiles(/^SHA256:\n((?: .*\n?)*)/m.exec(release)?.[1] ?? "")];
