import type { Directory, DirectoryCache } from "../directory/directory.ts";
import { createDocumentCache } from "../directory/document-cache.ts";
import { decide } from "../federation/decide.ts";
import { type Explanation, renderExplanation } from "../federation/explain.ts";
import type { DecisionSettings, Facts, Origin } from "../federation/facts.ts";
import { buildIdentityTable, canonicalFrom, type IdentityTable, serversFor } from "../federation/identity.ts";
import { compileModels, type ModelTable, modelOf } from "../federation/model.ts";
import { buildOriginTable, normalHost, type OriginTable } from "../federation/origin.ts";
import type { Plan, UnionView } from "../federation/plan.ts";
import { NO_DISPOSITION } from "../federation/routing-choice.ts";
import { childrenOf } from "../federation/union-view.ts";
import { NO_POLICY, type Policy, type PolicyExplanation } from "../policy/policy.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { MalformedHeader, MalformedUri } from "../sip/message/errors.ts";
import type { SipRequest } from "../sip/message/message.ts";
import type { SipUri } from "../sip/message/uri.ts";
import type { Outbound } from "../sip/transaction/outbound.ts";
import type { ServerTransaction, TransactionLayer, TransactionUser } from "../sip/transaction/transaction.ts";
import { createLocator, type LocateOptions, type Locator } from "../sip/transport/location.ts";
import type { Flow, Target, TransportLayer } from "../sip/transport/transport.ts";
import type { Telemetry } from "../telemetry/events.ts";
import { forwardAck } from "./ack.ts";
import { Copies } from "./copies.ts";
import type { Core } from "./core.ts";
import { DigestNonces } from "./digest.ts";
import { Exchange } from "./exchange.ts";
import { type Handlers, NO_HANDLERS } from "./handlers.ts";
import { ImRouting } from "./im-routing.ts";
import { KnownCredentials } from "./known-credentials.ts";
import { SEPARATOR } from "./loop.ts";
import { NamedUsers } from "./named-users.ts";
import { OpenForks } from "./open-forks.ts";
import { OpenSpreads } from "./open-spreads.ts";
import type { ProxyOptions } from "./options.ts";
import { createOutbound } from "./outbound.ts";
import { run } from "./pipeline.ts";
import { SipProber } from "./prober.ts";
import { Repeats } from "./repeats.ts";
import { RequestEvent } from "./request-event.ts";
import { answer } from "./responses.ts";
import { Rotation, type ServerStatus } from "./rotation.ts";
import { RouteKeys } from "./route-header.ts";
import { gatherFacts, recordIn } from "./steps/facts.ts";
import { lookUp } from "./steps/resolve.ts";
import { SubscriptionForks } from "./subscription-forks.ts";

export interface ProxyParts {
  readonly runtime: Runtime;
  readonly telemetry: Telemetry;
  readonly transport: TransportLayer;
  readonly transactions: TransactionLayer;
  readonly directory: Directory;
  readonly cache: DirectoryCache;
  /** Absent: each server's own is all there is. */
  readonly policy?: Policy;
}

export interface ExplainQuestion {
  readonly method: string;
  readonly aor: string;
  /** Server the request comes from; absent: a client. */
  readonly from?: string;
  readonly watcher?: string;
  readonly event?: string;
  /** Of the listener it comes to; absent: up. */
  readonly direction?: "up" | "down";
}

/** The proxy core (RFC 3261 16) with the models of the domain; the user of the transaction layer. */
export class ProxyCore implements Core, TransactionUser {
  readonly runtime: Runtime;
  readonly telemetry: Telemetry;
  readonly transport: TransportLayer;
  readonly transactions: TransactionLayer;
  readonly directory: Directory;
  readonly cache: DirectoryCache;
  readonly policy: Policy;
  readonly rotation: Rotation;
  readonly keys: RouteKeys;
  readonly nonces: DigestNonces;
  readonly credentials: KnownCredentials;
  readonly #named: NamedUsers;
  readonly imRouting: ImRouting;
  readonly repeats: Repeats;
  readonly openSpreads = new OpenSpreads();
  readonly openForks: OpenForks;
  readonly subscriptionForks: SubscriptionForks;
  options: ProxyOptions;
  origins!: OriginTable;
  models!: ModelTable;
  identities!: IdentityTable;
  settings!: DecisionSettings;
  /** Servers that are told by a REGISTER of ours that they have lost a user (models.md, "Eviction"). */
  evictedByRegister: readonly string[] = [];
  draining = false;
  handlers: Handlers = NO_HANDLERS;
  readonly outbound: Outbound = createOutbound(this);
  readonly #copies = new Copies(this, this.outbound);
  readonly #locator: Locator;
  readonly branchPrefix: string;
  readonly #invites = new Map<ServerTransaction, Exchange>();
  readonly #finished = (exchange: Exchange, status: number): void => this.#report(exchange, status);
  #locateOptions: LocateOptions = { transports: new Set() };
  #domains: ReadonlySet<string> = new Set();
  /** Where the servers' numeric nodes are: asked for with every request. */
  readonly #nodeTargets = new Map<SipUri, readonly Target[]>();
  #branches = 0;
  #open = 0;
  #idle: (() => void)[] = [];
  readonly #upListeners = new Set<(server: string) => void>();

