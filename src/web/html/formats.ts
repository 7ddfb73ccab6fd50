// How pages show sizes, times and counts. Functions whose names end with "Html" return HTML, the others text.
import { lastName, tryParseTreePath } from "../../base/names.ts";
import { escapeHtml } from "./escape.ts";

const units = ["kB", "MB", "GB", "TB"] as const;

/** A size with three digits, e.g. `12.3 MB`. */
export function size(bytes: number | undefined): string {
  if (bytes === undefined) return "";
  if (bytes < 1000) return `${bytes} ${bytes === 1 ? "byte" : "bytes"}`;
  let value = bytes / 1000;
  let unit = 0;
  for (; value >= 999.5 && unit < units.length - 1; unit += 1) value /= 1000;
  return `${value.toPrecision(Math.max(3, String(Math.round(value)).length))} ${units[unit]}`;
}

/** A number with its noun, e.g. `1,024 packages`. */
export const count = (number: number, singular: string, plural = `${singular}s`): string =>
  `${number.toLocaleString("en")} ${number === 1 ? singular : plural}`;

export const integer = (number: number): string => number.toLocaleString("en");

/** A time in UTC, e.g. `2026-11-29 23:05`. */
export function timeHtml(seconds: number | undefined): string {
  if (seconds === undefined || !Number.isFinite(seconds)) return "";
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return "";
  const iso = date.toISOString();
  return `<time datetime="${iso.slice(0, 19)}Z">${iso.slice(0, 10)} ${iso.slice(11, 16)}</time>`;
}

const spans = [
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
] as const;

/** A duration in its largest unit, e.g. `3 hours`. */
export function duration(seconds: number): string {
  for (const [name, length] of spans) {
    if (seconds >= length) return count(Math.floor(seconds / length), name);
  }
  return count(Math.max(0, Math.floor(seconds)), "second");
}

/** The beginning of a text that may be very long. */
export const cut = (text: string, maxCharacters: number): string =>
  text.length <= maxCharacters ? text : `${text.slice(0, maxCharacters)}…`;

/** A fingerprint in groups of four digits. */
export const fingerprint = (hex: string): string => hex.replace(/(.{4})(?=.)/g, "$1 ");

/** A path in which lines break after slashes. */
export const pathHtml = (path: string): string => escapeHtml(path).replaceAll("/", "/<wbr>");

/** The last name of a builder's directory, by which people know the builder. */
export const builderName = (directory: string): string =>
  lastName(tryParseTreePath(directory) ?? ("" as never)) || directory;
