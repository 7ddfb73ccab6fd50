// Verifies that a public server serves the content of a tree: compares its signatures, indices and packages with those
// that are generated from the tree.
import { createHash } from "node:crypto";
import pLimit from "p-limit";
import { LimitExceeded } from "../base/errors.ts";
import type { Suite } from "../base/names.ts";
import { listedFiles, namedFiles } from "../indices/named-files.ts";
import { maxReleaseBytes } from "../indices/release.ts";
import { directoryOf, hashPath } from "../publishing/store/publication.ts";
import { stanzaDifferences } from "./stanza-diff.ts";

/** One difference between the server and the tree, or a fault of the server. */
export interface Discrepancy {
  /**
   * `signature`: invalid; `absent`: a required or listed file does not exist; `bytes`: a file differs from its size or
   * digest in the index; `missing`, `surplus`, `changed`: index entries compared with the tree's.
   */
  readonly code: "signature" | "absent" | "bytes" | "missing" | "surplus" | "changed";
  /** Relative to the repository's root. */
  readonly path: string;
  /** For people. */
  readonly text: string;
}

/** The server to verify. Paths are relative to the repository's root. */
export interface VerifiedServer {
  /** Reads a file. @returns undefined if there is no such file @throws if the request fails or the file is longer */
  read(path: string, maxBytes: number): Promise<Buffer | undefined>;
  /** Reads up to `maxBytes` from the start of a file. */
  readStart(path: string, maxBytes: number): Promise<Buffer | undefined>;
  /** Computes the size and digest of a file. @param maxBytes the read stops after this size */
  measure(path: string, maxBytes: number): Promise<FileDigest | undefined>;
}

interface FileDigest {
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** What to verify, and how. */
export interface VerificationOptions {
  readonly suite: Suite;
  readonly server: VerifiedServer;
  /** Returns the text of an index of the suite, generated from the tree; undefined if there is none. */
  readonly expected: (path: string) => Promise<string | undefined>;
  /** The paths of the uncompressed indices from the tree, relative to the suite. */
  readonly indices: readonly string[];
  /** Checks the signatures of InRelease and Release.gpg. @returns descriptions of faults; empty if both are valid */
  readonly signatures: (signed: SignedFiles) => Promise<readonly string[]>;
  /** The number of packages to read and compare with their index, evenly distributed over it. */
  readonly maxPackages: number;
  readonly signal: AbortSignal;
  readonly progress?: (text: string) => void;
}

/** The contents of the signed files. */
export interface SignedFiles {
  readonly inRelease: string;
  readonly release: string;
  readonly releaseGpg: string;
}

/** The result for one suite. */
export interface Verification {
  readonly findings: readonly Discrepancy[];
  readonly indices: number;
  readonly packages: number;
}

/** The maximum size of a compared index: the maximum length of a string in V8. */
const maxIndexBytes = 2 ** 29 - 1024;
const maxPackageBytes = 64 * 1024 ** 3;
/** The number of concurrent requests. */
const concurrentRequests = 4;
/** The number of attempts, because the server may publish during a verification. */
const maxAttempts = 3;
/** The number of differences of one index that are reported one by one. */
const maxReportedPerIndex = 100;

/** Verifies a suite, and starts again if the server publishes meanwhile. @throws errors of the server */
export async function verifySuite(options: VerificationOptions): Promise<Verification> {
  for (let attempt = 1; ; attempt++) {
    const before = await options.server.read(`dists/${options.suite}/InRelease`, maxReleaseBytes);
    const verification = await verifyOnce(options);
    const after = await options.server.read(`dists/${options.suite}/InRelease`, maxReleaseBytes);
    const isSame = before === undefined ? after === undefined : after !== undefined && before.equals(after);
    if (verification.findings.length === 0 || isSame || attempt >= maxAttempts) return verification;
    options.progress?.(`${options.suite} was published during the verification; trying again`);
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
      if (bytes === undefined) report("absent", `${base}/${name}`, "does not exist");
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
      const paths = isUncompressedIndex(path) ? [hashPath(reference)] : [path, hashPath(reference)];
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
    if (!isUncompressedIndex(path)) continue;
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
    const listedPackages = [...namedFiles(actual)];
    const step = Math.max(1, listedPackages.length / Math.max(0, options.maxPackages - packages));
    const sample = options.maxPackages <= packages ? [] : listedPackages.filter((_, at) => at % step < 1);
    packages += sample.length;
    await Promise.all(
      sample.map(({ path: file, ...listed }) =>
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

/** These indices are read once for digest and comparison; only the digests of all others are checked. */
const isUncompressedIndex = (path: string): boolean => /(^|\/)(Packages|Sources|Translation-en)$/.test(path);

const digestOf = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

function discrepancyOf(
  listed: FileDigest,
  found: FileDigest | undefined,
): Pick<Discrepancy, "code" | "text"> | undefined {
  if (found === undefined) return { code: "absent", text: "does not exist" };
  if (found.sizeBytes !== listed.sizeBytes) return { code: "bytes", text: `its size is not ${listed.sizeBytes} bytes` };
  if (found.sha256 !== listed.sha256)
    return { code: "bytes", text: `its SHA256 is ${found.sha256}, not ${listed.sha256}` };
  return undefined;
}

function describeDifference(kind: "missing" | "surplus" | "changed", entry: string, fields: readonly string[]): string {
  if (kind === "missing") return `${entry}: in the tree, but not on the server`;
  if (kind === "surplus") return `${entry}: on the server, but not in the tree`;
  return `${entry}: different values of ${fields.join(", ")}`;
}

/** The files that a Release lists under SHA256. */
const listedIn = (release: string) => [...listedFiles(/^SHA256:\n((?: .*\n?)*)/m.exec(release)?.[1] ?? "")];
