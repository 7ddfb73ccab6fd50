// The error for mistakes in flags, the configuration or the environment. It is in a file of its own because
// configuration.ts imports every stage that has limits, which most commands do not need.
import { RepoError } from "../base/errors.ts";

/** All mistakes in a configuration, each with its place. */
export class ConfigurationError extends RepoError {
  readonly code = "configuration/invalid";
  readonly mistakes: readonly string[];
  constructor(mistakes: readonly string[]) {
    super(mistakes.join("\n"));
    this.mistakes = mistakes;
  }
}
