// A bad network between a client and a gateway: connections hang, trickle, or stop after the headers.
import { once } from "node:events";
import type { Socket } from "node:net";
import { connect, createServer } from "node:net";
import { setTimeout as wait } from "node:timers/promises";

/**
 * `hang`: accepts and sends nothing. `headers-only`: sends only the headers of each response. `trickle`: sends a byte
 * per second. `trickle-body`: the same after the headers.
 */
export type Fault = "hang" | "headers-only" | "trickle" | "trickle-body";

export interface FaultProxy {
  readonly url: string;
  /** The number of open connections to clients. */
  connections(): number;
  /** Applies a fault to existing and new connections. */
  fault(fault: Fault): void;
  /** Ends the fault for new connections; affected connections stay as they are. */
  recover(): void;
  end(): Promise<void>;
}

const trickleMs = 1000;

/** @param upstream the URL of the gateway behind it */
export async function faultProxy(upstream: string): Promise<FaultProxy> {
  const { hostname, port } = new URL(upstream);
  let current: Fault | undefined;
  const links = new Set<{ fault: Fault | undefined; readonly client: Socket; readonly gateway: Socket }>();
  const server = createServer((client) => {
    const gateway = connect(Number(port), hostname);
    const link = { fault: current, client, gateway };
    links.add(link);
    for (const socket of [client, gateway]) {
      socket.on("error", () => undefined);
      socket.on("close", () => {
        links.delete(link);
        client.destroy();
        gateway.destroy();
      });
    }
    client.on("data", (chunk) => {
      if (link.fault !== "hang") gateway.write(chunk);
    });
    void answer(gateway, client, () => link.fault);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`,
    connections: () => links.size,
    fault(fault) {
      current = fault;
      for (const link of links) link.fault = fault;
    },
    recover() {
      current = undefined;
    },
    async end() {
      for (const { client } of links) client.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

async function answer(gateway: Socket, client: Socket, fault: () => Fault | undefined): Promise<void> {
  try {
    for await (const chunk of gateway as AsyncIterable<Buffer>) await pass(chunk, client, fault());
    client.end();
  } catch {
    client.destroy();
  }
}

async function pass(chunk: Buffer, client: Socket, fault: Fault | undefined): Promise<void> {
  if (fault === "hang") return;
  const end = chunk.indexOf("\r\n\r\n");
  const headerBytes = fault === "trickle" ? 0 : end === -1 || !fault ? chunk.length : end + 4;
  client.write(chunk.subarray(0, headerBytes));
  if (fault === "headers-only") return;
  for (const byte of chunk.subarray(headerBytes)) {
    await wait(trickleMs);
    if (!client.writable) return;
    client.write(Buffer.of(byte));
  }
}
