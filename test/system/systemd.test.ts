// The installed service under a real systemd: readiness, credentials, watchdog, and restarts that lose no request.
import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import fetch from "node-fetch";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { AptRoot } from "../support/apt.ts";
import { buildPackagesMs, builtPackages } from "../support/built-packages.ts";
import { aDeb } from "../support/debs.ts";
import { blockOf } from "../support/documents.ts";
import { slowDownload, underLoad } from "../support/load.ts";
import { freePort } from "../support/server.ts";
import type { BootedMachine } from "../support/systemd.ts";
import { bootTrixie } from "../support/systemd.ts";

const run = promisify(execFile);
const token = randomBytes(18).toString("base64url");
/** Larger than what the sockets of both sides hold. */
const largeFile = randomBytes(24 * 2 ** 20);
/** The download of the large file takes 4 seconds then, which is less than the grace period. */
const slowMs = 10;
const unit = "tahoe-apt.service";

let machine: BootedMachine;
let work: string;
let url: string;

const show = async (property: string): Promise<string> =>
  (await machine.sh(`systemctl show --value -p ${property} ${unit}`)).trim();
const journal = (): Promise<string> => machine.sh(`journalctl -u ${unit} --no-pager -o cat`);

/** Adds settings to a unit, and takes them away at the end of an action. */
async function withSettings(settings: readonly string[], action: () => Promise<void>): Promise<void> {
  const dropIn = `/etc/systemd/system/${unit}.d/test.conf`;
  await machine.sh(
    `mkdir -p $(dirname ${dropIn}); printf '%s\\n' '[Service]' '${settings.join("' '")}' > ${dropIn}; systemctl daemon-reload`,
  );
  try {
    await action();
  } finally {
    await machine.sh(
      `rm ${dropIn}; systemctl daemon-reload; systemctl reset-failed ${unit} || true; systemctl restart ${unit}`,
    );
  }
}

/** The package of the present version, as one of another version. */
async function anotherVersion(deb: string, version: string): Promise<string> {
  const [directory, target] = [join(work, `unpacked-${version}`), join(work, `tahoe-apt_${version}_amd64.deb`)];
  await run("dpkg-deb", ["--raw-extract", deb, directory]);
  for (const [name, pattern] of [
    ["DEBIAN/control", /^Version: .*/m],
    ["usr/lib/tahoe-apt/package.json", /"version": "[^"]*"/],
  ] as const) {
    const file = join(directory, name);
    const line = name.endsWith("json") ? `"version": "${version}"` : `Version: ${version}`;
    writeFileSync(file, readFileSync(file, "utf8").replace(pattern, line));
  }
  await run("dpkg-deb", ["--root-owner-group", "-Zgzip", "-z1", "--build", directory, target]);
  return target;
}

const install = async (deb: string): Promise<void> => {
  cpSync(deb, join(machine.root, "srv/package.deb"));
  await machine.sh("DEBIAN_FRONTEND=noninteractive dpkg -i /srv/package.deb 2>&1");
};

beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), "tahoe-apt-systemd-"));
  const { directory, files } = await builtPackages();
  const deb = join(directory, files.find((name) => /^tahoe-apt_.*_amd64\.deb$/.test(name)) ?? "");
  machine = await bootTrixie();
  const place = join(machine.root, "srv/packages/dists/sid/main/binary-amd64");
  mkdirSync(place, { recursive: true });
  for (const name of ["hello", "world"]) {
    const files = { "/usr/share/blob": randomBytes(200_000) };
    writeFileSync(join(place, `${name}_1.0_amd64.deb`), await aDeb({ package: name, version: "1.0", files }));
  }
  writeFileSync(join(machine.root, "srv/packages/large.bin"), largeFile);
  await install(deb);
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  const configuration = `
metrics_token_file = "credential:metrics.token"
grace_period_seconds = 30
[[repository]]
name = "debian"
folder = "/srv/packages"
ping_token_file = "debian/master.token"
`;
  writeFileSync(join(machine.root, "etc/tahoe-apt/tahoe-apt.toml"), configuration, { flag: "a" });
  writeFileSync(join(machine.root, "etc/tahoe-apt/credentials/metrics.token"), token);
  await machine.sh(`
    mkdir /etc/tahoe-apt/debian; head -c 24 /dev/urandom | base64 >/etc/tahoe-apt/debian/master.token
    chmod 600 /etc/tahoe-apt/debian/master.token; chown -R tahoe-apt: /etc/tahoe-apt/debian`);
  // The guide's addresses are of no machine.
  const listen = blockOf("ini listen")
    .replace("192.0.2.1", "127.0.0.1")
    .replace("2001:db8::1", "::1")
    .replaceAll("8380", String(port));
  await machine.sh(`
    mkdir /etc/systemd/system/tahoe-apt.socket.d
    printf %s '${listen}' > /etc/systemd/system/tahoe-apt.socket.d/listen.conf
    systemctl daemon-reload
    { ${blockOf("sh install-start")} } 2>&1 || { journalctl --no-pager -n 50; exit 1; }`);
  await vi.waitFor(async () => expect((await fetch(`${url}/readyz`)).status).toBe(200), { timeout: 60_000 });
}, 2 * buildPackagesMs);

