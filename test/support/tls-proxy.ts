// HTTPS for a gateway, with a certificate of an unknown authority.
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { createServer } from "node:tls";
import { aCertificate } from "./certificates.ts";

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
  const { caFile, certificateFile, keyFile } = aCertificate(directory);
  const { hostname, port } = new URL(upstream);
  const options = { key: readFileSync(keyFile), cert: readFileSync(certificateFile) };
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
    caFile,
    async end() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
