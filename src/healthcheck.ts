// Checks whether a running server responds; exit code 0 or 1. For containers, whose images do not contain curl.

const timeoutMs = 3_000;
const defaultUrl = "http://127.0.0.1:8380/healthz";

const url = process.argv[2] ?? defaultUrl;
try {
  const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) });
  process.stdout.write(`${response.status} ${await response.text()}\n`);
  process.exitCode = response.ok ? 0 : 1;
} catch {
  process.stdout.write(`no response from ${url}\n`);
  process.exitCode = 1;
}
