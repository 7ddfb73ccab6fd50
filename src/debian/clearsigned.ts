// The text in an OpenPGP cleartext signature. The signature is not verified here.
import type { TextLimits } from "./deb822.ts";
import { Deb822Error, parseStanza, withoutSpaceAtEnd } from "./deb822.ts";
import { Malformed } from "./malformed.ts";
import type { Stanza } from "./stanza.ts";

const begin = "-----BEGIN PGP SIGNED MESSAGE-----";
const signature = "-----BEGIN PGP SIGNATURE-----";
const end = "-----END PGP SIGNATURE-----";

/**
 * @param text the text of the file
 * @returns the signed text with its dashes unescaped; a text without armour unchanged. White space at line ends is
 *   removed from both: no signature covers it, and dpkg-source takes a line of white space for the end of a stanza
 * @throws Malformed `bad-dsc` if the armour is incomplete or there is text outside of it, which only some programs
 *   would read
 * @see RFC 4880 7.1
 */
function stripClearSignature(text: string): string {
  const lines = text.split("\n").map(withoutSpaceAtEnd);
  if (lines[0] !== begin) {
    if (lines.some((line) => line.startsWith("-----BEGIN "))) throw flawed("text stands before its OpenPGP armour");
    return lines.join("\n");
  }
  const isLine = (wanted: string) => (line: string) => line === wanted;
  const blank = lines.findIndex(isLine(""));
  const headers = lines.slice(1, blank);
  if (blank < 0 || !headers.every((line) => /^Hash: [A-Za-z0-9, -]+$/.test(line))) {
    throw flawed("its OpenPGP armour has other headers than Hash");
  }
  const bodyEnd = lines.findIndex(isLine(signature));
  const armourEnd = lines.findIndex(isLine(end));
  if (bodyEnd < blank || armourEnd < bodyEnd) throw flawed("its OpenPGP signature does not end");
  if (lines.slice(armourEnd + 1).some((line) => line !== "")) throw flawed("text follows its OpenPGP signature");
  const body = lines.slice(blank + 1, bodyEnd);
  if (body.some((line) => /^-(?! )/.test(line))) throw flawed("a dash in its signed text is not escaped");
  return body.map((line) => `${line.replace(/^- /, "")}\n`).join("");
}

/** Reads the only stanza of a text that may have a cleartext signature. @throws Malformed */
export function parseSignedStanza(raw: Buffer, limits: TextLimits): Stanza {
  // Latin-1 maps bytes to characters and back, so the armour can be removed before the encoding is checked.
  const text = stripClearSignature(raw.toString("latin1"));
  try {
    return parseStanza(Buffer.from(text, "latin1"), limits);
  } catch (thrown) {
    if (thrown instanceof Deb822Error) throw new Malformed("bad-dsc", thrown.message, { cause: thrown });
    throw thrown;
  }
}

const flawed = (why: string) => new Malformed("bad-dsc", why);