  constructor(parts: ProxyParts, options: ProxyOptions) {
    this.runtime = parts.runtime;
    this.telemetry = parts.telemetry;
    this.transport = parts.transport;
    this.transactions = parts.transactions;
    this.directory = parts.directory;
    this.cache = parts.cache;
    this.policy = parts.policy ?? NO_POLICY;
    this.options = options;
    const { clock, random } = this.runtime;
    this.keys = new RouteKeys(random.bytes(32));
    this.nonces = new DigestNonces(clock, random);
    this.credentials = new KnownCredentials(this.directory);
    this.#named = new NamedUsers(this.directory, this.runtime, this.telemetry);
    this.repeats = new Repeats(clock);
    this.imRouting = new ImRouting({
      random,
      telemetry: this.telemetry,
      documents: createDocumentCache(this.directory),
      clock,
      presence: (aor) => this.handlers.presence(aor),
      fetch: (aor, asked) => this.handlers.fetchPresence(aor, asked),
      standard: () => this.options.imRouting.algorithm,
    });
    this.openForks = new OpenForks(this.runtime, this.directory, options.maxWaiting);
    this.subscriptionForks = new SubscriptionForks(this.runtime, options.maxWaiting);
    this.#locator = createLocator(this.runtime.network.resolver, random, clock);
    this.branchPrefix = `z9hG4bK${random.token(12)}.`;
    const prober = new SipProber(
      this.runtime,
      this.transport,
      this.transactions,
      (uris) => this.locate(uris),
      () => ({ domain: this.options.domains[0]!, timeoutMs: this.options.health.timeoutMs }),
    );
    this.rotation = new Rotation(this.runtime, this.telemetry, prober, options.health, (server) => this.#onUp(server));
    this.configure(options);
    this.transactions.user = this;
  }

  /** Before the transport listens: who comes under another name is to be known. */
  prepare(): Promise<void> {
    return this.#named.start();
  }

  /** After the transport listens: which transports there are is known now, and the servers are asked for the first time. */
  async start(): Promise<void> {
    this.#locateOptions = { transports: new Set(this.transport.points.map((point) => point.transport)) };
    this.#locateNodes();
    await this.rotation.start();
  }

  stop(): void {
    this.rotation.stop();
    this.openForks.stop();
    this.credentials.stop();
    this.#named.stop();
    this.subscriptionForks.stop();
  }

  /** Takes over new options whole; requests under way go on with what they have. */
  configure(options: ProxyOptions): void {
    this.options = options;
    const { servers } = options;
    const { policy } = this;
    this.origins = buildOriginTable(servers);
    this.models = compileModels(options.models);
    this.identities = buildIdentityTable(servers, this.#named);
    this.settings = {
      home: options.clients.home,
      routing: options.routing,
      subdomains: Object.fromEntries(
        servers.filter((each) => each.subdomain !== null).map((each) => [each.name, each.subdomain!]),
      ),
      hold: options.hold,
      absentMessages: options.absentMessages,
      get watcherinfo() {
        return policy.active;
      },
      exclusive: options.exclusive,
      unions: options.unions,
      retryAfter: options.retryAfterS,
    };
    this.evictedByRegister = servers.filter((each) => each.evict === "register").map((each) => each.name);
    this.directory.evictions.configure(this.evictedByRegister);
    this.#domains = new Set([...options.domains, ...Object.values(this.settings.subdomains)]);
    this.rotation.configure(servers, options.health);
    this.#copies.configure();
    this.#locateNodes();
  }

  /** No new work outside dialogs from now on; resolves when what is open has ended. */
  drain(): Promise<void> {
    this.draining = true;
    if (this.#open === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Requests that have no final answer yet. */
  get open(): number {
    return this.#open;
  }

  servers(): ServerStatus[] {
    return this.rotation.status();
  }

  /** The plan for a request that nobody sent, by the functions that traffic runs through. */
  async explain(question: ExplainQuestion): Promise<Explanation> {
    const { from, watcher = "" } = question;
    const aor = this.canonical(question.aor, from ?? null);
    // A client that is known here has been challenged.
    const isProved = from !== undefined || this.options.clients.authenticate === "digest";
    const origin: Origin =
      from !== undefined
        ? { kind: "server", server: from }
        : { kind: "client", authenticated: isProved ? (question.watcher ?? null) : null };
    const claims = question.method === "REGISTER" || question.method === "PUBLISH";
    const facts = gatherFacts(
      this,
      {
        method: question.method,
        event: question.event ?? (["SUBSCRIBE", "PUBLISH", "NOTIFY"].includes(question.method) ? "presence" : ""),
        origin,
        aor,
        regServer: null,
        sender: { aor: from === undefined ? watcher : this.canonical(watcher, from), trusted: isProved },
        claim: !claims ? "none" : origin.kind === "server" ? "claim" : "client",
        mayQueue: true,
        direction: question.direction ?? "up",
        credit: "unasked",
        without: [],
      },
      await lookUp(this, aor),
    );
    const plan = await this.#routed(facts, decide(facts));
    return renderExplanation(facts, plan, await this.#explainPolicy(facts, plan));
  }

  /** Whose turn it is now stays his. */
  async #routed({ method, aor }: Facts, plan: Plan): Promise<Plan> {
    if (plan.kind !== "spread" || plan.choice === "all") return plan;
    const setting = await this.imRouting.settingOf(aor);
    const question = { method, servers: plan.servers, disposition: NO_DISPOSITION };
    return { ...plan, routing: this.imRouting.choose(aor, setting, question, false) };
  }

  /** Of whom a subscription to a unioned user is made, looked at from there; null: he is of another model. */
  async children(aor: string, view: UnionView): Promise<readonly string[] | null> {
    const record = recordIn(await lookUp(this, aor));
    const { model } = modelOf(this.models, aor, record);
    if (model.model !== "unioned") return null;
    const servers = serversFor(this.identities, aor, record, this.rotation.facts);
    return childrenOf(model, this.settings.unions, servers, view).servers;
  }

  /** Asked as traffic is: not of what this proxy tells by itself, to the user alone and to servers, nor of what is refused. */
  async #explainPolicy({ method, event, aor, sender }: Facts, { kind }: Plan): Promise<PolicyExplanation | null> {
    const { policy } = this;
    if (!policy.active || policy.explain === undefined) return null;
    const asked = { watcher: sender.aor, trusted: sender.trusted, aor, event };
    if (method === "MESSAGE" || method === "INVITE") return policy.explain(asked, method);
    const isWatched = event === "presence" || !["winfo", "reginfo", "reject"].includes(kind);
    return method === "SUBSCRIBE" && isWatched ? policy.explain(asked, null) : null;
  }

  onRequest(transaction: ServerTransaction): void {
    const exchange = new Exchange(transaction, this.#finished);
    this.#open++;
    if (exchange.isInvite) this.#invites.set(transaction, exchange);
    try {
      const running = run(this, exchange);
      if (running instanceof Promise) running.catch((error: Error) => this.failed(exchange, error));
    } catch (error) {
      this.failed(exchange, error as Error);
    }
  }

  onAck(request: SipRequest, flow: Flow): void {
    forwardAck(this, request, flow);
  }

  onCancel(invite: ServerTransaction, cancel: SipRequest): void {
    const exchange = this.#invites.get(invite);
    if (exchange === undefined || invite.completed) return;
    // Not forwarded yet: nobody but us can end it (RFC 3261 9.2).
    if (exchange.onCancel === null) answer(this, exchange, { status: 487, phrase: "Request Terminated" });
    else exchange.onCancel(cancel.header("Reason"));
  }

  failed(exchange: Exchange, error: Error): void {
    // A header that is read only here, and cannot be: the sender's fault, and no news.
    if (error instanceof MalformedHeader || error instanceof MalformedUri) {
      if (!exchange.transaction.completed) answer(this, exchange, { status: 400, phrase: reasonOf(error) });
      return;
    }
    this.telemetry.emit("warning", {
      what: `${exchange.method} could not be handled`,
      detail: error.stack ?? error.message,
    });
    if (!exchange.transaction.completed) answer(this, exchange, { status: 500 });
  }

  branch(loopHash: string): string {
    this.#branches++;
    return `${this.branchPrefix}${this.#branches.toString(36)}${SEPARATOR}${loopHash}`;
  }

  locate(uris: readonly SipUri[]): readonly Target[] | Promise<readonly Target[]> {
    if (uris.length === 1) return this.#nodeTargets.get(uris[0]!) ?? this.#locateSome(uris);
    return this.#locateSome(uris);
  }

  #locateSome(uris: readonly SipUri[]): readonly Target[] | Promise<readonly Target[]> {
    const found: Target[] = [];
    for (let i = 0; i < uris.length; i++) {
      const targets = this.#locateNow(uris[i]!);
      if (targets === undefined) return this.#locateAll(uris);
      found.push(...targets);
    }
    return found;
  }

  #locateNodes(): void {
    this.#nodeTargets.clear();
    for (const node of this.options.servers.flatMap((server) => server.nodes)) {
      const targets = this.#locateNow(node);
      if (targets !== undefined) this.#nodeTargets.set(node, targets);
    }
  }

  #locateNow(uri: SipUri): readonly Target[] | undefined {
    try {
      return this.#locator.locateNow(uri, this.#locateOptions);
    } catch {
      return [];
    }
  }

  async #locateAll(uris: readonly SipUri[]): Promise<readonly Target[]> {
    const all = await Promise.all(uris.map((uri) => this.#locator.locate(uri, this.#locateOptions).catch(() => [])));
    return all.flat();
  }

  serverAt(host: string, port: number): string | undefined {
    const entry = this.origins.hosts.get(normalHost(host));
    const origin = entry?.ports.get(port) ?? entry?.only;
    return origin?.kind === "server" ? origin.server : undefined;
  }

  isOwnHop(uri: SipUri): boolean {
    return this.transport.isOwn(uri.host, uri.port) || (uri.user === undefined && this.isOwnName(uri.host, uri.port));
  }

  isOwnName(host: string, port: number | undefined): boolean {
    if (this.transport.isOwn(host, port)) return true;
    if (!this.options.domains.includes(host.toLowerCase())) return false;
    return port === undefined || this.transport.points.some((point) => point.port === port);
  }

  isOurs(uri: SipUri): boolean {
    // RFC 3261 16.5: with an maddr that is where it goes; one of ours was stripped before.
    if (uri.params.size > 0 && uri.params.has("maddr")) return false;
    return this.#domains.has(uri.host) || this.transport.isOwn(uri.host, uri.port);
  }

  canonical(aor: string, server: string | null): string {
    const at = aor.lastIndexOf("@");
    const host = aor.slice(at + 1);
    if (server !== null) {
      const known = canonicalFrom(this.identities, server, aor);
      if (known !== aor) return known;
    }
    if (this.options.domains.includes(host)) return aor;
    const own =
      this.#domains.has(host) || this.transport.points.some((point) => this.transport.isOwn(host, point.port));
    return own ? `${aor.slice(0, at + 1)}${this.options.domains[0]}` : aor;
  }

  /** Told of every server that has come back into rotation. Returns the way to end it. */
  onServerUp(listener: (server: string) => void): () => void {
    this.#upListeners.add(listener);
    return () => this.#upListeners.delete(listener);
  }

  #onUp(server: string): void {
    this.cache.forgetAbsent();
    this.openForks.forgetAbsent();
    for (const listener of this.#upListeners) listener(server);
  }

  #report(exchange: Exchange, status: number): void {
    this.#open--;
    if (status >= 200 && status < 300 && exchange.method === "MESSAGE") this.#copies.sent(exchange);
    if (exchange.isInvite) this.#invites.delete(exchange.transaction);
    if (this.#open === 0 && this.#idle.length > 0) for (const resolve of this.#idle.splice(0)) resolve();
    if (!this.telemetry.wants("request")) return;
    const durationMs = this.runtime.clock.now() - exchange.transaction.receivedAt;
    this.telemetry.emit("request", new RequestEvent(exchange, status, durationMs));
  }
}

/** It may quote what the peer sent: one line of printable text. */
function reasonOf(error: Error): string {
  return error.message.replace(/[^ -~]+/g, " ").slice(0, 120);
}
