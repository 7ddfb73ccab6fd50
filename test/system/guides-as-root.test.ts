// The guides whose commands change the machine, followed as root on a copy of it: reverse proxies, monitoring, clusters.
import { expect, test } from "vitest";
import { aDeb } from "../support/debs.ts";
import { blockOf } from "../support/documents.ts";
import { readProjectFile } from "../support/project-files.ts";
import { demandTool } from "../support/rootfs.ts";
import { sectionsOf } from "../support/sections.ts";
import { aQuickKey } from "../support/signing-key.ts";
import { onThisMachine } from "../support/this-machine.ts";
import { valkeyProgram } from "../support/valkey.ts";

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

test("the steps of the guide make a cluster of three replicas, first without and then with TLS to Valkey", async () => {
  demandTool("haproxy", "haproxy");
  const program = valkeyProgram();
  // The service is started when systemctl returns; here it takes another moment.
  const withName = (fence: string): string =>
    blockOf(fence)
      .replace(/^name=.*$/m, `name=${program.replace("-server", "")}`)
      .replace(/^systemctl restart .*$/m, "$&; until ss -ltn | grep 192.0.2.9:6379; do sleep 0.05; done");
  const status = `for attempt in $(seq 60); do ! ${blockOf("sh cluster-status").trim()} || break; sleep 0.1; done`;
  const listen = (number: number): string => blockOf("sh cluster-listen").replace("192.0.2.1", `192.0.2.${number}`);
  const add = blockOf("sh cluster-add").replace(/^apt-get install .*\n/, "");
  // Each replica sees a configuration and a state of its own, and the same folder.
  const onReplica = (number: number, script: string): string =>
    `\nunshare --mount bash -ec 'mount -t tmpfs tmpfs /etc/tahoe-apt; mount -t tmpfs tmpfs /var/lib/tahoe-apt
export replica=${number}
${script}'\n`;
  const said = sectionsOf(
    await onThisMachine(
      `for number in 1 2 3 9; do ip address add 192.0.2.$number/24 dev lo; done
echo 127.0.0.1 apt.example.org >>/etc/hosts
mkdir -p /var/packages/dists/sid/main/binary-amd64 /etc/tahoe-apt/credentials
base64 -d /root/hello.base64 >/var/packages/dists/sid/main/binary-amd64/hello_1.0-1_amd64.deb
chmod -R go= /var/lib/tahoe-apt
# Stands for the service of one replica.
systemctl() {
  case $* in
    "start tahoe-apt")
      CREDENTIALS_DIRECTORY=/etc/tahoe-apt/credentials tahoe-apt serve --config ${configurationFile} \\
        --listen $(sed -n s/^ListenStream=//p /etc/systemd/system/tahoe-apt.socket.d/cluster.conf) >/var/log/$replica.out 2>&1 &
      echo $! >/var/log/$replica.pid ;;
    *" tahoe-apt"*) ;;
    *) command systemctl "$@" ;;
  esac
}
export -f systemctl
echo "== valkey"
${withName("sh cluster-valkey")}
cp valkey.password /etc/tahoe-apt/credentials/valkey.password
${blockOf("sh cluster-key")}cat >/root/lines <<'LINES'
${blockOf("toml cluster-key")}LINES
sed -i '/^\\[\\[repository]]/r /root/lines' ${configurationFile}
${aboveTables(configurationFile, blockOf("toml cluster"))}
echo "== first"
export replica=1
${listen(1)}${status}
${blockOf("sh cluster-copy")}
echo "== others"
${[2, 3].map((number) => onReplica(number, `cp replica.tar other.tar\n${add.replaceAll("replica.tar", "other.tar")}${listen(number)}${status}`)).join("")}
echo "== proxy"
${blockOf("sh trial-certificate")}${blockOf("sh combined-certificate")}cd /root
cp /usr/share/doc/tahoe-apt/examples/proxies/haproxy-replicas.cfg .
${blockOf("sh cluster-haproxy")}
export CURL_CA_BUNDLE=/etc/ssl/tahoe-apt/fullchain.pem
echo "== client"
until curl -fsS https://apt.example.org/debian/dists/sid/main/binary-amd64/Packages 2>/dev/null; do sleep 0.1; done
echo "== tls"
kill $(pidof ${program}); while pidof ${program}; do sleep 0.05; done
${withName("sh valkey-tls")}cp tls.pem /root
cat >/root/lines <<'LINES'
${blockOf("toml valkey-tls")}LINES
for number in 1 2 3; do
  nsenter --mount --target $(cat /var/log/$number.pid) bash -ec "
    cp /root/tls.pem /etc/tahoe-apt/valkey.pem
    sed -i -e '/^url = /{r /root/lines
d}' ${configurationFile}
    kill $(cat /var/log/$number.pid); while kill -0 $(cat /var/log/$number.pid) 2>/dev/null; do sleep 0.05; done
    export replica=$number
    echo '[Socket]
ListenStream=192.0.2.$number:8380' >/etc/systemd/system/tahoe-apt.socket.d/cluster.conf
    systemctl start tahoe-apt"
done
echo "== end"
for attempt in $(seq 100); do
  if nsenter --mount --target $(cat /var/log/3.pid) ${blockOf("sh cluster-status").trim()} >/root/status; then
    [ "$(grep -c 'serves everything' /root/status)" != 3 ] || break
  fi
  sleep 0.2
done
cat /root/status`,
      {
        "etc/tahoe-apt/tahoe-apt.toml": `state = "/var/lib/tahoe-apt"\n[[repository]]\nname = "debian"\nfolder = "/var/packages"\n`,
        "var/lib/tahoe-apt/repositories/debian/signing-key.asc": await aQuickKey(),
        "root/hello.base64": Buffer.from(await aDeb({ package: "hello", architecture: "amd64" })).toString("base64"),
      },
    ),
  );
  expect(said.get("valkey")).toMatch(/^PONG$/m);
  expect(said.get("client")).toMatch(/^Package: hello$/m);
  for (const heading of ["others", "end"]) {
    expect(said.get(heading)).toMatch(/^Valkey: connected/m);
    expect(said.get(heading)).toMatch(/^debian: published by 192\.0\.2\.\d:8380,/m);
    for (const number of [1, 2, 3]) expect(said.get(heading)).toContain(` 192.0.2.${number}:8380 `);
  }
  expect(said.get("end")?.match(/: serves everything/g)).toHaveLength(3);
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
