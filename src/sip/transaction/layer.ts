import type { Runtime } from "../../runtime/runtime.ts";
import type { Telemetry } from "../../telemetry/events.ts";
import { buildResponse } from "../message/build.ts";
import type { Editor } from "../message/edit.ts";
import { type SipMessage, SipRequest, SipResponse } from "../message/message.ts";
import type { Flow, ListenPoint, TransportLayer, TransportUser } from "../transport/transport.ts";
import { Branches } from "./branches.ts";
import { CompletedStore } from "./completed-store.ts";
import type { ClientDriver, LiveClient, LiveServer, ServerDriver } from "./drivers.ts";
import { InviteClientTransaction } from "./invite-client-transaction.ts";
import { InviteServerTransaction } from "./invite-server-transaction.ts";
import { keyOfOldAck, oldAckKey, serverKey } from "./keys.ts";
import { NonInviteClientTransaction } from "./non-invite-client-transaction.ts";
import { NonInviteServerTransaction } from "./non-invite-server-transaction.ts";
import { Reports } from "./reports.ts";
import { cancelFor } from "./requests.ts";
import { TimerWheel, WheelTimer } from "./timer-wheel.ts";
import { type Timing, timing } from "./timing.ts";
import type {
  ClientTransaction,
  ClientTransactionUser,
  SendOptions,
  TransactionCounts,
  TransactionLayer,
  TransactionUser,
} from "./transaction.ts";
import { TransactionTable } from "./transaction-table.ts";

export interface TransactionOptions {
  /** RFC 3261 table 4, milliseconds: 500, 4000, 5000. */
  readonly t1?: number;
  readonly t2?: number;
  readonly t4?: number;
  /** Transactions in the heap, of both kinds and in every state, above which new requests are answered 503 without state; 250,000. */
  readonly maxTransactions?: number;
  /** Octets for completed transactions outside the heap; 768 MiB. The oldest give way. */
  readonly maxCompletedBytes?: number;
  /** Seconds in the Retry-After of that 503; 2. */
  readonly retryAfter?: number;
}

export function createTransactionLayer(
  runtime: Runtime,
  transport: TransportLayer,
  telemetry: Telemetry,
  options: TransactionOptions = {},
): TransactionLayer {
  return new Layer(runtime, transport, telemetry, options);
}

const SWEEP_MS = 500;
const SWEEP_ENTRIES = 2000;
const NOBODY: TransactionUser = { onRequest() {}, onAck() {}, onCancel() {} };
/** 9.1: the CANCEL and the INVITE "will complete independently"; what becomes of the CANCEL tells nothing. */
const UNCONCERNED: ClientTransactionUser = { onResponse() {}, onTimeout() {}, onTransportError() {} };
/** Methods a CANCEL may aim at besides INVITE, where it is of no effect but has to be answered 200 (9.2). */
const CANCELLABLE = [
  "MESSAGE",
  "SUBSCRIBE",
  "NOTIFY",
  "PUBLISH",
  "REGISTER",
  "OPTIONS",
  "BYE",
  "INFO",
  "UPDATE",
  "REFER",
];

class Layer implements TransactionLayer, TransportUser, ServerDriver, ClientDriver {
  user: TransactionUser = NOBODY;
  readonly wheel: TimerWheel;
  readonly timing: Timing;
  readonly #runtime: Runtime;
  readonly #transport: TransportLayer;
  readonly #reports: Reports;
  readonly #branches: Branches;
  readonly #maxTransactions: number;
  readonly #retryAfter: string;
  /** Of responses given without state: ACKs to them come back with it. */
  readonly #statelessTag: string;
  readonly #servers = new TransactionTable<LiveServer>((key) => this.#store.hash(key));
  /** RFC 2543 clients' INVITEs by the key of their ACK. */
  readonly #oldAcks = new Map<string, InviteServerTransaction>();
  readonly #clients = new TransactionTable<LiveClient>((key) => this.#store.hash(key));
  /** Apart, for they share the branch of their INVITE (17.1.3). */
  readonly #cancels = new TransactionTable<LiveClient>((key) => this.#store.hash(key));
  readonly #store: CompletedStore;
  readonly #sweep = new WheelTimer<"sweep">({ fired: () => this.#sweepStore() });
  /** Start of our Via for the listen point that was used last. */
  #viaPoint: ListenPoint | null = null;
  #viaStart = "";
  #absorbingServers = 0;
  #absorbingClients = 0;
  #reportedDrops = 0;
  #stopped = false;

