// Parts of long lists: the first entries, or a page, whose position is an opaque text (the cursor).

import type { Slice } from "./package-index.ts";
import type { Cut, Page, PageQuery } from "./repository-data.ts";
import { BadQuery, defaultPageEntries, maxPageEntries } from "./repository-data.ts";

/** The furthest position of a page, which has four digits in the form of a cursor. */
const maxSkip = 36 ** 4 - 1;

/** The form of every cursor. */
export const cursorPattern = /^p([1-9a-z][0-9a-z]{0,3})$/;

/** @throws BadQuery */
export function sliceOf({ cursor, limit = defaultPageEntries }: PageQuery): Slice {
  if (!Number.isInteger(limit) || limit < 1 || limit > maxPageEntries)
    throw new BadQuery(`limit is a number from 1 to ${maxPageEntries}`);
  if (cursor === undefined) return { skip: 0, limit };
  const [, digits] = cursorPattern.exec(cursor) ?? [];
  if (digits === undefined) throw new BadQuery("cursor is not one that this server has returned");
  return { skip: Number.parseInt(digits, 36), limit };
}

/** Makes the page of a slice. @param entries those of the slice */
export function pageOf<Entry>({ skip, limit }: Slice, entries: readonly Entry[], total: number): Page<Entry> {
  const end = skip + limit;
  const next = end < total && end <= maxSkip ? `p${end.toString(36)}` : undefined;
  return { entries, total, next };
}

/** Makes the page of a slice of a complete list. */
export const pageOfAll = <Entry>(slice: Slice, all: readonly Entry[]): Page<Entry> =>
  pageOf(slice, all.slice(slice.skip, slice.skip + slice.limit), all.length);

/** The first entries of a list. @param most the maximum number of them */
export const cut = <Entry>(list: readonly Entry[], most: number): Cut<Entry> => ({
  entries: list.slice(0, most),
  total: list.length,
});
