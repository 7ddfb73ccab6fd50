// Damages the state directory of a stopped server, as a bad disk or a careless person does.
import type { Dirent } from "node:fs";
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { Chance } from "./random.ts";

/** What can be damaged. The signing key is not: the server refuses to start without it. */
export const damages = [
  "the database lost its end",
  "zeroed pages in the database",
  "changed bytes in the database",
  "the last Dates are damaged",
  "cached packages are damaged",
  "the version is damaged",
] as const;
export type Damage = (typeof damages)[number];

/** Whether publications may be lost with it. */
export const losesPublications = (damage: Damage): boolean => damage.includes("database");

const pageBytes = 4096;

export function inflict(damage: Damage, state: string, chance: Chance): void {
  const database = join(state, "database/data.mdb");
  const pages = existsSync(database) ? Math.floor(statSync(database).size / pageBytes) : 0;
  switch (damage) {
    case "the database lost its end":
      if (pages > 4) truncateSync(database, (2 + chance.below(pages - 2)) * pageBytes);
      return;
    case "zeroed pages in the database":
      for (let n = 0; n < 3 && pages > 4; n += 1)
        overwrite(database, (2 + chance.below(pages - 2)) * pageBytes, Buffer.alloc(pageBytes));
      return;
    case "changed bytes in the database":
      for (let n = 0; n < 20 && pages > 4; n += 1)
        flip(database, 2 * pageBytes + chance.below((pages - 2) * pageBytes), chance);
      return;
    case "the last Dates are damaged":
      spoil(join(state, "last-dates.json"), chance);
      return;
    case "cached packages are damaged":
      for (const file of filesIn(join(state, "packages"))) spoil(file, chance);
      return;
    case "the version is damaged":
      spoil(join(state, "version.json"), chance);
      return;
    default:
      damage satisfies never;
  }
}

function filesIn(directory: string): readonly string[] {
  if (!existsSync(directory)) return [];
  const entries: readonly Dirent[] = readdirSync(directory, { recursive: true, withFileTypes: true });
  return entries.filter((each) => each.isFile()).map((each) => join(each.parentPath, each.name));
}

/** Truncates a file, changes a byte in it, fills it with noise, or removes it. */
function spoil(file: string, chance: Chance): void {
  if (!existsSync(file)) return;
  const { size } = statSync(file);
  const how = chance.below(4);
  if (how === 0 || size === 0) truncateSync(file, Math.floor(size / 2));
  else if (how === 1) flip(file, chance.below(size), chance);
  else if (how === 2) writeFileSync(file, Buffer.from([0, 1, 2, 255]));
  else rmSync(file);
}

function flip(file: string, at: number, chance: Chance): void {
  const handle = openSync(file, "r+");
  try {
    const byte = Buffer.alloc(1);
    readSync(handle, byte, 0, 1, at);
    writeSync(handle, Buffer.of((byte[0] ?? 0) ^ (1 << chance.below(8))), 0, 1, at);
  } finally {
    closeSync(handle);
  }
}

function overwrite(file: string, at: number, bytes: Buffer): void {
  const handle = openSync(file, "r+");
  try {
    writeSync(handle, bytes, 0, bytes.length, at);
  } finally {
    closeSync(handle);
  }
}
