// What docs/reference/configuration.md says about a key besides its type and default. It stands beside the key.

/** A type alias, because zod demands an index signature, which an interface lacks. */
export type KeyDocumentation = {
  /** The first version that has the key: a section of CHANGELOG.md. */
  readonly since: string;
  /** What the key means, for operators. */
  readonly description: string;
  /** How a text is written, for example "file" or "HOST:PORT"; by default "string". */
  readonly form?: string;
  /** The unit of a number, unless the name of the key ends with it. */
  readonly unit?: string;
  /** What takes effect without the key, if it is not a constant. */
  readonly byDefault?: string;
};

/** Returns a function that documents keys which exist since a version. Pass the result to `meta` of the key's schema. */
const since =
  (version: string) =>
  (description: string, more: Omit<KeyDocumentation, "since" | "description"> = {}): KeyDocumentation => ({
    since: version,
    description,
    ...more,
  });

/** For keys of the first release. The first key of a later release adds a constant for it. */
export const since010 = since("0.1.0");
