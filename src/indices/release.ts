// Renders Release: the identity of a suite, and the sizes and digests of all indices of a publication.
import { httpDate } from "../base/clock.ts";
import type { DigestAlgorithm } from "../debian/digests.ts";
import { digestAlgorithms } from "../debian/digests.ts";
import { digestOf, IndexError, writeField } from "./fields.ts";

/** One form of an index in a Release. */
export interface ReleaseFile {
  /** Relative to the directory of the suite, e.g. `main/binary-amd64/Packages.xz`. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly digests: { readonly [Algorithm in DigestAlgorithm]?: string };
}

/**
 * The content of a Release. A changed origin, label or codename is an error for every client that knows the old value.
 */
export interface Release {
  readonly origin: string;
  readonly label: string;
  /** Undefined in a flat repository, which is identified by its directory only. */
  readonly suite: string | undefined;
  readonly codename: string | undefined;
  readonly version?: string;
  readonly description?: string;
  /**
   * Clients install from here only on request; with `butAutomaticUpgrades` they also upgrade what they have from here.
   */
  readonly notAutomatic?: boolean;
  readonly butAutomaticUpgrades?: boolean;
  /** The URL of changelogs, with `@CHANGEPATH@`. */
  readonly changelogs?: string;
  /** The URL of snapshots, with `@SNAPSHOTID@`. */
  readonly snapshots?: string;
  /** Fingerprints of the keys that clients accept from now on, in upper-case hex; `!` at the end excludes sub-keys. */
  readonly signedBy?: readonly string[];
  /** Seconds since the epoch. */
  readonly dateSeconds: number;
  readonly validUntilSeconds?: number;
  readonly architectures: readonly string[];
  readonly components: readonly string[];
  /** The algorithms of the lists, with SHA256 or SHA512 among them. */
  readonly algorithms: readonly DigestAlgorithm[];
  /** Every form that is served, and always the plain one, by which apt recognises an index. */
  readonly files: readonly ReleaseFile[];
}

/** apt refuses a larger Release. */
export const maxReleaseBytes = 10_000_000;

/** The names of the algorithms in Release and in by-hash directories. */
export const releaseDigestName: Readonly<Record<DigestAlgorithm, string>> = {
  md5: "MD5Sum",
  sha1: "SHA1",
  sha256: "SHA256",
  sha512: "SHA512",
};

/** @throws IndexError for a value with several lines, an empty value, no strong digest, or more bytes than apt reads */
export function renderRelease(release: Release): string {
  if (!release.algorithms.some((algorithm) => algorithm === "sha256" || algorithm === "sha512")) {
    throw new IndexError("a Release needs SHA256 or SHA512");
  }
  const fields: readonly (readonly [string, string | undefined])[] = [
    ["Origin", release.origin],
    ["Label", release.label],
    ["Suite", release.suite],
    ["Version", release.version],
    ["Codename", release.codename],
    ["Changelogs", release.changelogs],
    ["Snapshots", release.snapshots],
    ["Date", httpDate(release.dateSeconds)],
    ["Valid-Until", release.validUntilSeconds === undefined ? undefined : httpDate(release.validUntilSeconds)],
    ["NotAutomatic", yes(release.notAutomatic)],
    ["ButAutomaticUpgrades", yes(release.butAutomaticUpgrades)],
    ["Acquire-By-Hash", "yes"],
    // Packages for all architectures are in every binary-ARCH; without this line apt would also fetch binary-all. If
    // there is only binary-all, apt would fetch nothing with this line.
    ["No-Support-for-Architecture-all", release.architectures.includes("all") ? undefined : "Packages"],
    ["Architectures", release.architectures.join(" ") || undefined],
    ["Components", release.components.join(" ") || undefined],
    ["Description", release.description],
    // Clients ignore Signed-By without Valid-Until.
    ["Signed-By", release.validUntilSeconds === undefined ? undefined : release.signedBy?.join(", ")],
  ];
  const files = release.files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
  const sections = digestAlgorithms
    .filter((algorithm) => release.algorithms.includes(algorithm))
    .map((algorithm) => {
      const lines = files.map(
        (file) => ` ${digestOf(file.digests, algorithm, file.path)} ${file.sizeBytes} ${file.path}`,
      );
      return writeField(releaseDigestName[algorithm], ["", ...lines].join("\n"));
    });
  const text = fields.map(writeSingleLine).concat(sections).join("");
  if (Buffer.byteLength(text) > maxReleaseBytes) throw new IndexError(`Release is beyond ${maxReleaseBytes} bytes`);
  return text;
}

const yes = (isSo: boolean | undefined): "yes" | undefined => (isSo === true ? "yes" : undefined);

/**
 * The Release of a directory with one index: its suite, component and architecture. It has no date, so it rarely
 * changes.
 */
export function renderDirectoryRelease(
  { suite, origin, label, version, notAutomatic, butAutomaticUpgrades }: Release,
  { component, architecture }: { readonly component: string; readonly architecture: string },
): string {
  const fields: readonly (readonly [string, string | undefined])[] = [
    ["Archive", suite],
    ["Origin", origin],
    ["Label", label],
    ["Version", version],
    ["NotAutomatic", yes(notAutomatic)],
    ["ButAutomaticUpgrades", yes(butAutomaticUpgrades)],
    ["Acquire-By-Hash", "yes"],
    ["Component", component],
    ["Architecture", architecture],
  ];
  return fields.map(writeSingleLine).join("");
}

function writeSingleLine([name, value]: readonly [string, string | undefined]): string {
  if (value === undefined) return "";
  if (/[\n\r]/.test(value)) throw new IndexError(`Release's ${name} has a broken line`);
  // A cleartext signature does not cover white space at line ends (RFC 4880 7.1), and Release.gpg signs the same text.
  return writeField(name, value.trimEnd());
}