afterAll(async () => {
  await machine?.remove();
  rmSync(work, { recursive: true, force: true });
});

test("the enabled service is started with its sockets, and says that it listens on them", async () => {
  expect(await machine.sh("systemctl is-active tahoe-apt.service tahoe-apt.socket")).toBe("active\nactive\n");
  expect(await machine.sh("systemctl is-enabled tahoe-apt.service tahoe-apt.socket")).toBe("enabled\nenabled\n");
  expect(await journal()).toMatch(/"addresses":\["127\.0\.0\.1:\d+","\[::1\]:\d+"\].*listening on the sockets/);
  const { port } = new URL(url);
  expect((await fetch(`http://[::1]:${port}/healthz`)).status).toBe(200);
});

test("the service may lower the priority of threads that nobody waits for", async () => {
  const values = async () => {
    const stats = await machine.sh(`cat /proc/$(systemctl show --value -p MainPID ${unit})/task/*/stat`);
    return stats.split("\n").map((stat) => stat.replace(/.*\)/, "").split(" ")[17]);
  };
  await expect.poll(values).toContain("10");
});

test("the lines of the guide let systemd take over changed addresses", async () => {
  const dropIn = "/etc/systemd/system/tahoe-apt.socket.d/more.conf";
  const port = await freePort();
  const { port: usual } = new URL(url);
  const listenOn = async (change: string): Promise<void> => {
    await machine.sh(`${change}; systemctl daemon-reload; { ${blockOf("sh listen")} } 2>&1`);
  };
  await listenOn(`printf '[Socket]\\nListenStream=127.0.0.1:${port}\\n' > ${dropIn}`);
  expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200);
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  await listenOn(`rm ${dropIn}`);
  await expect(fetch(`http://127.0.0.1:${port}/healthz`)).rejects.toThrow(/ECONNREFUSED/);
  expect((await fetch(`http://[::1]:${usual}/healthz`)).status).toBe(200);
});

test("the lines of the guide for backups write one now, and one each day", async () => {
  await machine.sh(blockOf("sh backup"));
  expect(await machine.sh("stat -c %a /var/backups/tahoe-apt-$(date +%F).backup")).toBe("600\n");
  await machine.sh(`{ ${blockOf("sh backup-timer")} } 2>&1`);
  expect(await machine.sh("systemctl list-timers --no-legend")).toContain(" tahoe-apt-backup.service");
  await machine.sh("touch --date '31 days ago' /var/backups/tahoe-apt-old.backup; systemctl start tahoe-apt-backup");
  expect((await machine.sh("ls /var/backups/tahoe-apt-*")).match(/^.*T\d\d:\d\d:\d\d\.backup$/gm)).toHaveLength(1);
  expect(await machine.sh("ls /var/backups/tahoe-apt-old.backup || true")).toBe("");
  await machine.sh(`
    systemctl disable --now tahoe-apt-backup.timer 2>&1
    rm /etc/systemd/system/tahoe-apt-backup.* /var/lib/systemd/timers/stamp-tahoe-apt-backup.timer
    systemctl daemon-reload`);
});

