// Selects the older versions of an index that get a patch to the current one, and renders the list of patches.
import { IndexError } from "../fields.ts";

/** The size and digests of bytes, in lower-case hex. */
export interface Digested {
  readonly sizeBytes: number;
  readonly sha256: string;
  /** For debmirror, which reads no other digest. */
  readonly sha1?: string;
}

/** A patch that turns an older version of an index directly into the current one. */
export interface Patch {
  /** The file name without `.gz`. */
  readonly name: string;
  /** The old index. */
  readonly from: Digested;
  readonly plain: Digested;
  readonly gz: Digested;
}

/**
 * Renders `Packages.diff/Index` and similar files, with the fields that apt reads. `merged` tells apt that one patch is
 * enough; otherwise it would also apply all patches after it.
 * @param current if it has a SHA1, the list contains the SHA1 of everything
 * @param patches the oldest version first: apt starts at the version that it has
 * @throws IndexError for a name that would end its line
 */
export function renderPatchIndex(current: Digested, patches: readonly Patch[]): string {
  const broken = patches.find(({ name }) => /[\s/]/.test(name) || name === "");
  if (broken !== undefined) throw new IndexError(`${JSON.stringify(broken.name)} is not the name of a patch`);
  const sections = ([field, digest]: (typeof listedDigests)[number]): string => {
    const list = (digestedOf: (patch: Patch) => Digested, suffix: string): string =>
      patches
        .map((patch) => ` ${digestedOf(patch)[digest]} ${digestedOf(patch).sizeBytes} ${patch.name}${suffix}\n`)
        .join("");
    return [
      `${field}-Current: ${current[digest]} ${current.sizeBytes}\n`,
      `${field}-History:\n${list(({ from }) => from, "")}`,
      `${field}-Patches:\n${list(({ plain }) => plain, "")}`,
      `${field}-Download:\n${list(({ gz }) => gz, ".gz")}`,
    ].join("");
  };
  const known = listedDigests.filter(([, digest]) => current[digest] !== undefined);
  return `${known.map(sections).join("")}X-Patch-Precedence: merged\n`;
}

const listedDigests = [
  ["SHA1", "sha1"],
  ["SHA256", "sha256"],
] as const;

/** The plain index of one publication. */
export interface PublishedState extends Digested {
  /** The id of the publication. */
  readonly publication: string;
  /** The Date of the publication, in seconds since the epoch. */
  readonly dateSeconds: number;
}

/** So many of the newest versions always get a patch, for clients that update often. */
const newestStates = 6;
/** Older versions get one patch for each doubling of this age, in seconds. */
const firstAgeSeconds = 3600;
/** The maximum number of patches. */
const maxPatches = 16;

/**
 * Selects the versions that get a patch to the current one: the newest ones, and ever fewer older ones. Among older
 * ones it takes those that were served longest, because most clients have these.
 * @param states the current version first, then older ones
 * @returns the newest first; all differ from each other and from the current version
 */
export function statesToPatch(states: readonly PublishedState[]): readonly PublishedState[] {
  const present = states[0];
  if (present === undefined) return [];
  const past: (PublishedState & { readonly servedSeconds: number; readonly ageSeconds: number })[] = [];
  const seen = new Set([present.sha256]);
  let untilSeconds = present.dateSeconds;
  states.forEach((state, index) => {
    // A version was first served by the oldest of consecutive publications with it.
    if (states[index + 1]?.sha256 === state.sha256) return;
    const times = { servedSeconds: untilSeconds - state.dateSeconds, ageSeconds: present.dateSeconds - untilSeconds };
    untilSeconds = state.dateSeconds;
    if (seen.has(state.sha256)) return;
    seen.add(state.sha256);
    past.push({ ...state, ...times });
  });
  const byAge = new Map<number, (typeof past)[number]>();
  for (const state of past.slice(newestStates)) {
    const age = Math.max(0, Math.ceil(Math.log2(state.ageSeconds / firstAgeSeconds)));
    const known = byAge.get(age);
    if (known === undefined || state.servedSeconds > known.servedSeconds) byAge.set(age, state);
  }
  // Age groups are in order, and so are the versions that represent them.
  return [...past.slice(0, newestStates), ...byAge.values()].slice(0, maxPatches);
}
