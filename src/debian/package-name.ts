// The name of a binary package as apt and dpkg read it.
import type { Stanza } from "./stanza.ts";
import { fieldOf } from "./stanza.ts";

/**
 * apt and dpkg read `Hello` as `hello`. If these were two names here, an index could contain both as the same version
 * of one package with different bytes, and apt would warn.
 * @returns the name in lower case; "" if there is none
 */
export const packageNameOf = (control: Stanza): string => fieldOf(control, "Package")?.toLowerCase() ?? "";