test("as the guide says, the server moves to a machine that has nothing but the package", async () => {
  const publicKey = async (): Promise<string> => await (await fetch(`${url}/debian/key.asc`)).text();
  const key = await publicKey();
  const [left, right] = ["/srv/old-state", "/srv/old-configuration"];
  await machine.sh(`cd /srv; { ${blockOf("sh move-from")} } 2>&1`);
  expect(await machine.sh("systemctl is-enabled tahoe-apt.service tahoe-apt.socket || true")).not.toContain("enabled");
  await expect(fetch(`${url}/healthz`)).rejects.toThrow(/ECONNREFUSED/);
  // What the package brings: an empty state, and a configuration without a repository.
  await machine.sh(`
    mv /var/lib/tahoe-apt ${left}; install -d -o tahoe-apt -g tahoe-apt -m 700 /var/lib/tahoe-apt
    cp -a /etc/tahoe-apt ${right}; rm -r /etc/tahoe-apt/credentials/* /etc/tahoe-apt/debian
    sed -i '/^metrics_token_file/,$d' /etc/tahoe-apt/tahoe-apt.toml`);
  await machine.sh(`cd /srv; { ${blockOf("sh restore")} ${blockOf("sh restore-start")} } 2>&1`);
  await machine.sh(blockOf("sh move-ready").replace("http://127.0.0.1:8380", url));
  expect(await publicKey()).toBe(key);
  const compared = `diff -r ${right} /etc/tahoe-apt; stat -c '%U %a %n' /etc/tahoe-apt/credentials/* ${right}/credentials/*`;
  expect(await machine.sh(compared)).toMatch(/^(root \d+) .*\n\1 .*\n$/);
  const places = "/etc/tahoe-apt/debian /etc/tahoe-apt/debian/master.token";
  expect(await machine.sh(`stat -c '%U:%G %a' ${places}`)).toBe("root:tahoe-apt 750\ntahoe-apt:tahoe-apt 600\n");
});

test("what the guide asks for in a request for help is printed, and has no secret", async () => {
  const printed = await machine.sh(blockOf("sh help").replace("http://127.0.0.1:8380", url));
  expect(printed).toMatch(/^\d+\.\d+\.\d+\n/);
  expect(printed).toContain("listening on the sockets");
  expect(printed).not.toContain(token);
});

test("without the messages of the server, systemd does not take it for started", async () => {
  await withSettings(["NotifyAccess=none", "TimeoutStartSec=3s"], async () => {
    await expect(machine.sh(`systemctl restart ${unit}`)).rejects.toThrow();
    expect(await journal()).toContain("start operation timed out");
  });
  expect(await show("ActiveState")).toBe("active");
});

test("a credential that only root can read on the disk protects the metrics", async () => {
  const asServer = "setpriv --reuid=tahoe-apt --regid=tahoe-apt --clear-groups";
  await expect(machine.sh(`${asServer} cat /etc/tahoe-apt/credentials/metrics.token`)).rejects.toThrow(/denied/);
  expect((await fetch(`${url}/metrics`)).status).toBe(401);
  expect((await fetch(`${url}/metrics`, { headers: { Authorization: `Bearer ${token}` } })).status).toBe(200);
  expect(await journal()).not.toMatch(/others may read|chmod/);
});

test("a missing credential is named in the journal, and the server does not start without it", async () => {
  await machine.sh("mv /etc/tahoe-apt/credentials/metrics.token /root/");
  await expect(machine.sh(`systemctl restart ${unit}`)).rejects.toThrow();
  expect(await journal()).toMatch(/metrics_token_file: credential:metrics\.token: .*LoadCredential=/);
  await machine.sh(`mv /root/metrics.token /etc/tahoe-apt/credentials/; systemctl restart ${unit}`);
});

