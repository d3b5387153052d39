import { expect } from "vitest";
import { SipRequest, type SipResponse } from "../../../src/sip/message/message.ts";
import { parseMessage } from "../../../src/sip/message/parse.ts";
import { createTransactionLayer, type TransactionOptions } from "../../../src/sip/transaction/layer.ts";
import type {
  ClientTransaction,
  ClientTransactionUser,
  ServerTransaction,
  TransactionLayer,
  TransactionUser,
} from "../../../src/sip/transaction/transaction.ts";
import type {
  Flow,
  ListenPoint,
  TransportLayer,
  TransportName,
  TransportUser,
} from "../../../src/sip/transport/transport.ts";
import { type EventName, Telemetry } from "../../../src/telemetry/events.ts";
import { ManualTime } from "./manual-time.ts";

/** A message the layer gave to the transport. */
export interface Sent {
  readonly at: number;
  readonly raw: string;
  readonly message: SipRequest | SipResponse;
}

export class FakeFlow implements Flow {
  readonly transport: TransportName;
  readonly reliable: boolean;
  readonly point: ListenPoint;
  readonly remoteHost = "192.0.2.7";
  readonly remotePort = 5060;
  readonly peerNames = [];
  readonly connectionId: number;
  readonly watchers = new Set<(error: Error) => void>();
  failing: Error | null = null;
  readonly #record: (raw: string) => void;
  readonly #time: ManualTime;

  constructor(transport: TransportName, time: ManualTime, record: (raw: string) => void) {
    this.transport = transport;
    this.reliable = transport !== "udp";
    this.connectionId = this.reliable ? 1 : 0;
    this.#time = time;
    this.#record = record;
    this.point = {
      index: this.reliable ? 1 : 0,
      transport,
      host: "192.0.2.1",
      port: 5060,
      sentBy: "192.0.2.1:5060",
      direction: "up",
      unknown: "refuse",
    };
  }

  send(raw: string, failed?: (error: Error) => void): void {
    const error = this.failing;
    if (error === null) this.#record(raw);
    else if (failed !== undefined) this.#time.timers.soon(() => failed(error));
  }

  watch(closed: (error: Error) => void): () => void {
    this.watchers.add(closed);
    return () => this.watchers.delete(closed);
  }

  close(error: Error): void {
    for (const watcher of [...this.watchers]) watcher(error);
  }
}

/** The layer between a transport that records and a TU that records, on a clock the test moves. */
export class Harness implements TransportLayer {
  readonly time = new ManualTime(1000);
  readonly sent: Sent[] = [];
  readonly points = [];
  readonly flow: FakeFlow;
  readonly layer: TransactionLayer;
  readonly telemetry = new Telemetry();
  /** What the TU was told, in words. */
  readonly told: string[] = [];
  readonly requests: ServerTransaction[] = [];
  readonly acks: SipRequest[] = [];
  readonly cancelled: ServerTransaction[] = [];
  readonly responses: SipResponse[] = [];
  user: TransportUser = { receive() {} };
  /** Fails every response handed to the transport, while set. */
  respondFailing: Error | null = null;

