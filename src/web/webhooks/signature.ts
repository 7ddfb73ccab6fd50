// The signature of a webhook's request, and the secrets that it is made with.
// See the specification of Standard Webhooks, 1.0.0, "Signature scheme" and "Webhook headers".
import { createHmac } from "node:crypto";
import { Secret } from "../../base/secret.ts";

const prefix = "whsec_";
const [minSecretBytes, maxSecretBytes] = [24, 64];

/** Parses the serialized form of a secret. @throws Error that does not quote it */
export function parseWebhookSecret(secret: Secret): Secret {
  const text = secret.reveal();
  const base64 = text.startsWith(prefix) ? text.slice(prefix.length) : text;
  const key = Buffer.from(base64, "base64");
  if (key.toString("base64") !== base64 || key.length < minSecretBytes || key.length > maxSecretBytes) {
    throw new Error(
      `is not ${prefix} and ${minSecretBytes} to ${maxSecretBytes} bytes in base64; ` +
        `echo "${prefix}$(openssl rand -base64 32)" prints a new secret`,
    );
  }
  return new Secret(base64);
}

/** The signed parts of a request. */
export interface SignedMessage {
  readonly id: string;
  /** When it is sent, in seconds since the epoch. */
  readonly sentSeconds: number;
  readonly body: string;
}

/**
 * Returns the headers that say who sent a message.
 * @param secrets as `parseWebhookSecret` returns them; there is a signature with each, so that a receiver can replace one
 */
export function signatureHeaders({ id, sentSeconds, body }: SignedMessage, secrets: readonly Secret[]) {
  const signatures = secrets.map((secret) => {
    const hmac = createHmac("sha256", Buffer.from(secret.reveal(), "base64"));
    return `v1,${hmac.update(`${id}.${sentSeconds}.${body}`).digest("base64")}`;
  });
  return {
    "webhook-id": id,
    "webhook-timestamp": String(sentSeconds),
    "webhook-signature": signatures.join(" "),
  };
}
