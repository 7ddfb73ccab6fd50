// A receiver of webhooks, over real HTTP: responds as the test says, and keeps what it got.
import { EventEmitter, once } from "node:events";
import type { IncomingHttpHeaders } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Webhook as Verifier } from "standardwebhooks";
import { onTestFinished } from "vitest";

export interface ReceivedEvent {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** When it arrived, in ms. */
  readonly atMs: number;
}

/** A status, one with other headers, or no response at all. */
export type ReceiverResponse = number | { readonly status: number; readonly headers: Record<string, string> } | "none";

/** The secret of all tests, as in a file. */
export const webhookSecret = `whsec_${Buffer.alloc(32, "secret").toString("base64")}`;

export class WebhookReceiver {
  /** Its URL with a token in it. */
  readonly url: string;
  readonly port: number;
  /** All requests, also those with a response that is no success. */
  readonly received: ReceivedEvent[] = [];
  response: ReceiverResponse = 204;
  readonly #events = new EventEmitter();

  private constructor(port: number) {
    this.port = port;
    this.url = `http://127.0.0.1:${port}/hook?token=a-token-in-the-url`;
  }

  /** @param port 0: any */
  static async start(port = 0): Promise<WebhookReceiver> {
    const server = createServer();
    await once(server.listen(port, "127.0.0.1"), "listening");
    const receiver = new WebhookReceiver((server.address() as AddressInfo).port);
    server.on("request", (request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const body = Buffer.concat(chunks).toString();
        receiver.received.push({ path: request.url ?? "", headers: request.headers, body, atMs: Date.now() });
        const answer = receiver.response;
        if (typeof answer === "object") response.writeHead(answer.status, answer.headers).end();
        else if (answer !== "none") response.writeHead(answer).end("thanks");
        receiver.#events.emit("received");
      });
    });
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    return receiver;
  }

  /** Resolves when there were so many requests. */
  async gets(count: number): Promise<readonly ReceivedEvent[]> {
    while (this.received.length < count) await once(this.#events, "received");
    return this.received;
  }
}

/** The content of an event, if its signature is valid. @throws by the reference implementation of Standard Webhooks */
export function verified({ headers, body }: Pick<ReceivedEvent, "headers" | "body">, secret = webhookSecret) {
  const names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
  const own = Object.fromEntries(names.map((name) => [name, String(headers[name])]));
  return new Verifier(secret).verify(body, own) as PublicationEventBody;
}

interface Listed {
  readonly total: number;
  readonly entries: readonly Readonly<Record<string, unknown>>[];
}

export interface PublicationEventBody {
  readonly type: string;
  readonly timestamp: string;
  readonly data: {
    readonly repository: string;
    readonly suite: string;
    readonly publication: string;
    readonly previousPublication: string | null;
    readonly date: string;
    readonly changes: { readonly added: Listed; readonly removed: Listed; readonly changed: Listed } | null;
    readonly links: { readonly repository: string; readonly diff: string | null } | null;
  };
}
