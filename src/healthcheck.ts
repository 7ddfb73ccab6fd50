// Asks a running server whether it is alive; exit status 0 or 1. For containers, whose images hold no curl.

const answerWithinMs = 3_000;
const defaultUrl = "http://127.0.0.1:8380/healthz";

const url = process.argv[2] ?? defaultUrl;
try {
  const reply = await fetch(url, { signal: AbortSignal.timeout(answerWithinMs) });
  process.stdout.write(`${reply.status} ${await reply.text()}\n`);
  process.exitCode = reply.ok ? 0 : 1;
} catch {
  process.stdout.write(`no answer from ${url}\n`);
  process.exitCode = 1;
}
