// A small file of our own: a JSON object whose members are all integers.

/** @returns the members that are integers; others are left out @throws SyntaxError for text that is not JSON */
export function parseJsonIntegers(json: string): Map<string, number> {
  const value: unknown = JSON.parse(json);
  const isInteger = (member: [string, unknown]): member is [string, number] => Number.isSafeInteger(member[1]);
  return new Map(Object.entries(value ?? {}).filter(isInteger));
}
