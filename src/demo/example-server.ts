import type { Address, Runtime } from "../runtime/runtime.ts";
import { buildRequest, buildResponse, type HeaderPair } from "../sip/message/build.ts";
import type { SipRequest, SipResponse } from "../sip/message/message.ts";
import { validateRequest } from "../sip/message/validate.ts";
import type { ServerTransaction } from "../sip/transaction/transaction.ts";
import { BackToBack } from "./back-to-back.ts";
import { Calls } from "./calls.ts";
import { Forwarder } from "./forward.ts";
import { type Call, placeCall } from "./outgoing-calls.ts";
import { PresenceAgent } from "./presence-agent.ts";
import { Registrar } from "./registrar.ts";
import { Stack } from "./stack.ts";
import { type Watch, Watches } from "./watches.ts";

const MAX_COUNTED = 100_000;
const MAX_INBOX = 100;

/**
 * What is done with a request for somebody else: `404`; `proxy-back` and `b2bua-back` send it to the proxy, in the same call or under
 * a new Call-ID; `accept` takes it as if the user lived here.
 */
export type OnUnknown = "404" | "proxy-back" | "b2bua-back" | "accept";

export interface ExampleServerOptions {
  readonly name: string;
  readonly listen: Address;
  /** User parts of those who live here from the start. */
  readonly users: readonly string[];
  readonly domain: string;
  /** The routing proxy: where requests of its own users go, and by default routes what it does not hold. */
  readonly proxy?: Address;
  readonly onUnknown: OnUnknown;
  /** How its phones take an INVITE; default `answer`. */
  readonly phones?: "answer" | "ring";
  readonly log?: (line: string) => void;
}

export interface OwnRequest {
  readonly method: string;
  /** User part of one of its users. */
  readonly from: string;
  /** AoR. */
  readonly to: string;
  readonly headers?: readonly HeaderPair[];
  readonly body?: string;
}

export interface ExampleServer {
  readonly name: string;
  readonly uri: string;
  /** Requests received outside dialogs, retransmissions not counted: `METHOD user` -> times. */
  readonly received: ReadonlyMap<string, number>;
  /** The last messages of each user: sender's AoR URI and text. */
  readonly inboxes: ReadonlyMap<string, ReadonlyArray<{ readonly from: string; readonly text: string }>>;
  /** Subscriptions, registrations, calls that live now: zero when traffic has ended. */
  readonly live: number;
  onUnknown: OnUnknown;
  seen(method: string, user: string): number;
  hold(user: string): void;
  /** He leaves: his subscriptions end with `deactivated`. */
  release(user: string): void;
  /** Sends a request of one of its users to the proxy; the final response, or null where nobody answered. */
  ask(request: OwnRequest): Promise<SipResponse | null>;
  /** Subscribes one of its users to somebody's presence through the proxy. */
  watch(from: string, to: string): Promise<Watch>;
  /** Calls somebody through the proxy. */
  call(from: string, to: string): Promise<Call>;
  /** One of its users comes online or goes, as if his phone had published it. */
  show(user: string, basic: "open" | "closed"): void;
  /** Tells the proxy that a user is here: a third-party REGISTER with itself as contact (0 seconds: that he is not any more). */
  claim(user: string, seconds: number): Promise<SipResponse | null>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** A small presence and IM server on the product's own stack: for the demo, the flow tests and the example domain. */
export function createExampleServer(runtime: Runtime, options: ExampleServerOptions): ExampleServer {
  return new Server(runtime, options);
}

class Server implements ExampleServer {
  readonly name: string;
  onUnknown: OnUnknown;
  readonly received = new Map<string, number>();
  readonly inboxes = new Map<string, Array<{ readonly from: string; readonly text: string }>>();
  readonly #options: ExampleServerOptions;
  readonly #runtime: Runtime;
  readonly #users: Set<string>;
  readonly #stack: Stack;
  readonly #presence: PresenceAgent;
  readonly #calls: Calls;
  readonly #registrar: Registrar;
  readonly #forwarder: Forwarder;
  readonly #backToBack: BackToBack | undefined;
  readonly #watches: Watches;
  /** One Call-ID for all claims of a user, CSeq rising (RFC 3261 10.2). */
  readonly #claims = new Map<string, { readonly callId: string; cseq: number }>();

