// The guides whose commands change the machine, followed as root on a copy of it: reverse proxies and monitoring.
import { expect, test } from "vitest";
import { aDeb } from "../support/debs.ts";
import { blockOf } from "../support/documents.ts";
import { readProjectFile } from "../support/project-files.ts";
import { demandTool } from "../support/rootfs.ts";
import { sectionsOf } from "../support/sections.ts";
import { aQuickKey } from "../support/signing-key.ts";
import { onThisMachine } from "../support/this-machine.ts";

const configurationFile = "/etc/tahoe-apt/tahoe-apt.toml";

/** Puts lines where the guides say: above the first line that begins with a bracket. */
const aboveTables = (file: string, lines: string): string =>
  `cat >/root/lines <<'LINES'\n${lines}LINES\nsed -i -e '0,/^\\[/{/^\\[/{e cat /root/lines\n}}' ${file}\n`;

/** A server of two repositories, one of them private, and what a shell does beside it. */
async function besideServer(script: string): Promise<ReadonlyMap<string, string>> {
  const repository = (name: string): string =>
    `[[repository]]\nname = "${name}"\nfolder = "/srv-of-test"\nping_token_file = "ping.token"\nsigning_key_file = "key.asc"\n`;
  const reader = '[[repository.reader]]\nname = "bob"\npassword_file = "bob.password"\n';
  const deb = Buffer.from(await aDeb({ package: "hello", architecture: "amd64" })).toString("base64");
  const lines = `
chmod 600 /etc/tahoe-apt/*.token /etc/tahoe-apt/*.password /etc/tahoe-apt/key.asc
mkdir -p /var/packages/dists/sid/main/binary-amd64 /etc/tahoe-apt/credentials
base64 -d /root/hello.base64 >/var/packages/dists/sid/main/binary-amd64/hello_1.0-1_amd64.deb
cp /etc/tahoe-apt/ping.token ping.token
serve() {
  CREDENTIALS_DIRECTORY=/etc/tahoe-apt/credentials tahoe-apt serve --config ${configurationFile} >/var/log/server.out 2>&1 & server=$!
  until curl -fsS http://127.0.0.1:8380/readyz >/dev/null 2>&1; do kill -0 $server && sleep 0.05 || { cat /var/log/server.out; exit 1; }; done
}
${script}`;
  const printed = await onThisMachine(lines, {
    "etc/tahoe-apt/tahoe-apt.toml":
      readProjectFile("packaging/deb/tahoe-apt.toml") +
      `${repository("debian")}${repository("private")}${reader}`.replaceAll("/srv-of-test", "/var/packages"),
    "etc/tahoe-apt/ping.token": "a-token-that-is-long-enough",
    "etc/tahoe-apt/bob.password": "a-password-of-bob",
    "etc/tahoe-apt/key.asc": await aQuickKey(),
    "root/hello.base64": deb,
  });
  return sectionsOf(printed);
}

test.concurrent.each([
  ["nginx", "nginx", "sh proxy-nginx"],
  ["caddy", "caddy", "sh proxy-caddy"],
  ["haproxy", "haproxy", "sh proxy-haproxy"],
  ["varnishd", "varnish", "sh proxy-varnish"],
] as const)(
  "the steps of the guide put %s before the server, and the checks show what they say",
  async (program, debianPackage, steps) => {
    demandTool(program, debianPackage);
    const checks = [...blockOf("sh proxy-check").matchAll(/^(.+?) +# (.+)$/gm)];
    expect(checks.length).toBeGreaterThan(5);
    const combined = `cd /etc/ssl/tahoe-apt; ${blockOf("sh combined-certificate")}cd /root\n`;
    const said = await besideServer(`
echo 127.0.0.1 apt.example.org >>/etc/hosts
${aboveTables(configurationFile, blockOf("toml proxy"))}serve
echo "== proxy"
${blockOf("sh trial-certificate")}cd /root
${["haproxy", "varnishd"].includes(program) ? combined : ""}${blockOf(steps)}
export CURL_CA_BUNDLE=/etc/ssl/tahoe-apt/fullchain.pem
for attempt in $(seq 200); do ! curl -fsS https://apt.example.org/healthz >/dev/null 2>&1 || break; sleep 0.05; done
curl -fsS https://apt.example.org/healthz || tail -n 20 /var/log/*.out
${checks.map(([, command], index) => `\necho; echo "== check ${index}"; ${command}`).join("")}`);
    for (const [index, [line, , expected = ""]] of checks.entries())
      expect(said.get(`check ${index}`), `${line}\n${said.get("proxy")}`).toContain(expected.replace(/…$/, ""));
  },
);

test("the steps of the guide let Prometheus scrape the server, first without and then with a token", async () => {
  demandTool("prometheus", "prometheus");
  demandTool("amtool", "prometheus-alertmanager");
  const prometheus = "/etc/prometheus/prometheus.yml";
  const often = (text: string): string => text.replaceAll(": 15s", ": 1s");
  const restart =
    "kill $server; wait $server; serve; kill $(pidof prometheus); while pidof prometheus; do sleep 0.05; done\n";
  const said = await besideServer(`serve
echo "== install"
${blockOf("sh monitoring-install")}
cat >${prometheus} <<'LINES'
${often(blockOf("yaml scrape"))}LINES
systemctl restart prometheus-alertmanager
echo "== start"
${blockOf("sh monitoring-start")}
echo "== alerts"
curl -fsS http://127.0.0.1:9090/api/v1/alertmanagers
echo; echo "== metrics"
curl -fsS http://127.0.0.1:8380/metrics | grep -c 'repository="private"' || true
echo "== token"
${blockOf("sh metrics-token")}${aboveTables(configurationFile, blockOf("toml metrics-token"))}
cat >>${prometheus} <<'LINES'
${blockOf("yaml scrape-token")}LINES
${restart}${blockOf("sh monitoring-start")}
echo "== private"
until promtool query instant http://127.0.0.1:9090 'tahoe_apt_tree_up{repository="private"}' | grep '=> 1'; do sleep 0.05; done`);
  expect(said.get("start")).toMatch(/SUCCESS: 1 rule files found[\s\S]*up\{.*job="tahoe-apt".*=> 1/);
  expect(said.get("alerts")).toContain("http://127.0.0.1:9093/api/v2/alerts");
  expect(said.get("metrics")).toBe("0");
  expect(said.get("token")).toMatch(/up\{.*job="tahoe-apt".*=> 1/);
  expect(said.get("private")).toContain('repository="private"');
});

test("the lines of the guide let cron run the script for builds", async () => {
  demandTool("crontab", "cron");
  // There is no crontab at first, which is no mistake.
  const printed = await onThisMachine(`rm -f /var/spool/cron/crontabs/root
mkdir bin; printf '#!/bin/sh\\necho "built in $PWD"\\n' >bin/build-hello
set +e
${blockOf("sh cron-line")}
env -i HOME=/root PATH=/usr/bin:/bin sh -c "$(crontab -l | cut -d ' ' -f 6-)"`);
  expect(printed).toContain("built in /root");
});

test("a step that fails is not passed over", async () => {
  await expect(onThisMachine("echo before; promtool check config /nonsense; echo after")).rejects.toThrow(
    /^before\n[\s\S]*nonsense(?![\s\S]*after)/,
  );
});
