// A command that changes a tree failed on its way: what it says about the links that it was to set or remove.
import type { ErrorCode } from "../base/error-codes.ts";
import { codeOf, messageOf, RepoError } from "../base/errors.ts";
import { TokenUnknown } from "./ping-client.ts";

/** Whether the links are changed. "unknown": some of them may be, because the failure came in between. */
export type LinkState = "none" | "unknown" | "all";

/** What each state is called to people. */
export type LinkWords = { readonly [State in Exclude<LinkState, "none">]: string };

/** The same command, run again, finishes what is left. Has the code of its cause. */
export class ChangeFailed extends RepoError {
  readonly code: ErrorCode;
  readonly linked: LinkState;
  constructor(cause: unknown, linked: "none");
  constructor(cause: unknown, linked: LinkState, words: LinkWords);
  constructor(cause: unknown, linked: LinkState, words?: LinkWords) {
    const state = linked === "none" ? "nothing was changed" : words?.[linked];
    const where =
      linked !== "none" && cause instanceof TokenUnknown
        ? ", but only in the bundle's directories: if the builder was revoked, these are not in the tree any more"
        : "";
    super(`${messageOf(cause)} (${state}${where})`, { cause });
    this.code = codeOf(cause);
    this.linked = linked;
  }
}
