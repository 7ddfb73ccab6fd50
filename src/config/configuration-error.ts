// What is wrong with flags, a configuration or the environment. Apart from the configuration, which loads all whose
// limits it holds: most commands have no need of that.
import { RepoError } from "../base/errors.ts";

/** Everything that is wrong with a configuration, each mistake with its place. */
export class ConfigurationError extends RepoError {
  readonly code = "configuration/invalid";
  readonly mistakes: readonly string[];
  constructor(mistakes: readonly string[]) {
    super(mistakes.join("\n"));
    this.mistakes = mistakes;
  }
}
