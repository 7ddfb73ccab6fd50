// What Valkey says about the current publication of a suite, and which of two publications is later.
import { z } from "zod";
import { parseSuiteOrFlat } from "../base/names.ts";
import { parsedBy } from "../base/parsed-by.ts";
import { parsedJson } from "./parsed-json.ts";

const suite = parsedBy(parseSuiteOrFlat);
const integer = z.number().int().nonnegative();
/** Fields are only ever added, and those that are not known here are ignored. */
const publication = z.object({
  kind: z.literal("publication"),
  suite,
  id: z.string(),
  dateSeconds: integer,
  /** When the publisher began to serve it, in ms since the epoch. */
  servedMs: integer,
  /** Of the manifest. */
  digest: z.string(),
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

/** The current publication of a suite, without its content. */
export type CurrentPublication = z.infer<typeof publication>;
/** A suite that has a current publication, or is no longer served. */
export type CurrentState = z.infer<typeof currentState>;

/** @returns undefined for text of another form, which a newer version of the program may have written */
export const parseCurrent = (text: string): CurrentState | undefined => parsedJson(currentState, text);

/** The greater of two is the later one. A suite is taken out of service after its last publication. */
export const orderOf = (current: { readonly kind: CurrentState["kind"]; readonly dateSeconds: number }): number =>
  2 * current.dateSeconds + (current.kind === "withdrawal" ? 1 : 0);
