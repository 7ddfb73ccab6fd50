// The names of users and groups. A backup keeps names, because another machine has other numbers for them.
import { readFileSync } from "node:fs";

/** Numbers by name, as in passwd(5) and group(5). An unreadable file counts as empty. */
function numbersIn(file: string): ReadonlyMap<string, number> {
  try {
    const entries = readFileSync(file, "utf8").matchAll(/^([^:\n]+):[^:\n]*:(\d+):/gm);
    return new Map([...entries].map(([, name = "", number]) => [name, Number(number)]));
  } catch {
    return new Map();
  }
}

const nameOf = (numbers: ReadonlyMap<string, number>, wanted: number): string | undefined =>
  [...numbers].find(([, number]) => number === wanted)?.[0];

/** The users and groups of this machine. */
export class FileOwners {
  readonly #users = numbersIn("/etc/passwd");
  readonly #groups = numbersIn("/etc/group");

  /** The names of the owner and the group of a file, as far as they are known. */
  namesOf({ uid, gid }: { readonly uid: number; readonly gid: number }): { owner?: string; group?: string } {
    const owner = nameOf(this.#users, uid);
    const group = nameOf(this.#groups, gid);
    return { ...(owner !== undefined && { owner }), ...(group !== undefined && { group }) };
  }

  /** The numbers of an owner and a group; undefined if this machine does not have them. */
  numbersOf({
    owner = "",
    group = "",
  }: {
    readonly owner?: string | undefined;
    readonly group?: string | undefined;
  }): { readonly uid: number; readonly gid: number } | undefined {
    const uid = this.#users.get(owner);
    const gid = this.#groups.get(group);
    return uid === undefined || gid === undefined ? undefined : { uid, gid };
  }
}
