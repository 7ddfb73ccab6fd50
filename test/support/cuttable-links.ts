// Connections between two programs that can be cut, as by a firewall that drops all packets. The proxies run in a
// process of their own: a busy test must not slow them down.
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** Reads `cut N` and `mend N`; writes the port of each proxy at the start. */
const program = `
import asyncio, sys

links = [set() for _ in sys.argv[1:]]
isCut = [False for _ in sys.argv[1:]]

class Link:
    lost = False

async def pump(link, reader, writer):
    try:
        while data := await reader.read(65536):
            if not link.lost:
                writer.write(data)
                await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()

async def connect(at, port, reader, writer):
    link = Link()
    link.lost = isCut[at]
    links[at].add(link)
    try:
        upstream = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(link, reader, upstream[1]), pump(link, upstream[0], writer))
    except OSError:
        writer.close()
    finally:
        links[at].discard(link)

async def main():
    for at, port in enumerate(map(int, sys.argv[1:])):
        server = await asyncio.start_server(lambda r, w, at=at, port=port: connect(at, port, r, w), "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        command, at = line.split()
        isCut[int(at)] = command == b"cut"
        if isCut[int(at)]:
            for link in links[int(at)]:
                link.lost = True

asyncio.run(main())
`;

export class CuttableLinks {
  /** The ports of the proxies on the loopback interface, in the order of the upstream ports. */
  readonly ports: readonly number[];
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess, ports: readonly number[]) {
    this.#process = process;
    this.ports = ports;
  }

  /** @param upstreamPorts where each proxy connects to, on the loopback interface */
  static async start(upstreamPorts: readonly number[]): Promise<CuttableLinks> {
    const process = spawn("python3", ["-c", program, ...upstreamPorts.map(String)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const ports: number[] = [];
    for await (const line of createInterface({ input: process.stdout })) {
      ports.push(Number(line));
      if (ports.length === upstreamPorts.length) break;
    }
    if (ports.length < upstreamPorts.length) throw new Error("this test needs python3");
    return new CuttableLinks(process, ports);
  }

  /** Drops everything that existing connections and those made from now on send. */
  cut(index: number): void {
    this.#process.stdin?.write(`cut ${index}\n`);
  }

  /** New connections work again. Those that were cut stay as they are: what they lost does not come back. */
  mend(index: number): void {
    this.#process.stdin?.write(`mend ${index}\n`);
  }

  async end(): Promise<void> {
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await ended;
  }
}
