// Generates the package NAME-archive-keyring, which installs a repository's keys and announces new keys in time.
import { httpDate } from "../../base/clock.ts";
import type { Component, RepositoryName, TreePath } from "../../base/names.ts";
import { pathNames } from "../../base/names.ts";
import type { PackedFile } from "../../debian/write-deb.ts";
import { gzipped, writeDeb } from "../../debian/write-deb.ts";
import type { Signer } from "../../signing/signer.ts";
import { maxSigningKeys } from "../../signing/signer.ts";
import type { Overlay } from "../../storage/decorators/overlay-tree.ts";

/** The repository that the keyring package is for. */
export interface KeyringOptions {
  readonly repository: RepositoryName;
  readonly label: string;
  readonly signer: Pick<Signer, "keys" | "publicKeyBytes">;
  /** The component that contains the package, in every suite that has this component. */
  readonly component: Component;
  /** The repository's public URL without a trailing slash. Without it, the package contains no source. */
  readonly uri: string | undefined;
  /** The suites that the source in the package lists. If empty, the package contains no source. */
  readonly suites: readonly string[];
}

/** A repository with one of these names must not overwrite the distribution's own files on its users' machines. */
const distributions: ReadonlySet<string> = new Set(
  "debian debian-ports devuan elbe fasttrack kali linuxmint mobian neurodebian parrot pureos raspbian ubuntu".split(
    " ",
  ),
);

/** The name of a repository in files on its users' machines. `debian.sources`, for example, belongs to Debian. */
export const nameOnMachines = (repository: RepositoryName): string =>
  distributions.has(repository.toLowerCase().replaceAll("_", "-")) ? `${repository}-tahoe` : repository;

/** The name of the keyring package. @see Debian Policy 5.6.7 */
export const keyringPackageName = (repository: RepositoryName): string =>
  `${nameOnMachines(repository).toLowerCase().replaceAll("_", "-")}-archive-keyring`;

/**
 * @returns the package as a file of the tree, in `binary-all` of the component in every suite that has packages there
 */
export function archiveKeyring(options: KeyringOptions): Overlay {
  const { component, signer } = options;
  const atSeconds = Math.max(...signer.keys.map(({ changedAtSeconds }) => changedAtSeconds));
  const version = versionOf(atSeconds, signer.keys.length);
  return {
    name: `${keyringPackageName(options.repository)}_${version}_all.deb`,
    bytes: keyringDeb(options, version, atSeconds),
    linkedAtMs: atSeconds * 1000,
    directory: "binary-all",
    isParent: (path: TreePath, { entries }) =>
      isComponent(path, component) && [...entries.keys()].some((name) => name.startsWith("binary-")),
  };
}

function isComponent(path: TreePath, component: Component): boolean {
  const names = pathNames(path);
  return names[0] === "dists" && names.length > 2 && path.endsWith(`/${component}`);
}

/**
 * A new or renewed key gives a later time. At the same time, fewer keys give a higher version. So adding a key and
 * removing a key are both upgrades.
 */
function versionOf(atSeconds: number, keys: number): string {
  const stamp = new Date(atSeconds * 1000).toISOString().replace(/\D/g, "");
  return `${stamp.slice(0, 8)}.${stamp.slice(8, 14)}.${maxSigningKeys - keys}`;
}

