// Connections between two programs that can be cut, as by a firewall that drops all packets, and that count the files
// which are read through them. The proxies run in a process of their own: a busy test must not slow them down.
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { withResolvers } from "../../src/base/with-resolvers.ts";

/**
 * Reads `cut N` and `mend N`. Writes the port of each proxy at the start, then `cut N` or `mend N` when that is done, and
 * `read N SECONDS CAP` when a gateway begins to answer a request for a file.
 */
const program = `
import asyncio, re, sys, time

links = [set() for _ in sys.argv[1:]]
isCut = [False for _ in sys.argv[1:]]

class Link:
    def __init__(self, at):
        self.at = at
        self.lost = isCut[at]
        self.asked = []

    def request(self, data):
        self.asked += re.findall(rb"^GET /uri/(URI%3ACHK[^?/ ]*) ", data, re.M)

    def response(self, _):
        for cap in self.asked:
            print("read", self.at, time.time(), cap.decode(), flush=True)
        self.asked = []

async def pump(link, reader, writer, note):
    try:
        while data := await reader.read(65536):
            if not link.lost:
                note(data)
                writer.write(data)
                await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()

async def connect(at, port, reader, writer):
    link = Link(at)
    links[at].add(link)
    try:
        upstream = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(link, reader, upstream[1], link.request), pump(link, upstream[0], writer, link.response))
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
        print(line.decode().strip(), flush=True)

asyncio.run(main())
`;

/** A request for a file of a grid that was answered. */
export interface FileRead {
  /** The index of the link. */
  readonly link: number;
  /** In ms since the epoch. */
  readonly atMs: number;
  readonly cap: string;
}

export class CuttableLinks {
  /** The ports of the proxies on the loopback interface, in the order of the upstream ports. */
  readonly ports: readonly number[];
  /** All requests for files that were answered, in order. */
  readonly reads: readonly FileRead[];
  readonly #process: ChildProcess;
  /** Called when a command was executed, by the command. */
  readonly #executed: Map<string, () => void>;

  private constructor(parts: {
    readonly process: ChildProcess;
    readonly ports: readonly number[];
    readonly reads: readonly FileRead[];
    readonly executed: Map<string, () => void>;
  }) {
    this.#process = parts.process;
    this.ports = parts.ports;
    this.reads = parts.reads;
    this.#executed = parts.executed;
  }

  /** @param upstreamPorts where each proxy connects to, on the loopback interface */
  static async start(upstreamPorts: readonly number[]): Promise<CuttableLinks> {
    const process = spawn("python3", ["-c", program, ...upstreamPorts.map(String)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const [ports, reads]: [number[], FileRead[]] = [[], []];
    const executed = new Map<string, () => void>();
    const { promise: ready, resolve, reject } = withResolvers<void>();
    const lines = createInterface({ input: process.stdout });
    lines.on("line", (line) => {
      const [command, link, seconds, cap] = line.split(" ");
      if (command === "read" && cap !== undefined)
        reads.push({ link: Number(link), atMs: Number(seconds) * 1000, cap: decodeURIComponent(cap) });
      else if (ports.length === upstreamPorts.length) executed.get(line)?.();
      else if (ports.push(Number(line)) === upstreamPorts.length) resolve();
    });
    lines.on("close", () => reject(new Error("this test needs python3")));
    await ready;
    return new CuttableLinks({ process, ports, reads, executed });
  }

  /** Drops everything that existing connections and those made from now on send. */
  async cut(index: number): Promise<void> {
    await this.#command(`cut ${index}`);
  }

  /** New connections work again. Those that were cut stay as they are: what they lost does not come back. */
  async mend(index: number): Promise<void> {
    await this.#command(`mend ${index}`);
  }

  async #command(command: string): Promise<void> {
    const { promise: executed, resolve } = withResolvers<void>();
    this.#executed.set(command, resolve);
    this.#process.stdin?.write(`${command}\n`);
    await executed;
  }

  async end(): Promise<void> {
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await ended;
  }
}
