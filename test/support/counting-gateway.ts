// A proxy before a real gateway that counts the files that are read, and can hold their bytes back.
import { once } from "node:events";
import { createServer, request as send } from "node:http";

export interface CountingGateway {
  readonly url: string;
  /** The caps of files whose bytes were requested, in order. */
  readFiles(): readonly string[];
  /** From now on no request gets a response. */
  holdAll(): void;
  /** From now on requests for files get no response. */
  holdFiles(): void;
  /** Files are not held any more, and those that are held get their responses. */
  releaseFiles(): void;
  /** The caps of files whose requests get no response. */
  heldFiles(): readonly string[];
  end(): Promise<void>;
}

export async function countingGateway(upstream: string): Promise<CountingGateway> {
  const read: string[] = [];
  let held: { readonly cap: string; readonly sendOn: () => void }[] = [];
  let isHolding = false;
  let isHoldingAll = false;
  const server = createServer((request, response) => {
    if (isHoldingAll) return;
    const cap = /^\/uri\/(URI%3ACHK[^?/]*)$/i.exec(request.url ?? "")?.[1];
    const sendOn = () => {
      const onward = send(upstream + request.url, { method: request.method, headers: request.headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      });
      for (const stream of [request, response, onward]) stream.on("error", () => response.destroy());
      request.pipe(onward);
    };
    const isFile = request.method === "GET" && cap !== undefined;
    if (isFile) read.push(cap);
    if (isFile && isHolding) held.push({ cap, sendOn });
    else sendOn();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`,
    readFiles: () => read,
    holdAll() {
      isHoldingAll = true;
    },
    holdFiles() {
      isHolding = true;
    },
    releaseFiles() {
      isHolding = false;
      for (const { sendOn } of held) sendOn();
      held = [];
    },
    heldFiles: () => held.map(({ cap }) => cap),
    async end() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
