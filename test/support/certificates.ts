// Certificates of an authority that nobody else knows, made with openssl.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { runTool } from "./debs.ts";

export interface Certificate {
  /** The certificate of the authority, in PEM. */
  readonly caFile: string;
  readonly certificateFile: string;
  readonly keyFile: string;
}

/**
 * Makes an authority, and a certificate for 127.0.0.1 and localhost.
 * @param directory an existing directory for the files
 */
export function aCertificate(directory: string): Certificate {
  const at = (name: string): string => join(directory, name);
  const openssl = (...args: readonly string[]) => runTool("openssl", args);
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const authority = ["-keyout", at("ca.key"), "-out", at("ca.pem"), "-days", "2", "-subj", "/CN=Our own authority"];
  openssl("req", "-x509", ...key, ...authority);
  openssl("req", ...key, "-keyout", at("server.key"), "-out", at("server.csr"), "-subj", "/CN=server");
  writeFileSync(at("extensions"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n");
  const issuer = ["-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial", "-extfile", at("extensions")];
  openssl("x509", "-req", "-in", at("server.csr"), ...issuer, "-days", "2", "-out", at("server.pem"));
  return { caFile: at("ca.pem"), certificateFile: at("server.pem"), keyFile: at("server.key") };
}
