// No package of Debian's own archive is rejected because of its control fields.
import { expect, test } from "vitest";
import { checkBinaryControl, checkSourceControl } from "../../src/debian/control.ts";
import { parseStanza } from "../../src/debian/deb822.ts";
import type { Stanza } from "../../src/debian/stanza.ts";
import { archiveApt, archiveIndex, archiveMissing } from "../support/debian-archive.ts";

const components = ["main", "contrib", "non-free", "non-free-firmware"];
const limits = { maxStanzaBytes: 2 ** 20, maxFields: 100, maxFieldNameBytes: 100 };
const fetchMs = 600_000;

const missing = await archiveMissing();
if (missing !== undefined) process.stderr.write(`no real control fields are read: ${missing}\n`);

/** The reasons why stanzas are rejected. */
function rejections(texts: readonly string[], check: (stanza: Stanza) => void): readonly string[] {
  return texts.flatMap((text) => {
    try {
      check(parseStanza(Buffer.from(`${text.trimEnd()}\n`), limits));
      return [];
    } catch (thrown) {
      return [`${text.split("\n", 1)[0]}: ${String(thrown)}`];
    }
  });
}

/** In Sources, the name of the source package is in Package. */
const asDsc = (stanza: Stanza): Stanza => stanza.map(([name, value]) => [name === "Package" ? "Source" : name, value]);

test.skipIf(missing !== undefined).each(["bookworm", "trixie"])(
  "all binaries and sources of Debian %s comply with the rules for fields that apt reads",
  async (codename) => {
    const apt = await archiveApt(components, ["amd64"], "deb deb-src", codename);
    try {
      const binaries = archiveIndex(apt, "_binary-amd64_Packages");
      expect(binaries.length).toBeGreaterThan(50_000);
      const spoiled = binaries.slice(0, 1).map((text) => text.replace("\n", "\nEnhances: it (= )\n"));
      expect(rejections(spoiled, checkBinaryControl)).toHaveLength(1);
      expect(rejections(binaries, checkBinaryControl)).toEqual([]);
      const sources = archiveIndex(apt, "_source_Sources");
      expect(sources.length).toBeGreaterThan(30_000);
      expect(rejections(sources, (stanza) => checkSourceControl(asDsc(stanza)))).toEqual([]);
    } finally {
      apt.close();
    }
  },
  fetchMs,
);
