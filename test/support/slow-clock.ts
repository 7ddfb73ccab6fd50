// The clock of a client of the tests' own, set back or forward while the machine's goes on: by libfaketime.
import { existsSync } from "node:fs";

/** The same place in every Debian of this architecture. */
const library = `/usr/lib/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu/faketime/libfaketime.so.1`;

/**
 * What to put into the environment of a program, and of all that it starts, so that its clock is so far behind.
 * @param seconds below zero: so far ahead
 */
export function clockBehind(seconds: number): { readonly [name: string]: string } {
  if (!existsSync(library)) throw new Error("this test needs libfaketime: apt-get install faketime");
  // Only what tells the time of day: what measures how long something takes is right.
  return {
    LD_PRELOAD: library,
    FAKETIME: seconds < 0 ? `+${-seconds}s` : `-${seconds}s`,
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
    FAKETIME_NO_CACHE: "1",
  };
}