describe("systemctl reload", () => {
  const file = (): string => join(machine.root, "etc/tahoe-apt/tahoe-apt.toml");
  let valid: string;
  beforeAll(async () => {
    valid = readFileSync(file(), "utf8");
  });
  afterAll(async () => {
    writeFileSync(file(), valid);
    await machine.sh(`systemctl reload ${unit}`);
  });

  const description = async (): Promise<string | undefined> =>
    /^Description: (.*)$/m.exec(await (await fetch(`${url}/debian/dists/sid/InRelease`)).text())?.[1];

  /** Reloads, and returns what systemd knows of the result. */
  async function reload(): Promise<{ readonly succeeds: boolean; readonly status: string | undefined }> {
    const succeeds = await machine.sh(`systemctl reload ${unit}`).then(
      () => true,
      () => false,
    );
    return { succeeds, status: /status=(\d+)/.exec(await show("ExecReload"))?.[1] };
  }

  /** Waits until the service has been active, reloading and active again. @param since when it last became active */
  const reloadedSince = async (since: string): Promise<void> =>
    await vi.waitFor(
      async () => {
        expect(await show("StateChangeTimestampMonotonic")).not.toBe(since);
        expect(await show("ActiveState")).toBe("active");
      },
      { timeout: 30_000 },
    );

  test("puts a changed configuration into effect in the same process", async () => {
    const pid = await show("MainPID");
    const before = await show("StateChangeTimestampMonotonic");
    writeFileSync(file(), `${valid}[repository.suite.sid]\ndescription = "after the reload"\n`);
    expect(await reload()).toEqual({ succeeds: true, status: "0" });
    expect(await description()).toBe("after the reload");
    expect(await show("MainPID")).toBe(pid);
    await reloadedSince(before);
  });

  test("of an invalid configuration fails and shows the exit code and the mistakes, and the former stays in effect", async () => {
    const before = await show("StateChangeTimestampMonotonic");
    writeFileSync(file(), `${valid}[repository.suite.sid]\ndescription = "invalid"\nnonsense = 1\n`);
    expect(await reload()).toEqual({ succeeds: false, status: "2" });
    expect(await machine.sh(`systemctl status ${unit} || true`)).toMatch(/ExecReload=.*status=2/);
    expect(await journal()).toMatch(/nonsense: is not a known key/);
    expect(await journal()).toContain("could not be reloaded: the previous one stays in effect");
    expect(await description()).toBe("after the reload");
    await reloadedSince(before);
    // The server is still supervised: it can be reloaded again.
    writeFileSync(
      file(),
      valid.replace("grace_period_seconds = 30", "grace_period_seconds = 29\ncache_bytes = 1000000"),
    );
    expect(await reload()).toEqual({ succeeds: false, status: "3" });
    expect(await journal()).toContain("needs a restart: cache_bytes");
    expect(await description()).not.toBe("after the reload");
  });

  test("by SIGHUP is told to systemd too: it sees the service reload, and end that", async () => {
    const before = await show("StateChangeTimestampMonotonic");
    await machine.sh(`systemctl kill --kill-whom=main --signal=HUP ${unit}`);
    await reloadedSince(before);
  });
});

test("a server whose event loop hangs is restarted", async () => {
  const hang = 'if (require("node:worker_threads").isMainThread) process.on("SIGUSR2", () => { for (;;); });\n';
  writeFileSync(join(machine.root, "srv/hang.cjs"), hang);
  const settings = ["WatchdogSec=3s", "RestartSec=100ms", "Environment=NODE_OPTIONS=--require=/srv/hang.cjs"];
  await withSettings(settings, async () => {
    await machine.sh(`systemctl restart ${unit}`);
    const pid = await show("MainPID");
    await machine.sh(`kill -USR2 ${pid}`);
    await vi.waitFor(async () => expect(await journal()).toContain("Watchdog timeout"), { timeout: 60_000 });
    // Connections wait in the socket until the next server answers.
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    expect(await show("MainPID")).not.toBe(pid);
  });
});

