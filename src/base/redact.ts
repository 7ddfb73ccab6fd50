// Removes secrets, and the addresses of gateways, from texts that others see.

/** Replaces everything that looks like a cap. Messages should contain none; this is the second line of defence. */
export const withoutCaps = (text: string): string => text.replace(/(URI|pb)(:|%3A)[^\s"'<>)\]}]+/gi, "$1:…");

/** Removes caps and the addresses of gateways from a message that anybody may see. */
export const redact = (text: string): string =>
  withoutCaps(text).replace(/\bhttps?:\/\/(?:\[[^\]\s]*\])?[^\s"'<>()[\]{};]*/gi, "the gateway");
