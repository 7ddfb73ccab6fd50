// Renders Release: who a suite is, and the size and digests of every index of a publication.
import { httpDate } from "../base/clock.ts";
import type { DigestAlgorithm } from "../debian/digests.ts";
import { digestAlgorithms } from "../debian/digests.ts";
import { digestOf, IndexError, writeField } from "./fields.ts";

/** One form of an index, as Release lists it. */
export interface ReleaseFile {
  /** Relative to the suite's directory, e.g. `main/binary-amd64/Packages.xz`. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly digests: { readonly [Algorithm in DigestAlgorithm]?: string };
}

/** What a Release says. A changed origin, label or codename is a hard error for every client that knew the old one. */
export interface Release {
  readonly origin: string;
  readonly label: string;
  /** Undefined in a flat repository, which goes by its place alone. */
  readonly suite: string | undefined;
  readonly codename: string | undefined;
  readonly version?: string;
  readonly description?: string;
  /** Clients install from here only what they are told to, or with the second one, what they have from here already. */
  readonly notAutomatic?: boolean;
  readonly butAutomaticUpgrades?: boolean;
  /** Where changelogs are, with `@CHANGEPATH@` in it. */
  readonly changelogs?: string;
  /** Where earlier publications are, with `@SNAPSHOTID@` in it. */
  readonly snapshots?: string;
  /** Fingerprints of the keys that clients shall accept from now on, in upper-case hex; an exact one ends in `!`. */
  readonly signedBy?: readonly string[];
  /** Seconds since the epoch. */
  readonly dateSeconds: number;
  readonly validUntilSeconds?: number;
  readonly architectures: readonly string[];
  readonly components: readonly string[];
  /** The algorithms of the lists: at least SHA256 or SHA512. */
  readonly algorithms: readonly DigestAlgorithm[];
  /** Every form that is served, and always the plain one: apt recognises an index by it. */
  readonly files: readonly ReleaseFile[];
}

/** apt reads no Release beyond this. */
export const maxReleaseBytes = 10_000_000;

/** What Release, and by-hash directories, call the algorithms. */
export const releaseDigestName: Readonly<Record<DigestAlgorithm, string>> = {
  md5: "MD5Sum",
  sha1: "SHA1",
  sha256: "SHA256",
  sha512: "SHA512",
};

/** @throws IndexError for a value of several lines, an empty one, no strong digest, or more than apt would read */
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
    // Arch:all packages stand in every binary-ARCH; without this line apt would fetch binary-all as well. Where
    // binary-all is all that there is, with this line it would fetch nothing.
    ["No-Support-for-Architecture-all", release.architectures.includes("all") ? undefined : "Packages"],
    ["Architectures", release.architectures.join(" ") || undefined],
    ["Components", release.components.join(" ") || undefined],
    ["Description", release.description],
    // Clients heed it only beside a date until which it is valid.
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

/** The Release of one directory of indices: which part of which suite it is. It has no date, and changes with these alone. */
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
  // Clear-signed lines have no white space at their ends (RFC 4880 7.1), and the same signature is for this text.
  return writeField(name, value.trimEnd());
}
