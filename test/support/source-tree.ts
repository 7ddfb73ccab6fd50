// A source tree of a native package that builds without debhelper.
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runTool } from "./debs.ts";

export interface SourceTree {
  readonly name: string;
  readonly version: string;
  /** The distribution in its .changes. */
  readonly distribution: string;
}

/** Writes the source tree, or a newer version over an older one. @param directory is created */
export function writeSourceTree(directory: string, { name, version, distribution }: SourceTree): void {
  mkdirSync(join(directory, "debian/source"), { recursive: true });
  const rules = [
    "#!/usr/bin/make -f",
    "build build-arch build-indep binary-indep:",
    "clean:\n\trm -rf debian/it debian/files",
    "binary: binary-arch\nbinary-arch:",
    "\tmkdir -p debian/it/DEBIAN debian/it/usr/share/it",
    `\techo it > debian/it/usr/share/it/${name}`,
    `\tdpkg-gencontrol -p${name} -Pdebian/it`,
    "\tdpkg-deb --root-owner-group --build debian/it ..",
  ];
  const control = [
    `Source: ${name}\nSection: misc\nPriority: optional\nMaintainer: A <a@example.org>\nStandards-Version: 4.7.0`,
    `Package: ${name}\nArchitecture: amd64\nDescription: it`,
  ];
  const date = "Sun, 22 Nov 2026 12:00:00 +0000";
  const files = {
    "source/format": "3.0 (native)\n",
    control: `${control.join("\n\n")}\n`,
    changelog: `${name} (${version}) ${distribution}; urgency=low\n\n  * It.\n\n -- A <a@example.org>  ${date}\n`,
    rules: `${rules.join("\n")}\n`,
  };
  for (const [path, text] of Object.entries(files)) {
    writeFileSync(join(directory, "debian", path), text, { mode: path === "rules" ? 0o755 : 0o644 });
  }
}

/** Builds it; the results are in the parent directory. */
export function buildSourceTree(directory: string): void {
  runTool("dpkg-buildpackage", ["--version"], "", "dpkg-dev");
  const env = { ...process.env, DEB_BUILD_OPTIONS: "noautodbgsym" };
  execFileSync("dpkg-buildpackage", ["--no-sign", "--host-arch=amd64"], { cwd: directory, stdio: "pipe", env });
}