  constructor(runtime: Runtime, transport: TransportLayer, telemetry: Telemetry, options: TransactionOptions) {
    this.#runtime = runtime;
    this.#transport = transport;
    this.#reports = new Reports(telemetry);
    this.wheel = new TimerWheel(runtime);
    this.timing = timing(options.t1, options.t2, options.t4);
    this.#branches = new Branches(runtime.random);
    this.#maxTransactions = options.maxTransactions ?? 250_000;
    this.#retryAfter = String(options.retryAfter ?? 2);
    this.#statelessTag = `${runtime.random.token(10)}.sl`;
    this.#store = new CompletedStore({
      maxBytes: options.maxCompletedBytes ?? 768 * 1024 * 1024,
      lifetimeMs: this.timing.transaction,
      seed: runtime.random.integer(2 ** 32),
    });
    transport.user = this;
  }

  // Downwards: requests of the TU.

  send(
    request: SipRequest | Editor<SipRequest>,
    flow: Flow,
    user: ClientTransactionUser,
    options?: SendOptions,
  ): ClientTransaction {
    const branch = options?.branch ?? this.#branches.next();
    const via = this.#via(flow, branch);
    const sent = draftOf(request).prepend("Via", via).build();
    if (sent.method === "INVITE") {
      return this.#begin(new InviteClientTransaction(branch, sent, via, flow, user, this), this.#clients);
    }
    const timeout = Math.min(options?.timeoutMs ?? this.timing.transaction, this.timing.transaction);
    return this.#begin(new NonInviteClientTransaction(branch, sent, flow, user, timeout, this), this.#clients);
  }

  sendStateless(request: SipRequest | Editor<SipRequest>, flow: Flow, branch: string = this.#branches.next()): void {
    flow.send(draftOf(request).prepend("Via", this.#via(flow, branch)).build().raw);
  }

  counts(): TransactionCounts {
    return {
      server: this.#servers.size - this.#absorbingServers,
      client: this.#clients.size + this.#cancels.size - this.#absorbingClients,
      completed: this.#store.count + this.#absorbingServers + this.#absorbingClients,
      completedBytes: this.#store.bytes,
    };
  }

  stop(): void {
    this.#stopped = true;
    for (const transaction of this.#servers.values()) transaction.drop();
    for (const transaction of this.#clients.values()) transaction.drop();
    for (const transaction of this.#cancels.values()) transaction.drop();
    this.#servers.clear();
    this.#oldAcks.clear();
    this.#clients.clear();
    this.#cancels.clear();
    this.#absorbingServers = 0;
    this.#absorbingClients = 0;
    this.#store.clear();
    this.wheel.clear();
  }

  // Upwards: what the transport received.

  receive(message: SipMessage, flow: Flow): void {
    if (this.#stopped) return;
    if (message instanceof SipResponse) this.#receiveResponse(message, flow);
    else this.#receiveRequest(message as SipRequest, flow);
  }

  #receiveResponse(response: SipResponse, flow: Flow): void {
    let branch: string | undefined;
    let method: string;
    try {
      branch = response.via.branch;
      method = response.cseq.method;
    } catch (error) {
      this.#reports.malformed(flow, error);
      return;
    }
    // 17.1.3: "If the response has the same value of the branch parameter in the top Via header field as the branch
    // parameter in the top Via header field of the request that created the transaction", and "the method parameter in the
    // CSeq header field matches the method of the request that created the transaction".
    const transaction = (method === "CANCEL" ? this.#cancels : this.#clients).get(branch ?? "");
    if (transaction !== undefined && transaction.method === method) transaction.receive(response);
    // RFC 6026 8.9: "Otherwise, any element other than a stateless proxy MUST silently discard the response."
    else this.#reports.stray("response", response);
  }

  #receiveRequest(request: SipRequest, flow: Flow): void {
    const method = request.method;
    let key: string;
    try {
      key = serverKey(request, method === "ACK" ? "INVITE" : method);
    } catch (error) {
      this.#reports.malformed(flow, error);
      return;
    }
    if (method === "ACK") {
      this.#receiveAck(request, flow, key);
      return;
    }
    const hash = this.#store.hash(key);
    const live = this.#servers.get(key, hash);
    if (live !== undefined) {
      this.#reports.retransmission("server", method);
      live.retransmitted();
      return;
    }
    const now = this.now();
    const answer = this.#store.find(key, hash, now);
    if (answer !== undefined) {
      // 17.2.2, "Completed": the final response again "whenever a retransmission of the request is received".
      this.#reports.retransmission("server", method);
      this.#transport.respond(answer, request, flow);
      return;
    }
    if (this.#isFull() && !(method === "CANCEL" && this.#servers.has(serverKey(request, "INVITE")))) {
      this.#refuse(request, flow);
      return;
    }
    const transaction =
      method === "INVITE"
        ? new InviteServerTransaction(request, flow, key, now, this)
        : new NonInviteServerTransaction(request, flow, key, hash, now, this);
    this.#servers.set(key, transaction, hash);
    transaction.begin();
  }

  /** A CANCEL for a live INVITE is let in even so: it makes room. */
  #isFull(): boolean {
    return this.#servers.size + this.#clients.size + this.#cancels.size >= this.#maxTransactions;
  }

  #receiveAck(ack: SipRequest, flow: Flow, key: string): void {
    const oldKey = keyOfOldAck(ack);
    const invite = oldKey === undefined ? this.#servers.get(key) : this.#oldAcks.get(oldKey);
    if (invite instanceof InviteServerTransaction) {
      invite.acknowledged(ack, flow);
      return;
    }
    // It acknowledges a refusal of ours, which ends here (8.2.7).
    if (toTag(ack) === this.#statelessTag) return;
    this.user.onAck(ack, flow);
  }

  /** RFC 3261 8.2.7 and 21.5.4: as cheap as an answer can be, and the same every time. */
  #refuse(request: SipRequest, flow: Flow): void {
    this.#reports.limited("transactions", flow.remoteHost);
    const response = buildResponse(request, 503, undefined, {
      toTag: this.#statelessTag,
      headers: [["Retry-After", this.#retryAfter]],
    });
    this.#transport.respond(response.raw, request, flow);
  }

  // What server transactions want done.

  now(): number {
    return this.#runtime.clock.now();
  }

  respond(raw: string, transaction: LiveServer): void {
    this.#transport.respond(raw, transaction.request, transaction.flow);
  }

  onRequest(transaction: LiveServer): void {
    if (transaction.request.method === "CANCEL") this.#onCancel(transaction);
    else this.user.onRequest(transaction);
  }

  onAck(ack: SipRequest, flow: Flow): void {
    this.user.onAck(ack, flow);
  }

  onUnacknowledged(transaction: LiveServer, status: number): void {
    this.#reports.unacknowledged(transaction.flow, status);
  }

  store(transaction: LiveServer, hash: number, response: string): void {
    this.#servers.delete(transaction.key, hash);
    if (this.#stopped) return;
    this.#store.add(transaction.key, hash, response, this.now());
    if (!this.#sweep.running) this.wheel.start(this.#sweep, SWEEP_MS, "sweep");
    if (this.#store.dropped !== this.#reportedDrops) {
      this.#reportedDrops = this.#store.dropped;
      this.#reports.limited("completed-transactions", "");
    }
  }

  onCompleted(transaction: LiveServer): void {
    transaction.absorbing = true;
    this.#absorbingServers++;
    if (!(transaction instanceof InviteServerTransaction)) return;
    const ackKey = this.#ackKey(transaction);
    if (ackKey !== undefined) this.#oldAcks.set(ackKey, transaction);
  }

  onServerEnd(transaction: LiveServer): void {
    if (transaction.absorbing) this.#absorbingServers--;
    this.#servers.delete(transaction.key);
    if (!(transaction instanceof InviteServerTransaction)) return;
    const ackKey = this.#ackKey(transaction);
    if (ackKey !== undefined) this.#oldAcks.delete(ackKey);
  }

  /** RFC 3261 9.2. CANCEL is hop by hop: it is answered here, whatever becomes of the INVITE. */
  #onCancel(transaction: LiveServer): void {
    const cancel = transaction.request;
    const invite = this.#servers.get(serverKey(cancel, "INVITE"));
    if (invite instanceof InviteServerTransaction) {
      // "the To tag of the response to the CANCEL and the To tag in the response to the original request SHOULD be the same".
      const tag = invite.last === null ? undefined : toTag(invite.last);
      transaction.respond(buildResponse(cancel, 200, undefined, tag === undefined ? {} : { toTag: tag }));
      // "If it has [sent a final response], the CANCEL request has no effect on the processing of the original request".
      if (!invite.completed) this.user.onCancel(invite, cancel);
      return;
    }
    const status = this.#isKnown(cancel) ? 200 : 481;
    if (status === 481) this.#reports.stray("cancel", cancel);
    transaction.respond(buildResponse(cancel, status));
  }

  /** "Regardless of the method of the original request, as long as the CANCEL matched an existing transaction". */
  #isKnown(cancel: SipRequest): boolean {
    const now = this.now();
    return CANCELLABLE.some((method) => {
      const key = serverKey(cancel, method);
      return this.#servers.has(key) || this.#store.find(key, this.#store.hash(key), now) !== undefined;
    });
  }

  #ackKey(invite: InviteServerTransaction): string | undefined {
    const last = invite.last;
    // The ACK of a 2xx goes to the TU with or without a match (RFC 6026 6).
    return last === null || last.status < 300 ? undefined : oldAckKey(invite.request, toTag(last) ?? "");
  }

  // What client transactions want done.

  onRetransmit(method: string): void {
    this.#reports.retransmission("client", method);
  }

  sendCancel(invite: ClientTransaction, via: string, reason: string | undefined): void {
    // 9.1: "The destination address, port, and transport for the CANCEL MUST be identical to those used to send the original".
    const cancel = cancelFor(invite.request, via, reason);
    const { branch, flow } = invite;
    this.#begin(
      new NonInviteClientTransaction(branch, cancel, flow, UNCONCERNED, this.timing.transaction, this),
      this.#cancels,
    );
  }

  onRefused(rest: LiveClient): void {
    rest.absorbing = true;
    this.#absorbingClients++;
    this.#clients.set(rest.branch, rest);
    rest.begin();
  }

  onClientEnd(transaction: LiveClient): void {
    if (transaction.absorbing) this.#absorbingClients--;
    (transaction.method === "CANCEL" ? this.#cancels : this.#clients).delete(transaction.branch);
  }

  onAccepted(transaction: LiveClient): void {
    transaction.absorbing = true;
    this.#absorbingClients++;
  }

  #begin<T extends InviteClientTransaction | NonInviteClientTransaction>(
    transaction: T,
    table: TransactionTable<LiveClient>,
  ): T {
    if (this.#stopped) {
      transaction.drop();
      return transaction;
    }
    const hash = this.#store.hash(transaction.branch);
    if (table.has(transaction.branch, hash)) throw new Error(`branch ${transaction.branch} is in use`);
    table.set(transaction.branch, transaction, hash);
    transaction.begin();
    return transaction;
  }

  #via(flow: Flow, branch: string): string {
    const point = flow.point;
    if (this.#viaPoint !== point) {
      this.#viaPoint = point;
      this.#viaStart = `SIP/2.0/${point.transport.toUpperCase()} ${point.sentBy};branch=`;
    }
    // RFC 3581 3: rport asks for the response at the address the request came from.
    return `${this.#viaStart}${branch};rport`;
  }

  #sweepStore(): void {
    const more = this.#store.expire(this.now(), SWEEP_ENTRIES);
    if (more) this.wheel.start(this.#sweep, 0, "sweep");
    else if (this.#store.count > 0) this.wheel.start(this.#sweep, SWEEP_MS, "sweep");
  }
}

function draftOf(request: SipRequest | Editor<SipRequest>): Editor<SipRequest> {
  return request instanceof SipRequest ? request.edit() : request;
}

function toTag(message: SipMessage): string | undefined {
  try {
    return message.to.tag;
  } catch {
    return undefined;
  }
}
