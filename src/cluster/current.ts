// What Valkey says about the current publication of a suite, and which of two publications is later.
import { z } from "zod";
import type { Suite } from "../base/names.ts";
import { parseSuiteOrFlat } from "../base/names.ts";
import { parsedBy } from "../base/parsed-by.ts";
import { parsedJson } from "./parsed-json.ts";
import { parted } from "./scripts.ts";

const suite = parsedBy(parseSuiteOrFlat);
const integer = z.number().int().nonnegative();
/** Fields are only ever added, and those that are not known here are ignored. */
const announced = z.object({
  kind: z.literal("publication"),
  suite,
  id: z.string(),
  dateSeconds: integer,
  /** When the publisher began to serve it, in ms since the epoch. */
  servedMs: integer,
  /** Of the manifest without its signatures. */
  digest: z.string(),
});
const publication = announced.extend({
  /** Of the manifest with its signatures. */
  signed: z.string(),
});
const withdrawal = z.object({
  kind: z.literal("withdrawal"),
  suite,
  /** That of the last publication. */
  dateSeconds: integer,
  /** When the suite was taken out of service, in ms since the epoch. */
  withdrawnMs: integer,
});

export const currentState = z.discriminatedUnion("kind", [publication, withdrawal]);

export const announcedState = z.discriminatedUnion("kind", [announced, withdrawal]);

/** A publication that may still be signed, without its content. */
export type AnnouncedPublication = z.infer<typeof announced>;
/** What is to become the state of a suite. */
export type AnnouncedState = z.infer<typeof announcedState>;
/** The current publication of a suite, without its content. */
export type CurrentPublication = z.infer<typeof publication>;
/** A suite that has a current publication, or is no longer served. */
export type CurrentState = z.infer<typeof currentState>;

/** What a newer version of the program says about a suite, of which this one understands only when it was. */
export interface UnknownState {
  readonly kind: "unknown";
  readonly suite: Suite;
  readonly dateSeconds: number;
}

/** @param text "ORDER STATE" @returns undefined if not even the order is in the form that is known here */
export function parseOrdered(suiteText: string, text: string): CurrentState | UnknownState | undefined {
  const [order, json] = parted(text);
  const known = parseCurrent(json);
  if (known !== undefined) return known;
  const parsed = suite.safeParse(suiteText);
  const dateSeconds = Math.ceil(Number(order) / 2);
  return parsed.success && Number.isSafeInteger(dateSeconds)
    ? { kind: "unknown", suite: parsed.data, dateSeconds }
    : undefined;
}

/** @returns undefined for text of another form, which a newer version of the program may have written */
export const parseCurrent = (text: string): CurrentState | undefined => parsedJson(currentState, text);

/** The greater of two is the later one. A suite is taken out of service after its last publication. */
export const orderOf = (current: {
  readonly kind: (CurrentState | UnknownState)["kind"];
  readonly dateSeconds: number;
}): number => 2 * current.dateSeconds + (current.kind === "withdrawal" ? 1 : 0);

/** The form in which Valkey compares states. */
export const orderText = (current: AnnouncedState): string => String(orderOf(current));
