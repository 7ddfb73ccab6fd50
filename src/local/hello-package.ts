// A small package for trying tahoe-apt out: it has a name that Debian does not have, and installs on every machine.
import { writeDeb } from "../debian/write-deb.ts";

export const helloName = "tahoe-apt-hello";

/** The name of the package's file. */
export const helloFile = (version: string): string => `${helloName}_${version}_all.deb`;

/** The same at every start, so that the bytes are too. */
const atSeconds = Date.UTC(2026, 10, 29) / 1000;

/** Its only program prints the version. */
export function helloDeb(version: string): Buffer {
  return writeDeb({
    control: [
      ["Package", helloName],
      ["Version", version],
      ["Architecture", "all"],
      ["Maintainer", "tahoe-apt <tahoe-apt@localhost>"],
      ["Section", "misc"],
      ["Priority", "optional"],
      ["Description", "small package for trying tahoe-apt out\n It has one program, and can be removed at any time."],
    ],
    scripts: {},
    files: [
      {
        path: `usr/bin/${helloName}`,
        content: `#!/bin/sh\necho "Hello from ${helloName} ${version}, installed by APT from Tahoe-LAFS."\n`,
        isProgram: true,
      },
    ],
    atSeconds,
  });
}
