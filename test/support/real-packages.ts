// Downloads packages of every shape in Debian's archive, the smallest of each.
import { copyFileSync, mkdirSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { archiveApt, archiveIndex } from "./debian-archive.ts";

/** How many packages of each source shape are requested, because not every mirror has all files. */
const candidatesPerShape = 16;
/** Larger packages would show nothing new. */
const maxPackageBytes = 300_000;

/** The value of a field in a stanza's text. */
const inStanza = (stanza: string, name: string): string => new RegExp(`^${name}: *(.*)$`, "m").exec(stanza)?.[1] ?? "";

/** Shapes of binary packages, each with the number of packages to download. */
const shapes: readonly (readonly [number, (stanza: string) => boolean])[] = [
  [8, (stanza) => inStanza(stanza, "Package").includes("+")],
  [8, (stanza) => inStanza(stanza, "Package").includes(".")],
  [8, (stanza) => inStanza(stanza, "Version").includes("~")],
  [8, (stanza) => inStanza(stanza, "Version").includes("+")],
  [8, (stanza) => inStanza(stanza, "Version").includes(":")],
  [6, (stanza) => !inStanza(stanza, "Version").includes("-")],
  [25, (stanza) => inStanza(stanza, "Architecture") === "all"],
  [8, (stanza) => inStanza(stanza, "Multi-Arch") === "same"],
  [8, (stanza) => inStanza(stanza, "Multi-Arch") === "foreign"],
  [3, (stanza) => inStanza(stanza, "Multi-Arch") === "allowed"],
  [6, (stanza) => inStanza(stanza, "Essential") === "yes"],
  [4, (stanza) => / \(/.test(inStanza(stanza, "Source"))],
  [4, (stanza) => /[^\u0000-\u007f]/.test(stanza)],
  [20, () => true],
];

/** The smallest packages of each shape, and two with each existing field. */
function chosen(stanzas: readonly string[]): readonly string[] {
  const small = stanzas
    .filter((stanza) => Number(inStanza(stanza, "Size")) < maxPackageBytes)
    .toSorted((a, b) => Number(inStanza(a, "Size")) - Number(inStanza(b, "Size")));
  const picked = new Set<string>();
  for (const [count, isIt] of shapes) for (const stanza of small.filter(isIt).slice(0, count)) picked.add(stanza);
  const seen = new Map<string, number>();
  for (const stanza of small) {
    for (const [, name = ""] of stanza.matchAll(/^([^\s:]+):/gm)) {
      const count = (seen.get(name) ?? 0) + 1;
      seen.set(name, count);
      if (count <= 2) picked.add(stanza);
    }
  }
  return [...picked];
}

const sourceShapes: readonly ((stanza: string) => boolean)[] = [
  (stanza) => inStanza(stanza, "Format") === "1.0" && /\.diff\.gz$/m.test(stanza),
  (stanza) => inStanza(stanza, "Format") === "3.0 (native)",
  (stanza) => /\.orig\.tar\.\w+\.asc$/m.test(stanza),
  (stanza) => /\.orig-[\w-]+\.tar/m.test(stanza),
  (stanza) => inStanza(stanza, "Testsuite") !== "",
  (stanza) => /^ .* profile=/m.test(stanza),
  (stanza) => inStanza(stanza, "Build-Conflicts") !== "",
  (stanza) => inStanza(stanza, "Version").includes(":"),
  (stanza) => inStanza(stanza, "Uploaders") !== "" && inStanza(stanza, "Dgit") !== "",
  (stanza) => inStanza(stanza, "Build-Depends-Arch") !== "",
  (stanza) => /[^\u0000-\u007f]/.test(stanza),
  () => true,
];

const filesOf = (stanza: string): readonly string[] =>
  [...(/^Files:((?:\n .*)+)/m.exec(stanza)?.[1] ?? "").matchAll(/^ \S+ \d+ (\S+)$/gm)].map(([, name = ""]) => name);

const sourceBytes = (stanza: string): number =>
  [...(/^Files:((?:\n .*)+)/m.exec(stanza)?.[1] ?? "").matchAll(/^ \S+ (\d+) /gm)].reduce(
    (sum, [, n]) => sum + Number(n),
    0,
  );

function chosenSources(stanzas: readonly string[]): readonly string[] {
  const small = stanzas
    .filter((stanza) => inStanza(stanza, "Extra-Source-Only") !== "yes")
    .map((stanza) => [sourceBytes(stanza), stanza] as const)
    .toSorted(([a], [b]) => a - b)
    .map(([, stanza]) => stanza);
  return [...new Set(sourceShapes.flatMap((isIt) => small.filter(isIt).slice(0, candidatesPerShape)))];
}

/**
 * Downloads about 200 binaries and a dozen sources into their directories.
 * @param component the directory of a component in a tree
 */
export async function fetchRealPackages(component: string): Promise<void> {
  const components = ["main", "main/debian-installer"];
  const root = await archiveApt(components, ["amd64", "arm64"]);
  try {
    const own = archiveIndex(root, "main_binary-amd64_Packages").filter((stanza) => !isUdeb(stanza));
    const foreign = archiveIndex(root, "main_binary-arm64_Packages").filter(
      (stanza) => inStanza(stanza, "Architecture") === "arm64",
    );
    const udebs = archiveIndex(root, "debian-installer_binary-amd64_Packages");
    const some = (stanzas: readonly string[], count: number) =>
      chosen(stanzas).filter((_, at, all) => at % Math.ceil(all.length / count) === 0);
    const inQuestion = (stanza: string): string => `${inStanza(stanza, "Package")}=${inStanza(stanza, "Version")}`;
    const named = (stanzas: readonly string[]): readonly string[] =>
      stanzas.map((stanza) => {
        const architecture = inStanza(stanza, "Architecture").replace("all", "amd64");
        return `${inStanza(stanza, "Package")}:${architecture}=${inStanza(stanza, "Version")}`;
      });
    // Not every mirror has all of them.
    await root.run("apt-get", "download", ...named([...chosen(own), ...some(foreign, 30), ...some(udebs, 30)]));
    const sources = chosenSources(archiveIndex(root, "main_source_Sources"));
    await root.run("apt-get", "source", "--download-only", ...sources.map(inQuestion));
    const got = join(root.directory, "got");
    const arrived = new Set(readdirSync(got));
    const lacking = sources.flatMap((stanza) =>
      filesOf(stanza).every((name) => arrived.has(name)) ? [] : filesOf(stanza),
    );
    for (const name of arrived)
      if (!lacking.includes(name)) place(join(got, name), join(component, directoryOf(name), name));
  } finally {
    root.close();
  }
}

const isUdeb = (stanza: string): boolean => inStanza(stanza, "Filename").endsWith(".udeb");

function place(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to);
}

function directoryOf(name: string): string {
  const architecture = /_([a-z0-9]+)\.u?deb$/.exec(name)?.[1];
  if (architecture === undefined) return "source";
  const index = `binary-${architecture === "all" ? "amd64" : architecture}`;
  return name.endsWith(".udeb") ? `debian-installer/${index}` : `${index}/${name[0]}`;
}
