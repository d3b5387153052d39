import { type ClientRequest, type IncomingMessage, Agent as PlainAgent, request as requestPlain } from "node:http";
import { request as requestSecure, Agent as SecureAgent } from "node:https";
import { TransportError } from "../base/errors.ts";
import type { Handles } from "./handles.ts";
import type { HttpAnswer, HttpClient, HttpOptions, HttpRequest } from "./runtime.ts";

/** A connection that nobody has used for so long is closed, milliseconds: before most servers do it from their side. */
const IDLE = 4000;

/** HTTP by Node's own client. Connections that only wait to be used again keep no process alive. */
export class RealHttp implements HttpClient {
  readonly #plain: PlainAgent;
  readonly #secure: SecureAgent;
  readonly #handles: Handles;
  readonly #running = new Set<ClientRequest>();

  constructor(handles: Handles, { connections, ca }: HttpOptions) {
    const options = { keepAlive: true, maxSockets: connections, maxFreeSockets: connections, timeout: IDLE };
    this.#handles = handles;
    this.#plain = new PlainAgent(options);
    this.#secure = new SecureAgent({ ...options, ...(ca === undefined ? {} : { ca }) });
  }

  request(wanted: HttpRequest): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const secure = wanted.url.startsWith("https:");
      const { method, body } = wanted;
      const headers = { ...wanted.headers, ...(body.length > 0 ? { "content-length": String(body.length) } : {}) };
      let running: ClientRequest;
      try {
        running = secure
          ? requestSecure(wanted.url, { method, headers, agent: this.#secure })
          : requestPlain(wanted.url, { method, headers, agent: this.#plain });
      } catch (error) {
        reject(failure(wanted, error as Error));
        return;
      }
      const patience = setTimeout(() => running.destroy(new Error("no answer in time")), wanted.timeoutMs);
      this.#handles.opened(running, `${method} ${wanted.url}`);
      this.#running.add(running);
      let settled = false;
      const settle = (how: () => void): void => {
        if (settled) return;
        settled = true;
        clearTimeout(patience);
        this.#running.delete(running);
        this.#handles.closed(running);
        how();
      };
      const failed = (error: Error): void => settle(() => reject(failure(wanted, error)));
      running.on("error", failed);
      let answered = false;
      running.on("close", () => {
        if (!answered) failed(new Error("the connection was closed"));
      });
      running.on("response", (response) => {
        answered = true;
        readAll(response, wanted.mostOctets).then(
          (octets) =>
            settle(() => resolve({ status: response.statusCode ?? 0, headers: headersOf(response), body: octets })),
          (error: Error) => {
            failed(error);
            running.destroy();
          },
        );
      });
      running.end(body);
    });
  }

  close(): void {
    for (const each of [...this.#running]) each.destroy(new Error("the client was closed"));
    this.#plain.destroy();
    this.#secure.destroy();
  }
}

async function readAll(response: IncomingMessage, most: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > most) throw new Error(`the answer has more than ${most} octets`);
    chunks.push(chunk);
  }
  if (!response.complete) throw new Error("the answer was cut off");
  return Buffer.concat(chunks);
}

function headersOf(response: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(response.headers)) {
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(", ") : value;
  }
  return headers;
}

/** The URL without what may be secret in it. */
function failure({ method, url }: HttpRequest, cause: Error): TransportError {
  return new TransportError(`${method} ${url.replace(/\?.*$/s, "")}: ${cause.message || "no connection"}`, { cause });
}
