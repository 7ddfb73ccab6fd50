// Compiles lzma-native for Linux on arm64 from the sources in its npm package, whose own binary for it is for x86-64.
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { include_dir as nodeHeaders } from "node-api-headers";

/** GNU's name of the machine, which begins the names of its compilers. */
const machine = "aarch64-linux-gnu";

/** As in lzma-native's liblzma-config.sh, and without documents and translations. */
const configureFlags = [
  ...["--enable-static", "--disable-shared", "--disable-scripts", "--disable-lzmainfo", "--disable-lzma-links"],
  ...["--disable-lzmadec", "--disable-xzdec", "--disable-xz", "--disable-rpath", "--disable-doc", "--disable-nls"],
];

/**
 * Replaces the binary in an installed module. On another architecture this needs a cross-compiler.
 * @param module the directory of lzma-native
 */
export function compileLzmaNative(module) {
  const run = (command, args, cwd = module) =>
    execFileSync(command, args, { cwd, stdio: ["ignore", "ignore", "pipe"], maxBuffer: 1 << 26 });
  try {
    run(`${machine}-g++`, ["--version"]);
  } catch {
    throw new Error(
      `npm run package compiles lzma-native with ${machine}-g++ for arm64: apt-get install g++-${machine} make bzip2`,
    );
  }
  const build = join(module, "build");
  mkdirSync(build, { recursive: true });
  run("tar", ["-xjf", join(module, "deps/xz-5.2.3.tar.bz2"), "-C", build]);
  const liblzma = join(build, "xz-5.2.3");
  // npm's binaries are compiled without optimisation, and take twice as long.
  run("sh", ["configure", `--host=${machine}`, ...configureFlags, "CFLAGS=-fPIC -O2"], liblzma);
  run("make", [`-j${availableParallelism()}`, "-C", "src/liblzma"], liblzma);
  const sources = readdirSync(join(module, "src")).filter((name) => name.endsWith(".cpp"));
  const addonApi = JSON.parse(
    execFileSync(process.execPath, ["-p", "require('node-addon-api').include"], { cwd: module }),
  );
  run(`${machine}-g++`, [
    // The C++ library is linked in: the newest one on the machine that compiles may be too new elsewhere.
    ...["-shared", "-fPIC", "-O2", "-std=c++11", "-static-libstdc++", "-static-libgcc", "-Wl,--exclude-libs,ALL", "-s"],
    ...[`-I${nodeHeaders}`, `-I${addonApi}`, `-I${join(liblzma, "src/liblzma/api")}`],
    ...sources.toSorted().map((name) => join("src", name)),
    join(liblzma, "src/liblzma/.libs/liblzma.a"),
    ...["-o", join(module, "prebuilds/linux-arm64/node.napi.node")],
  ]);
}
