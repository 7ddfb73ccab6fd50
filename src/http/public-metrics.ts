// Metrics as strangers may see them: without the names of private repositories.
const repositoryLabel = /[{,]repository="([^"]*)"/;

/**
 * Leaves out every series of a private repository, and says how many repositories that were.
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
