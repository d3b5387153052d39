import type { Runtime } from "../runtime/runtime.ts";
import { buildRequest } from "../sip/message/build.ts";
import type { SipRequest } from "../sip/message/message.ts";
import type { SipUri } from "../sip/message/uri.ts";
import type { TransactionLayer } from "../sip/transaction/transaction.ts";
import type { Target, TransportLayer } from "../sip/transport/transport.ts";
import type { ProbeResult, Prober } from "./rotation.ts";

/** Users that cannot exist, by whom proof marks are checked: every proxy of the domain knows them for what they are. */
export const PROBE_USER = "codomain-probe-";

export interface ProberOptions {
  readonly domain: string;
  readonly timeoutMs: number;
}

/** Requests of our own to a node: is it alive, and does it accept users that cannot exist? */
export class SipProber implements Prober {
  readonly #runtime: Runtime;
  readonly #transport: TransportLayer;
  readonly #transactions: TransactionLayer;
  readonly #locate: (uris: readonly SipUri[]) => readonly Target[] | Promise<readonly Target[]>;
  readonly #options: () => ProberOptions;

  constructor(
    runtime: Runtime,
    transport: TransportLayer,
    transactions: TransactionLayer,
    locate: (uris: readonly SipUri[]) => readonly Target[] | Promise<readonly Target[]>,
    options: () => ProberOptions,
  ) {
    this.#runtime = runtime;
    this.#transport = transport;
    this.#transactions = transactions;
    this.#locate = locate;
    this.#options = options;
  }

  alive(node: SipUri): Promise<ProbeResult> {
    return this.#send(node, "OPTIONS", node.raw, []);
  }

  impossible(node: SipUri, method: string): Promise<ProbeResult> {
    const uri = `sip:${PROBE_USER}${this.#runtime.random.token(16)}@${this.#options().domain}`;
    return this.#send(node, method, uri, EXTRA[method] ?? []);
  }

  async #send(node: SipUri, method: string, uri: string, extra: Headers): Promise<ProbeResult> {
    try {
      const [target] = await this.#locate([node]);
      if (target === undefined) return "no-answer";
      const flow = await this.#transport.flowTo(target, PROBE_SIZE);
      return await new Promise((resolve) => {
        this.#transactions.send(
          this.#request(method, uri, flow.point.sentBy, extra),
          flow,
          {
            onResponse: (response) => {
              if (response.status >= 200) resolve(response.status);
            },
            onTimeout: () => resolve("no-answer"),
            onTransportError: () => resolve("no-answer"),
          },
          { timeoutMs: this.#options().timeoutMs },
        );
      });
    } catch {
      return "no-answer";
    }
  }

  /** COMPAT Kamailio 5.6: its presence module answers 500 to a SUBSCRIBE whose From has no user. */
  #request(method: string, uri: string, sentBy: string, extra: Headers): SipRequest {
    const { random } = this.#runtime;
    const { domain } = this.#options();
    return buildRequest({
      method,
      uri,
      headers: [
        ["Max-Forwards", "70"],
        ["From", `<sip:${PROBE_USER}watcher@${domain}>;tag=${random.token(10)}`],
        ["To", `<${uri}>`],
        ["Call-ID", random.token(24)],
        ["CSeq", `1 ${method}`],
        ["Contact", `<sip:${sentBy}>`],
        ...extra,
      ],
    });
  }
}

type Headers = ReadonlyArray<readonly [string, string]>;

/** A fetch (RFC 6665 4.4.3): nothing is left behind even where it is accepted. */
const EXTRA: Readonly<Record<string, Headers>> = {
  SUBSCRIBE: [
    ["Event", "presence"],
    ["Expires", "0"],
    ["Accept", "application/pidf+xml"],
  ],
  MESSAGE: [["Content-Type", "text/plain"]],
};

const PROBE_SIZE = 500;
