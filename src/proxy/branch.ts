import type { Origin } from "../federation/facts.ts";
import { isPrivate } from "../federation/privacy.ts";
import type { Timer } from "../runtime/runtime.ts";
import type { NameAddr } from "../sip/message/headers/name-addr.ts";
import type { SipResponse } from "../sip/message/message.ts";
import type { SipUri } from "../sip/message/uri.ts";
import type { ClientTransaction, ClientTransactionUser } from "../sip/transaction/transaction.ts";
import type { Flow, Target } from "../sip/transport/transport.ts";
import type { Core } from "./core.ts";
import { dispositionFor } from "./disposition.ts";
import type { Exchange } from "./exchange.ts";
import { copyFor, isTrusted, sizeOf, type Way } from "./next-hop.ts";

/** How one branch ended: an answer, nobody answered, or no way there. */
export type BranchResult = SipResponse | "timeout" | "transport-error" | "cancelled";

export interface BranchUser {
  onProvisional(response: SipResponse, branch: Branch): void;
  /** Exactly once a branch. */
  onFinal(result: BranchResult, branch: Branch): void;
  /** A further 2xx to INVITE, from a fork behind this branch (RFC 3261 16.7 step 5). */
  onFurtherSuccess(response: SipResponse, branch: Branch): void;
}

/**
 * One target of a request, with its nodes and addresses as successive attempts, each a client transaction of its own
 * (RFC 3261 16.6 steps 7 to 11): a transport error, a timeout or a 503 moves on to the next (RFC 3263 4.3).
 */
export class Branch implements ClientTransactionUser {
  readonly server: string;
  readonly #core: Core;
  readonly #user: BranchUser;
  readonly #exchange: Exchange;
  readonly #way: Way;
  readonly #isInvite: boolean;
  readonly startedAt: number;
  #attempts: readonly Attempt[];
  #attempt = 0;
  #transaction: ClientTransaction | null = null;
  #timerC: Timer | null = null;
  #ended = false;
  #cancelled = false;
  #provisional = false;
  #trusted = true;
  #givenMs = Number.POSITIVE_INFINITY;
  /** Of a way that lingers: until the branch ends, its transaction going on. */
  #patience: Timer | null = null;
  #settleLate: ((reply: SipResponse | "timeout") => void) | null = null;
  /** What may yet be answered after it ended by its deadline; null: nothing. */
  late: Promise<SipResponse | "timeout"> | null = null;

  constructor(core: Core, user: BranchUser, exchange: Exchange, way: Way) {
    this.#core = core;
    this.#user = user;
    this.#exchange = exchange;
    this.#way = way;
    this.#isInvite = exchange.isInvite;
    this.#attempts = way.targets.map((target) => ({ target, requestUri: undefined }));
    this.server = way.server;
    this.startedAt = core.runtime.clock.now();
  }

  /** A 3xx was followed: what is answered now says nothing of the server. */
  get redirected(): boolean {
    return this.#attempts[this.#attempt - 1]?.requestUri !== undefined;
  }

  get ended(): boolean {
    return this.#ended;
  }

  start(): void {
    this.#next("transport-error");
  }

