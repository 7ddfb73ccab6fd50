// JSON of a gateway. Listings of large directories pass through here, so no schema library is used.

export type JsonObject = Readonly<Record<string, unknown>>;

/** @returns undefined for an array, null and everything else that is not an object */
export const tryJsonObject = (value: unknown): JsonObject | undefined =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined;
