// What several commands do with what follows a flag.
import { messageOf, RepoError } from "../base/errors.ts";
import { ConfigurationError } from "../configuration-error.ts";

/** @throws ConfigurationError that names the flag, for an argument that can't be parsed */
export function argument<T>(flag: string, parse: () => T): T {
  try {
    return parse();
  } catch (thrown) {
    if (!(thrown instanceof RepoError)) throw thrown;
    throw new ConfigurationError([`${flag}: ${messageOf(thrown)}`]);
  }
}

/** For a flag that may be repeated. Not variadic: a positional argument behind it would be taken for one more. */
export const another = (raw: string, before: readonly string[] = []): readonly string[] => [...before, raw];
