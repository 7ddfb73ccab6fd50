// The error of a command that changes a tree: it says whether the links were changed before the failure.
import type { ErrorCode } from "../base/error-codes.ts";
import { codeOf, messageOf, RepoError } from "../base/errors.ts";
import { TokenUnknown } from "./ping-client.ts";

/** How many of the links were changed. "unknown": the command failed while changing them. */
export type LinkState = "none" | "unknown" | "all";

/** A description of each state for users. */
export type LinkStateTexts = { readonly [State in Exclude<LinkState, "none">]: string };

/** Has the error code of its cause. Running the same command again completes the change. */
export class ChangeFailed extends RepoError {
  readonly code: ErrorCode;
  readonly linked: LinkState;
  constructor(cause: unknown, linked: "none");
  constructor(cause: unknown, linked: LinkState, stateTexts: LinkStateTexts);
  constructor(cause: unknown, linked: LinkState, stateTexts?: LinkStateTexts) {
    const state = linked === "none" ? "nothing was changed" : stateTexts?.[linked];
    const where =
      linked !== "none" && cause instanceof TokenUnknown
        ? ", but only in the bundle's directories: if the builder was revoked, these are no longer in the tree"
        : "";
    super(`${messageOf(cause)} (${state}${where})`, { cause });
    this.code = codeOf(cause);
    this.linked = linked;
  }
}
