// Reloads the configuration of a running server: takes it over, and logs the keys that need a restart.
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Configuration } from "../config/configuration.ts";
import { ConfigurationError } from "../config/configuration-error.ts";
import type { ReloadOutcome } from "./reload-outcome.ts";
import type { ServedConfiguration } from "./served-configuration.ts";

/**
 * Takes over the configuration that `reread` returns.
 * @throws ConfigurationError, and other errors of opening repositories; then nothing has changed
 */
export async function reload(
  served: ServedConfiguration,
  reread: () => Configuration,
  log: Log,
): Promise<ReloadOutcome> {
  try {
    const known = new Set(served.configuration.warnings);
    const wanted = reread();
    const outcome = await served.takeOver(wanted);
    for (const warning of wanted.warnings) if (!known.has(warning)) log.warn({}, warning);
    const { live, restart, published } = outcome;
    log.info({ changed: live, reopened: [...published.keys()] }, "configuration reloaded");
    if (restart.length > 0) log.warn({ keys: restart }, "these keys have changed and need a restart to have an effect");
    return outcome;
  } catch (thrown) {
    const mistakes = thrown instanceof ConfigurationError ? thrown.mistakes : [messageOf(thrown)];
    log.error({ mistakes }, "the configuration could not be reloaded: the previous one stays in effect");
    throw thrown;
  }
}