  constructor(runtime: Runtime, options: ExampleServerOptions) {
    this.name = options.name;
    this.onUnknown = options.onUnknown;
    this.#options = options;
    this.#runtime = runtime;
    this.#users = new Set(options.users);
    this.#stack = new Stack(runtime, options.listen, {
      onRequest: (transaction) => this.#onRequest(transaction),
      onAck: (request) => this.#onAck(request),
      onCancel: (invite) => {
        this.#calls.cancel(invite);
        this.#forwarder.cancel(invite);
      },
    });
    this.#presence = new PresenceAgent(this.#stack, options.domain);
    this.#calls = new Calls(this.#stack);
    this.#registrar = new Registrar(runtime);
    this.#forwarder = new Forwarder(this.#stack);
    this.#backToBack = options.proxy === undefined ? undefined : new BackToBack(this.#stack, options.proxy);
    this.#watches = new Watches(this.#stack);
  }

  get uri(): string {
    return this.#stack.uri;
  }

  get live(): number {
    return this.#presence.subscriptions + this.#calls.live + this.#registrar.size;
  }

  seen(method: string, user: string): number {
    return this.received.get(`${method} ${user}`) ?? 0;
  }

  hold(user: string): void {
    this.#users.add(user);
  }

  release(user: string): void {
    this.#users.delete(user);
    this.#presence.release(user);
    this.#registrar.release(user);
  }

  ask(request: OwnRequest): Promise<SipResponse | null> {
    return this.#stack.ask(this.#own(request), this.#proxy());
  }

  watch(from: string, to: string): Promise<Watch> {
    const headers: HeaderPair[] = [
      ["Event", "presence"],
      ["Accept", "application/pidf+xml"],
      ["Expires", "600"],
    ];
    return this.#watches.start(this.#own({ method: "SUBSCRIBE", from, to, headers }), this.#proxy());
  }

  call(from: string, to: string): Promise<Call> {
    return placeCall(this.#stack, this.#own({ method: "INVITE", from, to }), this.#proxy());
  }

  show(user: string, basic: "open" | "closed"): void {
    this.#presence.show(user, basic);
  }

  claim(user: string, seconds: number): Promise<SipResponse | null> {
    const claim = this.#claims.get(user) ?? { callId: this.#runtime.random.token(16), cseq: 0 };
    this.#claims.set(user, claim);
    claim.cseq += 1;
    const address = `<sip:${user}@${this.#options.domain}>`;
    const request = buildRequest({
      method: "REGISTER",
      uri: `sip:${this.#options.domain}`,
      headers: [
        ["Max-Forwards", "70"],
        ["From", `${address};tag=${this.#runtime.random.token(10)}`],
        ["To", address],
        ["Call-ID", claim.callId],
        ["CSeq", `${claim.cseq} REGISTER`],
        ["Contact", `<${this.uri}>`],
        ["Expires", String(seconds)],
      ],
    });
    return this.#stack.ask(request, this.#proxy());
  }

  start(): Promise<void> {
    return this.#stack.start();
  }

  async stop(): Promise<void> {
    this.#presence.stop();
    this.#calls.stop();
    this.#registrar.stop();
    this.#forwarder.stop();
    this.#backToBack?.stop();
    this.#watches.stop();
    await this.#stack.stop();
  }

  #proxy(): Address {
    if (this.#options.proxy === undefined) throw new Error(`${this.name} was given no proxy to send to`);
    return this.#options.proxy;
  }

  #own(request: OwnRequest): SipRequest {
    const { random } = this.#runtime;
    const from = `<sip:${request.from}@${this.#options.domain}>`;
    return buildRequest({
      method: request.method,
      uri: `sip:${request.to}`,
      headers: [
        ["Max-Forwards", "70"],
        ["From", `${from};tag=${random.token(10)}`],
        ["To", `<sip:${request.to}>`],
        ["Call-ID", random.token(16)],
        ["CSeq", `1 ${request.method}`],
        ["Contact", `<${this.uri}>`],
        // A server vouches for its own users (RFC 3325).
        ["P-Asserted-Identity", from],
        ...(request.headers ?? []),
      ],
      ...(request.body === undefined ? {} : { body: request.body }),
    });
  }

  #onAck(request: SipRequest): void {
    const { request: stripped, onward } = this.#unrouted(request);
    if (onward) this.#forwarder.ack(stripped);
    else if (!this.#calls.ack(request)) this.#backToBack?.ack(request);
  }

  #onRequest(transaction: ServerTransaction): void {
    const fault = validateRequest(transaction.request);
    if (fault !== null) {
      transaction.respond(buildResponse(transaction.request, fault.status, fault.reason));
      return;
    }
    try {
      this.#handle(transaction);
    } catch (error) {
      this.#options.log?.(`${this.name}: ${String(error)}`);
      if (!transaction.completed) transaction.respond(buildResponse(transaction.request, 400));
    }
  }

  #handle(transaction: ServerTransaction): void {
    const { request, onward } = this.#unrouted(transaction.request);
    if (onward) this.#forwarder.forward(transaction, {}, request);
    else if (request.to.tag !== undefined) this.#within(transaction);
    else if (request.method === "OPTIONS") transaction.respond(buildResponse(request, 200));
    else this.#outside(transaction);
  }

  /** RFC 3261 16.4: a Route that names us is done with; another, or a Request-URI that is not ours within a dialog, leads on. */
  #unrouted(request: SipRequest): { readonly request: SipRequest; readonly onward: boolean } {
    const first = request.routes[0]?.uri;
    if (first === undefined || first.kind !== "sip") return { request, onward: false };
    if (!this.#stack.isOwn(first.host, first.port)) return { request, onward: true };
    const rest = request.edit().removeFirstValue("Route").build();
    const target = rest.uri;
    const ours = target.kind === "sip" && this.#stack.isOwn(target.host, target.port);
    return { request: rest, onward: rest.routes.length > 0 || (!ours && rest.to.tag !== undefined) };
  }

  #within(transaction: ServerTransaction): void {
    const { request } = transaction;
    if (this.#backToBack?.knows(request)) this.#backToBack.within(transaction);
    else if (request.method === "NOTIFY" && this.#watches.notified(transaction)) return;
    else if (request.method === "SUBSCRIBE") this.#presence.refresh(transaction);
    else if (request.method === "BYE") this.#calls.bye(transaction);
    else transaction.respond(buildResponse(request, 481));
  }

  #outside(transaction: ServerTransaction): void {
    const { request } = transaction;
    const uri = request.method === "REGISTER" ? request.to.uri : request.uri;
    const user = uri.kind === "sip" ? (uri.user ?? "") : uri.raw;
    this.#count(request.method, user);
    this.#options.log?.(`${this.name}: ${request.method} ${user}`);
    if (this.#users.has(user) || this.onUnknown === "accept") this.#serve(transaction, user);
    else if (this.onUnknown === "404") transaction.respond(buildResponse(request, 404));
    else if (this.onUnknown === "proxy-back") this.#forwarder.forward(transaction, { to: this.#proxy() });
    else this.#backToBack?.start(transaction);
  }

  #serve(transaction: ServerTransaction, user: string): void {
    const { request } = transaction;
    switch (request.method) {
      case "SUBSCRIBE":
        this.#presence.subscribe(transaction, user);
        break;
      case "PUBLISH":
        this.#presence.publish(transaction, user);
        break;
      case "REGISTER":
        this.#registrar.register(transaction, user);
        break;
      case "MESSAGE":
      case "INVITE":
        this.#deliver(transaction, user);
        break;
      default:
        transaction.respond(buildResponse(request, 405, undefined, { headers: [["Allow", ALLOW]] }));
    }
  }

  /** To his phone where one is registered; else the server plays the phone. */
  #deliver(transaction: ServerTransaction, user: string): void {
    const { request } = transaction;
    const contact = this.#registrar.contact(user);
    if (contact !== undefined) {
      this.#forwarder.forward(transaction, contact);
      return;
    }
    if (request.method === "INVITE") {
      this.#calls.invite(transaction, this.#options.phones ?? "answer");
      return;
    }
    const inbox = this.inboxes.get(user) ?? [];
    inbox.push({ from: (request.identities[0] ?? request.from).uri.raw, text: request.body });
    if (inbox.length > MAX_INBOX) inbox.shift();
    if (this.inboxes.size < MAX_COUNTED) this.inboxes.set(user, inbox);
    transaction.respond(buildResponse(request, 200));
  }

  #count(method: string, user: string): void {
    const key = `${method} ${user}`;
    const times = this.received.get(key);
    if (times !== undefined || this.received.size < MAX_COUNTED) this.received.set(key, (times ?? 0) + 1);
  }
}

const ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, MESSAGE, SUBSCRIBE, NOTIFY, PUBLISH, REGISTER";
