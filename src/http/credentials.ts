// Parses Authorization headers: a Bearer token, or a name with a password.

/** The token of a Bearer scheme. @see RFC 6750 2.1 */
export const bearerOf = (authorization: string | undefined): string | undefined =>
  /^Bearer +([^ ]+) *$/i.exec(authorization ?? "")?.[1];

/** `name:password` of a Basic scheme. @see RFC 7617 2 */
export function basicOf(authorization: string | undefined): string | undefined {
  const encoded = /^Basic +([A-Za-z0-9+/]+={0,2}) *$/i.exec(authorization ?? "")?.[1];
  return encoded === undefined ? undefined : Buffer.from(encoded, "base64").toString("utf8");
}