  constructor(transport: TransportName = "udp", options: TransactionOptions = {}, tu: Partial<TransactionUser> = {}) {
    this.flow = new FakeFlow(transport, this.time, (raw) => this.#record(raw));
    this.layer = createTransactionLayer(this.time, this, this.telemetry, options);
    this.layer.user = {
      onRequest: (transaction) => {
        this.requests.push(transaction);
        tu.onRequest?.(transaction);
      },
      onAck: (request, flow) => {
        this.acks.push(request);
        tu.onAck?.(request, flow);
      },
      onCancel: (invite, cancel) => {
        this.cancelled.push(invite);
        tu.onCancel?.(invite, cancel);
      },
    };
  }

  readonly clientUser: ClientTransactionUser = {
    onResponse: (response) => {
      this.responses.push(response);
      this.told.push(String(response.status));
    },
    onTimeout: () => {
      this.told.push("timeout");
    },
    onTransportError: (error) => {
      this.told.push(`error ${error.message}`);
    },
  };

  async start(): Promise<void> {}
  async stop(): Promise<void> {}
  flowTo(): Flow {
    return this.flow;
  }
  connection(): undefined {}
  pointFor(): ListenPoint {
    return this.flow.point;
  }
  isOwn(): boolean {
    return false;
  }

  respond(raw: string, _request: SipRequest, _flow: Flow, failed?: (error: Error) => void): void {
    const error = this.respondFailing;
    if (error === null) this.#record(raw);
    else if (failed !== undefined) this.time.timers.soon(() => failed(error));
  }

  /** A message from the network. */
  receive(raw: string): void {
    this.user.receive(parseMessage(raw), this.flow);
  }

  send(raw: string, options?: { branch?: string; timeoutMs?: number }): ClientTransaction {
    return this.layer.send(parseMessage(raw) as SipRequest, this.flow, this.clientUser, options);
  }

  /** Milliseconds after the start at which messages beginning with `start` left. */
  times(start: string): number[] {
    return this.sent.filter((each) => each.raw.startsWith(start)).map((each) => each.at);
  }

  /** First words of what left, in order: `INVITE`, `100`. */
  get left(): string[] {
    return this.sent.map(({ message }) => (message instanceof SipRequest ? message.method : String(message.status)));
  }

  last(): Sent {
    return this.sent.at(-1)!;
  }

  count(event: EventName): () => number {
    let n = 0;
    this.telemetry.on(event, () => n++);
    return () => n;
  }

  /** Everything has ended by itself: no table holds anything, no timer runs. */
  expectNothingLeft(): void {
    expect(this.layer.counts()).toEqual({ server: 0, client: 0, completed: 0, completedBytes: 0 });
    expect(this.time.pending).toBe(0);
    expect(this.flow.watchers.size).toBe(0);
  }

  #record(raw: string): void {
    this.sent.push({ at: this.time.clock.now() - 1000, raw, message: parseMessage(raw) });
  }
}

export interface RequestOptions {
  branch?: string | null;
  sentBy?: string;
  toTag?: string;
  fromTag?: string;
  cseq?: number;
  callId?: string;
  uri?: string;
  headers?: string[];
  /** No Via: for what the TU sends. */
  bare?: boolean;
}

/** A request from the network, or with `bare` one for `send`. */
export function request(method: string, options: RequestOptions = {}): string {
  const { branch = "z9hG4bKpeer1", sentBy = "192.0.2.7:5060", cseq = 1 } = options;
  const via = `Via: SIP/2.0/UDP ${sentBy}${branch === null ? "" : `;branch=${branch}`}`;
  return [
    `${method} ${options.uri ?? "sip:bob@example.com"} SIP/2.0`,
    ...(options.bare ? [] : [via]),
    ...(options.headers ?? []),
    "Max-Forwards: 69",
    `From: "A" <sip:alice@example.com>;tag=${options.fromTag ?? "a1"}`,
    `To: <sip:bob@example.com>${options.toTag === undefined ? "" : `;tag=${options.toTag}`}`,
    `Call-ID: ${options.callId ?? "call-1"}`,
    `CSeq: ${cseq} ${method}`,
    "Content-Length: 0",
    "",
    "",
  ].join("\r\n");
}

/** What the peer answers to a request of ours. */
export function answer(to: SipRequest | SipResponse, status: number, toTag = "b1"): string {
  const line = (name: string): string => `${name}: ${to.header(name)}`;
  const tag = status === 100 || to.to.tag !== undefined ? "" : `;tag=${toTag}`;
  return [
    `SIP/2.0 ${status} Any`,
    ...to.headers("Via").map((via) => `Via: ${via}`),
    line("From"),
    line("To") + tag,
    line("Call-ID"),
    line("CSeq"),
    "Content-Length: 0",
    "",
    "",
  ].join("\r\n");
}
