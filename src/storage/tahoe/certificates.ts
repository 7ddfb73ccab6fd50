// Parses certificates of additional authorities to trust for gateways.
import { X509Certificate } from "node:crypto";
import { RepoError } from "../../base/errors.ts";

/** The file contains no valid certificate. */
class CertificateError extends RepoError {
  readonly code = "storage/bad-certificate";
}

const block = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * Extracts the certificates of a PEM file. Everything else is dropped, because it may contain a private key.
 * @returns the certificates in PEM
 * @throws CertificateError, which quotes nothing of the file
 */
export function parseCertificates(pem: string): string {
  const blocks = pem.match(block) ?? [];
  if (blocks.length === 0)
    throw new CertificateError("contains no certificate: a PEM file begins with BEGIN CERTIFICATE");
  for (const each of blocks) {
    try {
      new X509Certificate(each);
    } catch {
      throw new CertificateError("contains an invalid certificate between BEGIN CERTIFICATE and END CERTIFICATE");
    }
  }
  return `${blocks.join("\n")}\n`;
}

/** OpenSSL's error codes for certificate chains without a trusted root. */
const untrusted: ReadonlySet<string> = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
]);

/** Whether the code of a failed connection means that the certificate is not trusted. */
export const isUntrusted = (code: string | undefined): boolean => code !== undefined && untrusted.has(code);
