// Certificates of authorities that are trusted for gateways beside those that everybody trusts.
import { X509Certificate } from "node:crypto";
import { RepoError } from "../../base/errors.ts";

/** Not the certificate of an authority. */
class CertificateError extends RepoError {
  readonly code = "storage/bad-certificate";
}

const block = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * The certificates in a PEM file, and nothing else of it: what stands beside them may be a key.
 * @returns PEM, each certificate on its own lines
 * @throws CertificateError that quotes nothing of it
 */
export function parseCertificates(pem: string): string {
  const blocks = pem.match(block) ?? [];
  if (blocks.length === 0) throw new CertificateError("holds no certificate: a PEM file begins with BEGIN CERTIFICATE");
  for (const each of blocks) {
    try {
      new X509Certificate(each);
    } catch {
      throw new CertificateError(
        "holds something that is no certificate between BEGIN CERTIFICATE and END CERTIFICATE",
      );
    }
  }
  return `${blocks.join("\n")}\n`;
}

/** OpenSSL's names for chains that end in nobody whom this machine trusts. */
const untrusted: ReadonlySet<string> = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
]);

/** Whether the system's code for a failed connection says that a certificate is not trusted. */
export const isUntrusted = (code: string | undefined): boolean => code !== undefined && untrusted.has(code);