function keyringDeb(options: KeyringOptions, version: string, atSeconds: number): Buffer {
  const { repository, signer, uri } = options;
  const name = keyringPackageName(repository);
  const label = options.label.replace(/[^\p{L}\p{N}._-]+/gu, " ").trim() || repository;
  const maintainer = `${label} <postmaster@${uri === undefined ? "localhost" : new URL(uri).hostname}>`;
  const fingerprints = signer.keys.map(({ fingerprint }) => fingerprint);
  const keyring = `usr/share/keyrings/${name}.pgp`;
  const documents = `usr/share/doc/${name}`;
  const source = sourceOf(options, keyring);
  const files: PackedFile[] = [
    {
      path: `${documents}/changelog.gz`,
      content: gzipped(changelog({ name, version, maintainer, atSeconds, fingerprints })),
    },
    { path: `${documents}/copyright`, content: copyright(label) },
    // Earlier versions of the package used this name; existing sources may refer to it.
    { path: `usr/share/keyrings/${name}.gpg`, content: { linkTo: `${name}.pgp` } },
    { path: keyring, content: signer.publicKeyBytes },
    ...(source === undefined ? [] : [{ path: `usr/share/${name}/${repository}.sources`, content: source }]),
  ];
  const paths = `sources=/etc/apt/sources.list.d/${nameOnMachines(repository)}.sources\nkeyring=/${keyring}\n`;
  return writeDeb({
    control: [
      ["Package", name],
      ["Version", version],
      ["Architecture", "all"],
      ["Maintainer", maintainer],
      ["Section", "misc"],
      ["Priority", "optional"],
      ["Multi-Arch", "foreign"],
      ["Description", `OpenPGP keys of the APT repository ${repository}\n${description(repository)}`],
    ],
    scripts: {
      postinst: `#!/bin/sh\nset -e\n${paths}ours=/usr/share/${name}/${repository}.sources\n${postinst(repository)}`,
      postrm: `#!/bin/sh\nset -e\n${paths}${postrm}`,
    },
    files,
    atSeconds,
  });
}

const description = (
  repository: string,
): string => ` The packages of ${repository} are signed with these keys. When one takes another's
 place, an upgrade of this package brings it in time.`;

/** @see sources.list(5) */
function sourceOf({ uri, suites, component }: KeyringOptions, keyring: string): string | undefined {
  if (uri === undefined || suites.length === 0) return undefined;
  return `Types: deb deb-src
URIs: ${uri}
Suites: ${suites.join(" ")}
Components: ${component}
Signed-By: /${keyring}
`;
}

/** @see Debian Policy 4.4 */
function changelog(entry: {
  readonly name: string;
  readonly version: string;
  readonly maintainer: string;
  readonly atSeconds: number;
  readonly fingerprints: readonly string[];
}): string {
  return `${entry.name} (${entry.version}) unstable; urgency=medium

  * The keys are
${entry.fingerprints.map((fingerprint) => `    ${fingerprint}`).join("\n")}

 -- ${entry.maintainer}  ${httpDate(entry.atSeconds).replace("GMT", "+0000")}
`;
}

/** @see Debian Policy 12.5 */
const copyright = (label: string): string => `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: ${label}

Files: *
Copyright: none
License: public-domain
 Keys are facts, and what surrounds them here may be used by anybody in any way.
`;

/**
 * Replaces the keys in a downloaded source by the path of the keyring and keeps all other changes that the user made.
 * The source is not a conffile: dpkg would prompt about it.
 * @see Debian Policy 10.7.3
 */
const postinst = (repository: string): string => `
if [ "$1" = configure ]; then
    if [ ! -e "$sources" ]; then
        # On the first installation alone: who took it away later meant it.
        if [ -z "$2" ] && [ -e "$ours" ]; then
            cp "$ours" "$sources"
            chmod 644 "$sources"
        fi
    elif grep -q 'BEGIN PGP PUBLIC KEY BLOCK' "$sources" && grep -q '^URIs:.*/${repository.replaceAll(".", "\\.")}/*$' "$sources"; then
        awk -v keyring="$keyring" '
            /^Signed-By:[ \\t]*$/ { print "Signed-By: " keyring; inside = 1; next }
            inside && /^[ \\t]/ { next }
            { inside = 0; print }
        ' "$sources" >"$sources.dpkg-new"
        chmod 644 "$sources.dpkg-new"
        mv "$sources.dpkg-new" "$sources"
    fi
fi
`;

const postrm = `
if [ "$1" = purge ] && grep -qs "^Signed-By: $keyring\\$" "$sources"; then
    rm -f "$sources"
fi
`;
