// The name of a binary package, as apt and dpkg know it.
import type { Stanza } from "./stanza.ts";
import { fieldOf } from "./stanza.ts";

/**
 * apt and dpkg take `Hello` for `hello`. Were they two names here, both could be in an index as one version of one package
 * with different bytes, which apt warns about.
 * @returns in lower case; "" where there is none
 */
export const packageNameOf = (control: Stanza): string => fieldOf(control, "Package")?.toLowerCase() ?? "";
