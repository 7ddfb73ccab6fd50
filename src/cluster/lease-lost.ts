// The error of a replica that may no longer publish.
import { RepoError } from "../base/errors.ts";

/** Another replica publishes now. What was built is forgotten, and the other one publishes the same changes. */
export class LeaseLost extends RepoError {
  readonly code = "cluster/lease-lost";
}
