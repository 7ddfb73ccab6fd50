// The version of this program.
import { readFileSync } from "node:fs";

/** The version in package.json, which is beside `dist/` in a checkout, in an installed package and in the image. */
export function ownVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    readonly version: string;
  };
  return version;
}
