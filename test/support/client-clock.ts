// Changes the clock of the test's client by libfaketime, while the machine's clock stays the same.
import { existsSync } from "node:fs";

/** The path in every Debian of this architecture. */
const library = `/usr/lib/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu/faketime/libfaketime.so.1`;

/**
 * Environment variables with which the clock of a program and its children is behind.
 * @param seconds how far behind; negative: ahead
 */
export function clockBehind(seconds: number): { readonly [name: string]: string } {
  if (!existsSync(library)) throw new Error("this test needs libfaketime: apt-get install faketime");
  // Only the time of day changes; monotonic clocks stay correct.
  return {
    LD_PRELOAD: library,
    FAKETIME: seconds < 0 ? `+${-seconds}s` : `-${seconds}s`,
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
    FAKETIME_NO_CACHE: "1",
  };
}
