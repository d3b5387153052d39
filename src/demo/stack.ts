import type { Address, Runtime } from "../runtime/runtime.ts";
import type { SipRequest, SipResponse } from "../sip/message/message.ts";
import { parseUri } from "../sip/message/uri.ts";
import { createTransactionLayer } from "../sip/transaction/layer.ts";
import type {
  ClientTransaction,
  ClientTransactionUser,
  TransactionLayer,
  TransactionUser,
} from "../sip/transaction/transaction.ts";
import { createTransportLayer } from "../sip/transport/layer.ts";
import type { Flow, TransportLayer } from "../sip/transport/transport.ts";
import { Telemetry } from "../telemetry/events.ts";

/** An example server has few peers. */
const FEW = { sources: 1_000, udpFlows: 1_000 };

/** Transport and transactions of one example server, on one address over UDP and TCP. Addresses in URIs are numeric: nothing is looked up. */
export class Stack {
  readonly address: Address;
  readonly runtime: Runtime;
  readonly transactions: TransactionLayer;
  readonly #transport: TransportLayer;

  constructor(runtime: Runtime, address: Address, user: TransactionUser) {
    this.runtime = runtime;
    this.address = address;
    const telemetry = new Telemetry();
    const points = (["udp", "tcp"] as const).map((transport) => ({
      transport,
      host: address.host,
      port: address.port,
    }));
    this.#transport = createTransportLayer(runtime, telemetry, { points, limits: FEW });
    this.transactions = createTransactionLayer(runtime, this.#transport, telemetry, { maxCompletedBytes: 64 << 20 });
    this.transactions.user = user;
  }

  /** `sip:127.0.0.11:5060` */
  get uri(): string {
    return `sip:${this.address.host}:${this.address.port}`;
  }

  start(): Promise<void> {
    return this.#transport.start();
  }

  async stop(): Promise<void> {
    this.transactions.stop();
    await this.#transport.stop();
  }

  isOwn(host: string, port: number | undefined): boolean {
    return this.#transport.isOwn(host, port);
  }

  /**
   * Sends to `to`, or to where the topmost Route, else the Request-URI, points (RFC 3261 8.1.2). The transaction is given at once
   * where no connection has to be opened first.
   */
  send(request: SipRequest, user: ClientTransactionUser, to?: Address): Promise<ClientTransaction> {
    return this.#flow(request, to).then((flow) => this.transactions.send(request, flow, user));
  }

  /** Sends and waits for the final response; null: nobody answered. `heard` gets provisional ones too. */
  ask(
    request: SipRequest,
    to?: Address,
    heard: (response: SipResponse) => void = () => {},
  ): Promise<SipResponse | null> {
    return new Promise((resolve) => {
      const user: ClientTransactionUser = {
        onResponse: (response) => {
          heard(response);
          if (response.status >= 200) resolve(response);
        },
        onTimeout: () => resolve(null),
        onTransportError: () => resolve(null),
      };
      this.send(request, user, to).catch(() => resolve(null));
    });
  }

  sendAck(request: SipRequest, to?: Address): void {
    this.#flow(request, to).then(
      (flow) => this.transactions.sendStateless(request, flow),
      () => {},
    );
  }

  async #flow(request: SipRequest, to: Address | undefined): Promise<Flow> {
    const next = to ?? hop(request);
    return this.#transport.flowTo({ transport: "udp", host: next.host, port: next.port }, request.raw.length + 120);
  }
}

function hop(request: SipRequest): Address {
  const uri = request.routes[0]?.uri ?? parseUri(request.requestUri);
  if (uri.kind !== "sip") throw new Error(`an example server sends to sip URIs, not to ${uri.raw}`);
  return { host: uri.host.replace(/^\[|\]$/g, ""), port: uri.port ?? 5060 };
}