describe("clients that request without a pause", () => {
  let apt: AptRoot;
  let urls: readonly string[];
  beforeAll(async () => {
    const name = /href="([^"]*\.sources)"/.exec(await (await fetch(`${url}/debian/`)).text())?.[1] ?? "";
    apt = new AptRoot({
      source: await (await fetch(new URL(name, `${url}/debian/`))).text(),
      options: { "Acquire::Retries": "0" },
    });
    const indices = ["dists/sid/InRelease", "dists/sid/main/binary-amd64/Packages"];
    const packages = await (await fetch(`${url}/debian/${indices[1]}`)).text();
    const names = [...packages.matchAll(/^Filename: (.*)$/gm)].map(([, name = ""]) => name);
    expect(names).toHaveLength(2);
    // A server knows it only when it has listed the tree.
    const inNoIndex = "dists/sid/main/binary-amd64/hello_1.0_amd64.deb";
    // On both sockets.
    urls = [url, url.replace("127.0.0.1", "[::1]")].flatMap((at) =>
      [...indices, ...names, inNoIndex].map((path) => `${at}/debian/${path}`),
    );
  });
  afterAll(() => apt.close());

  /** What happens under load, while apt updates and downloads again and again, and a slow download is under way. */
  async function whatIsLost(
    action: () => Promise<unknown>,
  ): Promise<{ readonly requests: number; readonly lost: readonly string[] }> {
    const lost: string[] = [];
    let isOver = false;
    const download = await slowDownload(`${url}/debian/large.bin`, slowMs);
    const aptLoop = async (): Promise<void> => {
      while (!isOver) {
        rmSync(join(apt.directory, "state/lists"), { recursive: true });
        mkdirSync(join(apt.directory, "state/lists/partial"), { recursive: true });
        await apt.update().catch((thrown: unknown) => lost.push(String(thrown)));
        await apt.download("world").catch((thrown: unknown) => lost.push(String(thrown)));
      }
    };
    const { requests, failures } = await underLoad(urls, async () => {
      const apts = aptLoop();
      await action();
      isOver = true;
      await apts;
    });
    const digest = await download.digest.catch(String);
    if (digest !== createHash("sha256").update(largeFile).digest("hex")) lost.push(`slow download: ${digest}`);
    return { requests, lost: [...failures, ...lost] };
  }

  test("lose nothing while the service restarts twice", async () => {
    const pid = await show("MainPID");
    const { requests, lost } = await whatIsLost(() =>
      machine.sh(`systemctl restart ${unit}; systemctl restart ${unit}`),
    );
    expect(lost).toEqual([]);
    expect(requests).toBeGreaterThan(100);
    expect(await show("MainPID")).not.toBe(pid);
  });

  test("lose nothing while dpkg upgrades the package", async () => {
    const { directory, files } = await builtPackages();
    const present = files.find((name) => /^tahoe-apt_.*_amd64\.deb$/.test(name)) ?? "";
    const deb = await anotherVersion(join(directory, present), "99.0");
    const pid = await show("MainPID");
    const { requests, lost } = await whatIsLost(() => install(deb));
    expect(lost).toEqual([]);
    expect(requests).toBeGreaterThan(100);
    expect(await show("MainPID")).not.toBe(pid);
    expect(await machine.sh("tahoe-apt --version")).toBe("99.0\n");
    expect(await machine.sh("systemctl is-active tahoe-apt.service tahoe-apt.socket")).toBe("active\nactive\n");
  });

  test("have the package that the lines of the guide install, and the state from the backup that they restore", async () => {
    await machine.sh(`mv /srv/package.deb /srv/tahoe-apt_99.0_amd64.deb
      export DEBIAN_FRONTEND=noninteractive; cd /srv; { ${blockOf("sh upgrade")} ${blockOf("sh downgrade")} } 2>&1`);
    await vi.waitFor(async () => expect((await fetch(`${url}/readyz`)).status).toBe(200), { timeout: 60_000 });
    expect(await machine.sh("ls /var/lib/tahoe-apt")).toContain("before-restore-");
  });

  test("lose requests if the sockets are closed meanwhile", async () => {
    const { lost } = await whatIsLost(() => machine.sh(`systemctl restart tahoe-apt.socket ${unit}`));
    expect(lost).not.toEqual([]);
  });
});

test("a stopped service has ended with 0, and the next request starts it again", async () => {
  await machine.sh(`systemctl stop ${unit} 2>&1`);
  expect(await show("Result")).toBe("success");
  expect(await show("ExecMainStatus")).toBe("0");
  expect(await show("ActiveState")).toBe("inactive");
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  expect(await show("ActiveState")).toBe("active");
});

test("a purge stops the service, closes its sockets, and leaves no unit", async () => {
  await machine.sh(
    "rm -r /etc/systemd/system/tahoe-apt.* /etc/tahoe-apt/credentials/* /etc/tahoe-apt/debian; DEBIAN_FRONTEND=noninteractive dpkg --purge tahoe-apt 2>&1",
  );
  await expect(fetch(`${url}/healthz`)).rejects.toThrow(/ECONNREFUSED/);
  expect(await machine.sh("systemctl list-units --all --plain --no-legend 'tahoe-apt*'")).toBe("");
  expect(
    await machine.sh(
      "find /etc /usr/lib/systemd /var/lib/systemd /var/lib/tahoe-apt -name '*tahoe-apt*' 2>/dev/null || true",
    ),
  ).toBe("");
});
