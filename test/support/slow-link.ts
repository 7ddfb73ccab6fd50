// A slow network before a server: what it sends arrives no faster than so many bytes in a second.
import type { AddressInfo } from "node:net";
import { connect, createServer } from "node:net";
import { onTestFinished } from "vitest";

/** How often some bytes arrive, in ms. */
const tickMs = 5;

/** Ends with the test. @returns the port at which the server is reached through it */
export async function slowLink(port: number, bytesPerSecond: number): Promise<number> {
  const proxy = createServer((client) => {
    const server = connect(port, "127.0.0.1");
    client.pipe(server);
    let arrivedMs = performance.now();
    let allowedBytes = 0;
    const ticking = setInterval(() => {
      const nowMs = performance.now();
      allowedBytes += ((nowMs - arrivedMs) / 1000) * bytesPerSecond;
      arrivedMs = nowMs;
      const bytes: Buffer | null = server.read(
        Math.min(server.readableLength, Math.floor(allowedBytes)),
      ) as Buffer | null;
      if (bytes === null) allowedBytes = Math.min(allowedBytes, (bytesPerSecond * tickMs) / 1000);
      else allowedBytes -= bytes.length;
      if (bytes !== null) client.write(bytes);
    }, tickMs);
    const end = (): void => {
      clearInterval(ticking);
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) socket.on("error", end).on("close", end);
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void proxy.close());
  return (proxy.address() as AddressInfo).port;
}
