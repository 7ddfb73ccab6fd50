// Which older states of an index get a patch to the present one, and the file that tells clients of these patches.
import { IndexError } from "../fields.ts";

/** Bytes by their size and digests, in lower-case hex. */
export interface Digested {
  readonly sizeBytes: number;
  readonly sha256: string;
  /** For debmirror, which looks at no other digest. */
  readonly sha1?: string;
}

/** A patch that leads from an older state of an index to the present one at once. */
export interface Patch {
  /** Its file's name without `.gz`. */
  readonly name: string;
  /** The index that it is for. */
  readonly from: Digested;
  readonly plain: Digested;
  readonly gz: Digested;
}

/**
 * Renders `Packages.diff/Index` and its like. The fields are those that apt reads; `merged` tells it that one patch is
 * enough, where it would otherwise apply all that follow as well.
 * @param current its SHA1 makes the list name those of all else too
 * @param patches the one for the oldest state first: apt looks no further ahead than from the state that it has
 * @throws IndexError for a name that would end its line
 */
export function renderPatchIndex(current: Digested, patches: readonly Patch[]): string {
  const broken = patches.find(({ name }) => /[\s/]/.test(name) || name === "");
  if (broken !== undefined) throw new IndexError(`${JSON.stringify(broken.name)} is no name of a patch`);
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

/** A plain index as one publication had it. */
export interface PublishedState extends Digested {
  /** The publication's id. */
  readonly publication: string;
  /** Its Date, in seconds since the epoch. */
  readonly dateSeconds: number;
}

/** That many of the newest states always get a patch: who updates often has one of them. */
const newestStates = 6;
/** Beyond, one for each doubling of this age, in seconds. */
const firstAgeSeconds = 3600;
/** So many patches at most. */
const maxPatches = 16;

/**
 * Chooses the states that get a patch to the present one: the newest, and of older ones always fewer; there the one that
 * was served longest, because most clients will have it.
 * @param states the present one first, then backwards
 * @returns the newest first; no two of them, and none of them and the present one, are equal
 */
export function statesToPatch(states: readonly PublishedState[]): readonly PublishedState[] {
  const present = states[0];
  if (present === undefined) return [];
  const past: (PublishedState & { readonly servedSeconds: number; readonly ageSeconds: number })[] = [];
  const seen = new Set([present.sha256]);
  let untilSeconds = present.dateSeconds;
  states.forEach((state, index) => {
    // It began with the oldest of its publications in a row.
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
  // Ages come in their order, and so do the states that stand for them.
  return [...past.slice(0, newestStates), ...byAge.values()].slice(0, maxPatches);
}
