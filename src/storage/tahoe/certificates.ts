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
