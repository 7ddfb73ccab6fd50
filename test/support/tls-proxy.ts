// HTTPS for a gateway, with a certificate of an unknown authority, made with openssl.
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { createServer } from "node:tls";

export interface TlsProxy {
  readonly url: string;
  /** The certificate of the authority, in PEM. */
  readonly caFile: string;
  end(): Promise<void>;
}

/**
 * @param upstream the URL of the gateway
 * @param directory an existing directory for keys and certificates
 */
export async function tlsProxy(upstream: string, directory: string): Promise<TlsProxy> {
  const at = (name: string): string => join(directory, name);
  const openssl = (...args: readonly string[]) => execFileSync("openssl", args, { cwd: directory, stdio: "pipe" });
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl(
    "req",
    "-x509",
    ...key,
    "-keyout",
    "ca.key",
    "-out",
    "ca.pem",
    "-days",
    "2",
    "-subj",
    "/CN=Our own authority",
  );
  openssl("req", ...key, "-keyout", "gateway.key", "-out", "gateway.csr", "-subj", "/CN=gateway");
  writeFileSync(at("extensions"), "subjectAltName=IP:127.0.0.1\n");
  const signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "extensions", "-days", "2"];
  openssl("x509", "-req", "-in", "gateway.csr", ...signed, "-out", "gateway.pem");

  const { hostname, port } = new URL(upstream);
  const options = { key: readFileSync(at("gateway.key")), cert: readFileSync(at("gateway.pem")) };
  const sockets = new Set<{ destroy(): unknown }>();
  const server = createServer(options, (client) => {
    const gateway = connect(Number(port), hostname);
    for (const socket of [client, gateway]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        client.destroy();
        gateway.destroy();
      });
    }
    client.pipe(gateway).pipe(client);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    url: `https://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`,
    caFile: at("ca.pem"),
    async end() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
