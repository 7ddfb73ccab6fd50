// OpenPGP signatures by Node's own RSA and Ed25519. The library takes a key apart anew for each signature, and a ping
// waits for these longer than for anything else.
import type { KeyObject } from "node:crypto";
import { createHash, createPrivateKey, sign } from "node:crypto";
import { promisify } from "node:util";
import type { PrivateKey, Subkey } from "openpgp";
import { enums } from "openpgp";
import { RepoError } from "../base/errors.ts";

/** The part of a key that signs, ready for use. */
export interface SigningPart {
  readonly algorithm: enums.publicKey;
  /** Lower-case hex. */
  readonly fingerprint: string;
  readonly key: KeyObject;
}

/** What a signature says it is over: the bytes, or lines of text. */
export type SignatureKind = enums.signature.binary | enums.signature.text;

/** A private key whose numbers are not those of its algorithm. */
class KeyNumbersMissing extends RepoError {
  readonly code = "signing/key-numbers";
}

/** @param part unlocked; RSA or the old form of Ed25519 @throws KeyNumbersMissing */
export function signingPart(part: PrivateKey | Subkey): SigningPart {
  const { algorithm, publicParams, privateParams } = part.keyPacket as unknown as {
    readonly algorithm: enums.publicKey;
    readonly publicParams: object;
    readonly privateParams: object | null;
  };
  const numbers: Readonly<Record<string, unknown>> = { ...publicParams, ...privateParams };
  const number = (name: string): Buffer => {
    const bytes = numbers[name];
    if (bytes instanceof Uint8Array) return Buffer.from(bytes);
    throw new KeyNumbersMissing(`the signing key has no ${name}`);
  };
  const jwk = algorithm === enums.publicKey.eddsaLegacy ? ed25519Jwk(number) : rsaJwk(number);
  return { algorithm, fingerprint: part.getFingerprint(), key: createPrivateKey({ key: jwk, format: "jwk" }) };
}

type JsonWebKey = Readonly<Record<string, string>>;

/** @see RFC 8037 2. OpenPGP writes a byte before the point. */
const ed25519Jwk = (number: (name: string) => Buffer): JsonWebKey => ({
  kty: "OKP",
  crv: "Ed25519",
  x: number("Q").subarray(1).toString("base64url"),
  d: number("seed").toString("base64url"),
});

/** @see RFC 7518 6.3.2; RFC 4880 5.5.3. OpenPGP's `u` is the inverse of p, JWK's `qi` that of q: so the two change places. */
function rsaJwk(number: (name: string) => Buffer): JsonWebKey {
  const exponent = BigInt(`0x${number("d").toString("hex")}`);
  const modulo = (prime: Buffer): Buffer => {
    const hex = (exponent % (BigInt(`0x${prime.toString("hex")}`) - 1n)).toString(16);
    return Buffer.from(hex.padStart(prime.length * 2, "0"), "hex");
  };
  const [p, q] = [number("q"), number("p")];
  const numbers = {
    n: number("n"),
    e: number("e"),
    d: number("d"),
    p,
    q,
    dp: modulo(p),
    dq: modulo(q),
    qi: number("u"),
  };
  const encoded = Object.entries(numbers).map(([name, bytes]) => [name, bytes.toString("base64url")] as const);
  return { kty: "RSA", ...Object.fromEntries<string>(encoded) };
}

const signInThread = promisify<string | null, Buffer, KeyObject, Buffer>(sign);

const hashName = "sha512";

/**
 * A signature packet of version 4: with equal arguments always the same.
 * @param dateSeconds when it says that it was made, in seconds since the epoch
 * @see RFC 4880 5.2.3, 5.2.4
 */
export async function signature(
  kind: SignatureKind,
  text: string,
  dateSeconds: number,
  { algorithm, fingerprint, key }: SigningPart,
): Promise<Uint8Array> {
  const subpackets = Buffer.concat([
    subpacket(creationTime | critical, integer(dateSeconds, 4)),
    subpacket(issuerKeyId, Buffer.from(fingerprint.slice(-16), "hex")),
    subpacket(issuerFingerprint, Buffer.from(`04${fingerprint}`, "hex")),
  ]);
  const said = Buffer.concat([
    Buffer.from([4, kind, algorithm, enums.hash.sha512]),
    integer(subpackets.length, 2),
    subpackets,
  ]);
  const trailer = Buffer.concat([Buffer.from([4, 0xff]), integer(said.length, 4)]);
  const signed = Buffer.concat([Buffer.from(kind === enums.signature.text ? canonical(text) : text), said, trailer]);
  const hash = createHash(hashName).update(signed).digest();
  const isRsa = algorithm !== enums.publicKey.eddsaLegacy;
  const made = isRsa ? await signInThread(hashName, signed, key) : await signInThread(null, hash, key);
  const numbers = isRsa ? [made] : [made.subarray(0, made.length / 2), made.subarray(made.length / 2)];
  const none = integer(0, 2);
  return packet(Buffer.concat([said, none, hash.subarray(0, 2), ...numbers.map(multiprecision)]));
}

/** RFC 4880 5.2.3.1; the last is RFC 9580's 5.2.3.35, and older programs pass over it. */
const [creationTime, issuerKeyId, issuerFingerprint, critical] = [2, 16, 33, 0x80] as const;

/** Blanks at the ends of lines do not count. @see RFC 4880 5.2.4, 7.1 */
const canonical = (text: string): string => text.replace(/[ \t]+$/gm, "").replaceAll("\n", "\r\n");

function integer(value: number, bytes: number): Buffer {
  const written = Buffer.alloc(bytes);
  written.writeUIntBE(value, 0, bytes);
  return written;
}

const subpacket = (type: number, body: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from([body.length + 1, type]), body]);

/** @see RFC 4880 3.2 */
function multiprecision(number: Buffer): Buffer {
  const first = number.findIndex((byte) => byte !== 0);
  const bytes = number.subarray(first === -1 ? number.length : first);
  const bits = bytes.length * 8 - Math.clz32(bytes[0] ?? 0) + 24;
  return Buffer.concat([integer(bytes.length === 0 ? 0 : bits, 2), bytes]);
}

/** In the new format. @see RFC 4880 4.2.2 */
function packet(body: Buffer): Uint8Array {
  const { length } = body;
  const size = length < 192 ? [length] : [((length - 192) >> 8) + 192, (length - 192) & 0xff];
  return Buffer.concat([Buffer.from([0xc0 | enums.packet.signature, ...size]), body]);
}