  /** INVITE: takes the request back. The branch still ends by its own final answer (RFC 3261 9.1). */
  cancel(reason?: string): void {
    if (this.#ended || this.#cancelled) return;
    this.#cancelled = true;
    if (this.#transaction !== null) this.#transaction.cancel(reason);
    else this.#end("cancelled");
  }

  #next(last: "timeout" | "transport-error"): void {
    if (this.#ended) return;
    this.#patience?.cancel();
    const { deadline } = this.#way;
    if (this.#cancelled) return this.#end("cancelled");
    if (this.#attempt >= this.#attempts.length) return this.#end(last);
    const now = this.#attempt === 0 ? this.startedAt : this.#core.runtime.clock.now();
    if (!this.#isInvite && now >= deadline) return this.#end("timeout");
    const { target } = this.#attempts[this.#attempt++]!;
    let flow: Flow | Promise<Flow>;
    try {
      flow = "send" in target ? target : this.#core.transport.flowTo(target, sizeOf(this.#exchange));
    } catch (error) {
      return this.#failed(error as Error);
    }
    if (flow instanceof Promise) {
      flow.then(
        (way) => this.#trySend(way, this.#core.runtime.clock.now()),
        (error: Error) => this.#failed(error),
      );
    } else this.#trySend(flow, now);
  }

  /** A copy that cannot be made (a 3xx may lead to anything) is this branch's failure and nobody else's. */
  #trySend(flow: Flow, now: number): void {
    try {
      this.#send(flow, now);
    } catch (error) {
      this.#core.telemetry.emit("warning", {
        what: `${this.#exchange.method} could not be sent to ${this.server}`,
        detail: (error as Error).message,
      });
      this.#next("transport-error");
    }
  }

  #send(flow: Flow, now: number): void {
    if (this.#ended) return;
    if (this.#cancelled) return this.#end("cancelled");
    const { requestUri } = this.#attempts[this.#attempt - 1]!;
    this.#trusted = isTrusted(this.#core, this.#way, requestUri, flow);
    const request = copyFor(this.#core, this.#exchange, this.#way, requestUri, flow);
    const branch = this.#core.branch(this.#way.loopHash);
    if (this.#isInvite) {
      this.#transaction = this.#core.transactions.send(request, flow, this, { branch });
      this.#armTimerC();
      return;
    }
    const left = this.#attempts.length - this.#attempt + 1;
    const remaining = this.#way.deadline - now;
    const timeoutMs = Math.max(1, remaining / left);
    this.#givenMs = timeoutMs;
    if (this.#way.lingers && left === 1) {
      this.#patience = this.#core.runtime.timers.after(timeoutMs, () => this.#linger());
      this.#transaction = this.#core.transactions.send(request, flow, this, { branch });
      return;
    }
    this.#transaction = this.#core.transactions.send(request, flow, this, { branch, timeoutMs });
  }

  /** The deadline has come: it ends, and is listened to until Timer F. */
  #linger(): void {
    if (this.#ended) return;
    this.late = new Promise((resolve) => {
      this.#settleLate = resolve;
    });
    if (this.#givenMs >= FAIR_MS) this.#report(false, "timeout");
    this.#end("timeout");
  }

  onResponse(received: SipResponse, transaction: ClientTransaction): void {
    if (transaction !== this.#transaction) return;
    const response = this.#trusted ? towards(this.#exchange.origin, received) : withoutIdentity(received);
    // RFC 3261 16.7 step 3: without a second Via it was meant for nobody behind us.
    if (!response.hasLowerVia) return;
    const { status } = response;
    if (status < 200) {
      if (status > 100) {
        this.#provisional = true;
        this.#armTimerC();
        if (!this.#ended) this.#user.onProvisional(response, this);
      } else this.#provisional = true;
      return;
    }
    this.#report(true, "answers");
    if (this.#ended) {
      if (this.#isInvite && status < 300) this.#user.onFurtherSuccess(response, this);
      this.#settleLate?.(response);
      return;
    }
    if (status === 503 && !this.#cancelled && this.#attempt < this.#attempts.length) {
      this.#report(false, "answered 503");
      this.#transaction = null;
      return this.#next("transport-error");
    }
    if (status >= 300 && status < 400 && this.#mayRecurse()) return this.#recurse(response);
    this.#end(response);
  }

  #mayRecurse(): boolean {
    if (!this.#core.options.recurse || this.#cancelled) return false;
    return dispositionFor(this.#exchange.request).recurse !== "no-recurse";
  }

  /** RFC 3261 16.7 step 4: the contacts of a 3xx are tried in its place, each once, the preferred first. */
  #recurse(response: SipResponse): void {
    const asked = this.#transaction?.request.requestUri ?? "";
    const tried = new Set([...this.#attempts.map((attempt) => attempt.requestUri), asked]);
    const secure = asked.startsWith("sips:");
    const uris = redirectedTo(response)
      .filter((uri) => !tried.has(requestUriOf(uri)) && (!secure || uri.scheme === "sips"))
      .slice(0, MAX_ATTEMPTS - this.#attempts.length);
    if (uris.length === 0) return this.#end(response);
    this.#patience?.cancel();
    this.#transaction = null;
    Promise.all(uris.map(async (uri) => ({ uri, targets: await this.#core.locate([uri]) }))).then((found) => {
      const more = found.flatMap(({ uri, targets }) =>
        targets.map((target) => ({ target, requestUri: requestUriOf(uri) })),
      );
      this.#attempts = [...this.#attempts.slice(0, this.#attempt), ...more];
      if (more.length === 0) this.#end(response);
      else this.#next("transport-error");
    });
  }

  onTimeout(transaction: ClientTransaction): void {
    if (transaction !== this.#transaction) return;
    if (this.#ended) return this.#settleLate?.("timeout");
    this.#transaction = null;
    // Whoever was given no time to answer has shown nothing: a request that waited, or a last node's share.
    if (this.#givenMs >= FAIR_MS) this.#report(false, "timeout");
    this.#next("timeout");
  }

  onTransportError(error: Error, transaction: ClientTransaction): void {
    if (transaction !== this.#transaction) return;
    if (this.#ended) return this.#settleLate?.("timeout");
    this.#transaction = null;
    this.#failed(error);
  }

  #failed(error: Error): void {
    this.#report(false, error.message);
    this.#next("transport-error");
  }

  #report(answered: boolean, reason: string): void {
    const attempt = this.#attempts[this.#attempt - 1];
    if (attempt !== undefined && attempt.requestUri === undefined) this.#way.report?.(attempt.target, answered, reason);
  }

  /** RFC 3261 16.6 step 11, 16.7 step 2. */
  #armTimerC(): void {
    if (!this.#isInvite || this.#ended) return;
    this.#timerC?.cancel();
    this.#timerC = this.#core.runtime.timers.after(this.#core.options.timerCMs, () => this.#timerCFired());
  }

  /** RFC 3261 16.8: with a provisional response it is cancelled, else it counts as a 408. */
  #timerCFired(): void {
    if (this.#ended) return;
    if (this.#provisional) {
      this.#transaction?.cancel();
      this.#timerC = this.#core.runtime.timers.after(CANCELLED_WAIT_MS, () => this.#giveUp());
    } else this.#giveUp();
  }

  /** A cancelled branch that is not even answered then (RFC 3261 9.1: 64*T1) counts as a 408. */
  #giveUp(): void {
    this.#transaction?.abandon();
    this.#end("timeout");
  }

  #end(result: BranchResult): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#timerC?.cancel();
    this.#timerC = null;
    this.#patience?.cancel();
    const telemetry = this.#core.telemetry;
    if (telemetry.wants("branch")) {
      telemetry.emit("branch", {
        method: this.#exchange.method,
        server: this.server,
        status: typeof result === "string" ? 0 : result.status,
        durationMs: this.#core.runtime.clock.now() - this.startedAt,
      });
    }
    this.#user.onFinal(result, this);
  }
}

/** RFC 3325 7: what is to be private stays among those who are trusted. */
function towards(origin: Origin, response: SipResponse): SipResponse {
  return origin.kind !== "server" && isPrivate(response) ? withoutIdentity(response) : response;
}

/** RFC 3325 5: what somebody not trusted asserts is not passed on, in responses as in requests. */
function withoutIdentity(response: SipResponse): SipResponse {
  if (!response.has("P-Asserted-Identity")) return response;
  return response.edit().remove("P-Asserted-Identity").build() as SipResponse;
}

interface Attempt {
  readonly target: Target | Flow;
  /** Where a 3xx led; undefined: the target of the plan. */
  readonly requestUri: string | undefined;
}

/** Contacts of a 3xx that are SIP URIs, by falling q (RFC 3261 8.1.3.4); none where they cannot be read. */
function redirectedTo(response: SipResponse): SipUri[] {
  let contacts: SipResponse["contacts"];
  try {
    contacts = response.contacts;
  } catch {
    return [];
  }
  if (contacts === "*") return [];
  const q = (contact: NameAddr): number => Number.parseFloat(contact.params.get("q") ?? "1");
  return [...contacts]
    .sort((a, b) => q(b) - q(a))
    .map((contact) => contact.uri)
    .filter((uri) => uri.kind === "sip");
}

/** Headers and `method` have no place in a Request-URI (RFC 3261 19.1.1). */
function requestUriOf(uri: SipUri): string {
  const question = uri.raw.indexOf("?");
  return (question < 0 ? uri.raw : uri.raw.slice(0, question)).replace(/;method=[^;]*/i, "");
}

/** Nodes, addresses and redirections of one branch, together. */
const MAX_ATTEMPTS = 16;
const CANCELLED_WAIT_MS = 32_000;
/** Three tries of Timer E: less tells nothing of a node. */
const FAIR_MS = 2_000;
