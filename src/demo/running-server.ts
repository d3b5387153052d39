import type { Address, Runtime } from "../runtime/runtime.ts";
import { buildRequest, buildResponse, type HeaderPair } from "../sip/message/build.ts";
import type { SipRequest, SipResponse } from "../sip/message/message.ts";
import { validateRequest } from "../sip/message/validate.ts";
import type { ServerTransaction } from "../sip/transaction/transaction.ts";
import { BackToBack } from "./back-to-back.ts";
import { Calls } from "./calls.ts";
import { Claims } from "./claims.ts";
import type { ExampleServer, ExampleServerOptions, Message, OnUnknown, OwnRequest } from "./example-server.ts";
import { Forwarder } from "./forward.ts";
import { Onward } from "./onward.ts";
import { type Call, placeCall } from "./outgoing-calls.ts";
import { type Accepted, PresenceAgent } from "./presence-agent.ts";
import { Registrar } from "./registrar.ts";
import { REGINFO_ACCEPT, toldBy } from "./registrations.ts";
import { Stack } from "./stack.ts";
import { type Notified, type Watch, Watches, type WatchOptions } from "./watches.ts";

const MAX_COUNTED = 100_000;
const MAX_INBOX = 100;
const MAX_EVICTED = 10_000;

/** See ExampleServer: what is received is handed to the part that knows what to do with it. */
export class RunningExampleServer implements ExampleServer {
  readonly name: string;
  onUnknown: OnUnknown;
  policy: ExampleServer["policy"] = () => "active";
  script: ExampleServer["script"] = () => undefined;
  readonly received = new Map<string, number>();
  readonly inboxes = new Map<string, Message[]>();
  readonly evicted: Array<{ readonly user: string; readonly by: "reg event" | "REGISTER" | "refusal" }> = [];
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
  readonly #claims: Claims;
  #serial = 0;

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
    this.#watches = new Watches(this.#stack, () => this.#proxy());
    const { domain, name, onward, longest, tuple } = options;
    this.#presence = new PresenceAgent(this.#stack, {
      domain,
      name,
      onward: onward === undefined ? null : new Onward(runtime, { uri: this.uri, name, domain }, this.#watches, onward),
      ...(longest === undefined ? {} : { longest }),
      ...(tuple === undefined ? {} : { tuple }),
      serial: options.serial ?? (() => ++this.#serial),
      policy: (watcher, user) => this.policy(watcher, user),
      notifyFirst: options.notifyFirst === true,
    });
    this.#calls = new Calls(this.#stack);
    this.#registrar = new Registrar(runtime);
    this.#forwarder = new Forwarder(this.#stack);
    this.#backToBack = options.proxy === undefined ? undefined : new BackToBack(this.#stack, options.proxy);
    this.#claims = new Claims(
      this.#stack,
      options.domain,
      () => this.#proxy(),
      (user) => this.#evict(user, "refusal"),
    );
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
    this.#presence.release(user, this.#options.leaving);
    this.#registrar.release(user);
  }

  login(user: string, seconds = 600): Promise<SipResponse | null> {
    this.hold(user);
    this.show(user, "open");
    return this.#claims.keep(user, seconds);
  }

  async logout(user: string): Promise<SipResponse | null> {
    const answer = await this.#claims.drop(user);
    this.#claims.forget(user);
    this.release(user);
    return answer;
  }

  keeps(user: string): boolean {
    return this.#claims.keeps(user);
  }

  ask(request: OwnRequest): Promise<SipResponse | null> {
    return this.#stack.ask(this.#own(request), this.#proxy());
  }

  watch(from: string, to: string, options: WatchOptions = {}): Promise<Watch> {
    const headers: HeaderPair[] = [
      ["Event", "presence"],
      ["Accept", "application/pidf+xml"],
      ["Expires", String(options.expires ?? 600)],
    ];
    return this.#watches.start(() => this.#own({ method: "SUBSCRIBE", from, to, headers }), options);
  }

  registrations(user?: string): Promise<Watch> {
    const { domain } = this.#options;
    const headers: HeaderPair[] = [
      ["Event", "reg"],
      ["Accept", REGINFO_ACCEPT],
      ["Expires", "600"],
    ];
    const to = user === undefined ? `reg@${domain};server=${this.name}` : `${user}@${domain}`;
    const make = (): SipRequest => this.#own({ method: "SUBSCRIBE", from: this.name, to, headers });
    return this.#watches.start(make, { keep: true, again: true, heard: (notified) => this.#told(notified) });
  }

  call(from: string, to: string): Promise<Call> {
    return placeCall(this.#stack, this.#own({ method: "INVITE", from, to }), this.#proxy());
  }

  show(user: string, basic: "open" | "closed"): void {
    this.#presence.show(user, basic);
  }

  accepted(user?: string): readonly Accepted[] {
    return this.#presence.list().filter((each) => user === undefined || each.user === user);
  }

  reconsider(): void {
    this.#presence.reconsider();
  }

  renew(user: string): void {
    this.#presence.endAll(user, "deactivated");
  }

  forget(): void {
    this.#presence.forget();
    this.#watches.stop();
  }

  lose(count: number): void {
    this.#presence.losing += count;
  }

  claim(user: string, seconds: number): Promise<SipResponse | null> {
    return this.#claims.claim(user, seconds);
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
    this.#claims.stop();
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
    const scripted = this.script(transaction.request);
    if (scripted === "silence") return;
    if (scripted !== undefined) {
      const { status, headers = [] } = scripted;
      transaction.respond(buildResponse(transaction.request, status, undefined, { headers }));
      return;
    }
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
        if (request.contacts === "*" && this.#options.evictByRegister === true) this.#evict(user, "REGISTER");
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
    const from = (request.identities[0] ?? request.from).uri.raw;
    inbox.push({ from, text: request.body, callId: request.callId });
    if (inbox.length > MAX_INBOX) inbox.shift();
    if (this.inboxes.size < MAX_COUNTED) this.inboxes.set(user, inbox);
    transaction.respond(buildResponse(request, 200));
  }

  #told(notified: Notified): void {
    for (const { user, what, callId } of toldBy(notified, this.#options.reginfo ?? "contacts", this.uri)) {
      // What is said of an older registration of his does not touch the present one.
      if (!this.#users.has(user) || !this.#claims.isCurrent(user, callId)) continue;
      if (what === "let-go") this.#evict(user, "reg event");
      else if (this.#claims.keeps(user)) void this.#claims.keep(user, 600);
    }
  }

  /** He is somewhere else: nothing is deregistered, for it is not ours any more. */
  #evict(user: string, by: "reg event" | "REGISTER" | "refusal"): void {
    this.evicted.push({ user, by });
    if (this.evicted.length > MAX_EVICTED) this.evicted.shift();
    this.#claims.forget(user);
    this.release(user);
  }

  #count(method: string, user: string): void {
    const key = `${method} ${user}`;
    const times = this.received.get(key);
    if (times !== undefined || this.received.size < MAX_COUNTED) this.received.set(key, (times ?? 0) + 1);
  }
}

const ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, MESSAGE, SUBSCRIBE, NOTIFY, PUBLISH, REGISTER";
