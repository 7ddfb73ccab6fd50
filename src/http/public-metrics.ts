// Removes private repositories from metrics that are readable without a token.
const repositoryLabel = /[{,]repository="([^"]*)"/;

/**
 * Removes each series of a private repository and adds a comment with the number of these repositories.
 * @param metrics in Prometheus' text format
 * @param names of the private repositories
 */
export function withoutPrivate(metrics: string, names: ReadonlySet<string>): string {
  if (names.size === 0) return metrics;
  const lines = metrics
    .split("\n")
    .filter((line) => line.startsWith("#") || !names.has(repositoryLabel.exec(line)?.[1] ?? ""));
  const left = `${names.size} private ${names.size === 1 ? "repository is" : "repositories are"} left out`;
  return `${lines.join("\n")}# ${left}: set metrics_token_file, and send the token, to see all\n`;
}
