import type { ForkResult } from "../directory/directory.ts";
import { type Ending, meaningOf, type NotifyState } from "../federation/answers.ts";
import {
  type ForkEffect,
  type ForkEvent,
  type ForkOrder,
  type ForkState,
  startFork,
  stepFork,
} from "../federation/fork-outcome.ts";
import { splitBreadth } from "../federation/loop-hash.ts";
import type { Timer } from "../runtime/runtime.ts";
import type { SipResponse } from "../sip/message/message.ts";
import { Branch, type BranchResult, type BranchUser } from "./branch.ts";
import type { Core } from "./core.ts";
import { dispositionFor } from "./disposition.ts";
import type { Exchange } from "./exchange.ts";
import { breadthOf, type Way } from "./next-hop.ts";
import type { OpenForkHandle } from "./open-forks.ts";
import { answer } from "./responses.ts";
import { upstream } from "./single-branch.ts";
import { wayTo } from "./steps/relay.ts";

/** What a fork to a user's several servers does besides. */
export interface ForkHooks {
  /** Of the time for a decision, what is kept for `untaken`. */
  readonly reserveMs: number;
  /** Nobody has taken it, and this server was not or could not be asked. True: it was answered. */
  untaken(server: string | null): Promise<boolean>;
  /** These will be asked in another's place. Rejects: they cannot be. */
  before(servers: readonly string[]): Promise<void>;
  /** A branch to this server begins, and has ended. */
  asked(server: string): void;
  ended(server: string, ending: Ending): void;
  /** Every branch has ended. `took`: servers that answered 2xx, in order. */
  over(asked: readonly string[], took: readonly string[]): void;
}

/**
 * A fork as it happens: the branches report, the pure `stepFork` judges, this carries out what it says. It lives until
 * every branch has ended, and, for a SUBSCRIBE, as long as NOTIFYs of its branches may come.
 */
export class ForkRun implements BranchUser {
  readonly #core: Core;
  readonly #exchange: Exchange;
  readonly #open: OpenForkHandle;
  readonly #branches = new Map<string, Branch>();
  readonly #responses = new Map<string, SipResponse>();
  readonly #servers: readonly string[];
  /** Max-Breadth that each was given. */
  readonly #breadths = new Map<string, number>();
  /** Servers whose INVITE was taken back. */
  readonly #taken = new Set<string>();
  #state: ForkState;
  #deadline: Timer | null = null;
  /** Reason header of the sender's CANCEL. */
  #reason: string | undefined;
  #learning: Promise<number | null> = Promise.resolve(null);
  #hooks: ForkHooks | null;

  constructor(core: Core, exchange: Exchange, plan: ForkOrder, open: OpenForkHandle, hooks: ForkHooks | null = null) {
    this.#core = core;
    this.#hooks = hooks;
    this.#exchange = exchange;
    this.#open = open;
    this.#servers = plan.stages.flat();
    const ringsOn = exchange.isInvite && dispositionFor(exchange.request).cancel === "no-cancel";
    this.#state = startFork(exchange.method, ringsOn ? { ...plan, ringsOn } : plan).state;
  }

  start(): void {
    const { transaction, request, method } = this.#exchange;
    const { clock, timers } = this.#core.runtime;
    const { decisionMs } = this.#core.options;
    const remaining = Math.max(0, transaction.receivedAt + decisionMs - clock.now());
    if (method === "SUBSCRIBE" && request.from.tag !== undefined) {
      this.#core.subscriptionForks.add(request.callId, request.from.tag, remaining + TIMER_N_MS, {
        notified: (branch, state) => this.#notified(branch, state),
      });
    }
    if (this.#exchange.isInvite) {
      this.#exchange.onCancel = (reason) => {
        this.#reason = reason;
        this.#step({ kind: "cancelled" });
      };
    }
    this.#deadline = timers.after(remaining, () => this.#step({ kind: "deadline" }));
    this.#apply(startFork(method, this.#state.plan).effects);
  }

  onProvisional(response: SipResponse): void {
    if (!this.#exchange.transaction.completed) this.#exchange.respond(upstream(response));
  }

  onFinal(result: BranchResult, branch: Branch): void {
    if (branch.redirected) this.#teachesNothing(branch.server);
    this.#ended(branch.server, result);
  }

  onFurtherSuccess(response: SipResponse, branch: Branch): void {
    this.#responses.set(branch.server, response);
    this.#step({ kind: "ended", server: branch.server, ending: response.status });
  }

  #teachesNothing(server: string): void {
    const { plan } = this.#state;
    const provers = plan.provers.filter((each) => each !== server);
    this.#state = { ...this.#state, plan: { ...plan, provers } };
  }

  #ended(server: string, result: BranchResult): void {
    if (typeof result !== "string") this.#responses.set(server, result);
    // What was taken back before it was sent ends as if its CANCEL had been answered (RFC 3261 9.2).
    const ending = result === "cancelled" ? 487 : typeof result === "string" ? result : result.status;
    this.#hooks?.ended(server, ending);
    this.#step({ kind: "ended", server, ending });
  }

  #notified(branch: number, state: NotifyState): boolean {
    const server = this.#servers[branch];
    if (server === undefined) return false;
    return this.#step({ kind: "notify", server, state }).some((effect) => effect.kind === "notify" && effect.accepted);
  }

  #step(event: ForkEvent): readonly ForkEffect[] {
    const { state, effects } = stepFork(this.#state, event);
    this.#state = state;
    this.#apply(effects);
    this.#end();
    return effects;
  }

  #end(): void {
    const { asked, ended, answered } = this.#state;
    if (this.#hooks === null || !answered || asked.length > ended.length) return;
    this.#hooks.over(
      asked,
      ended.filter((each) => meaningOf(each.ending) === "here").map((each) => each.server),
    );
    this.#hooks = null;
  }

  #apply(effects: readonly ForkEffect[]): void {
    for (const effect of effects) {
      switch (effect.kind) {
        case "ask":
          if (effect.inPlaceOf === undefined) this.#askAll(effect.servers);
          else this.#askInstead(effect.servers, effect.inPlaceOf);
          break;
        case "forward":
          this.#forward(effect.server, effect.status, effect.challenges);
          break;
        case "answer":
          this.#answer(effect.status);
          break;
        case "cancel":
          for (const server of effect.servers) this.#cancel(server);
          break;
        case "learn":
          this.#learn(effect.server);
          break;
        case "unlearn":
          this.#unlearn(effect.server);
          break;
        case "conflict":
          this.#core.telemetry.emit("conflict", { aor: this.#exchange.aor, servers: effect.servers });
          break;
        case "close":
          this.#close(effect.result);
          break;
        case "notify":
          break;
      }
    }
  }

  #answer(status: 404 | 480): void {
    const hooks = this.#hooks;
    const refuse = (): void => {
      if (hooks !== null && this.#exchange.transaction.completed) return;
      const retryAfter = status === 480 ? { retryAfter: this.#core.options.retryAfterS } : {};
      answer(this.#core, this.#exchange, { status, ...retryAfter });
    };
    if (status === 404 || hooks === null) return refuse();
    const { ended, plan } = this.#state;
    const silent = ended.find((each) => meaningOf(each.ending) === "could-not-ask")?.server ?? plan.unasked[0];
    hooks
      .untaken(silent ?? null)
      .then((kept) => {
        if (!kept) refuse();
      })
      .catch((error: Error) => this.#core.failed(this.#exchange, error));
  }

  /** RFC 3326 2: who rings in vain learns why, so that a call taken elsewhere is no missed one. */
  #cancel(server: string): void {
    this.#taken.add(server);
    const success = this.#state.ended.some((each) => meaningOf(each.ending) === "here");
    const reason = success ? 'SIP;cause=200;text="Call completed elsewhere"' : this.#reason;
    this.#branches.get(server)?.cancel(reason);
  }

  #askAll(servers: readonly string[], breadth = breadthOf(this.#core, this.#exchange.request)): void {
    const shares = splitBreadth(breadth, servers.length);
    servers.forEach((server, i) => {
      const share = shares?.[i] ?? 1;
      this.#breadths.set(server, share);
      this.#ask(server, share);
    });
  }

  /** What they may send on is on record before they are asked, as that of the others was. */
  #askInstead(servers: readonly string[], other: string): void {
    const unasked = (): void => {
      for (const server of servers) this.#ended(server, "transport-error");
    };
    // RFC 5393 5.3.3: what the other was given is free again.
    const breadth = this.#breadths.get(other) ?? 0;
    if (this.#hooks === null || breadth < servers.length) return unasked();
    this.#hooks.before(servers).then(() => {
      if (!this.#state.stopped || this.#exchange.method === "MESSAGE") this.#askAll(servers, breadth);
      else unasked();
    }, unasked);
  }

  #ask(server: string, maxBreadth: number): void {
    const { plan } = this.#state;
    this.#hooks?.asked(server);
    const to = {
      server,
      subdomain: this.#core.settings.subdomains[server] ?? null,
      identity: plan.identities?.[server] ?? null,
      maxBreadth,
      fork: this.#exchange.method === "SUBSCRIBE" ? this.#servers.indexOf(server) : undefined,
      path: undefined,
      ...this.#until(),
    };
    const begin = (way: Way): void => {
      // It was taken back, or decided, while its address was being found.
      if (this.#taken.has(server)) return this.#ended(server, "cancelled");
      const branch = new Branch(this.#core, this, this.#exchange, way);
      this.#branches.set(server, branch);
      branch.start();
    };
    const way = wayTo(this.#core, this.#exchange, to);
    if (way instanceof Promise) way.then(begin).catch((error: Error) => this.#core.failed(this.#exchange, error));
    else begin(way);
  }

  /** Where the next stage follows on one that cannot be asked, each is given its share of what is left. */
  #until(): { readonly deadline?: number } {
    const { plan, stage } = this.#state;
    if (this.#hooks === null || this.#exchange.isInvite) return {};
    const end = this.#exchange.transaction.receivedAt + this.#core.options.decisionMs - this.#hooks.reserveMs;
    const now = this.#core.runtime.clock.now();
    return { deadline: now + Math.max(0, end - now) / (plan.stages.length - stage) };
  }

  /** RFC 3261 16.7 step 7: challenges of the other branches are added to the one that goes upstream. */
  #forward(server: string, status: number, challenges: readonly string[]): void {
    const response = this.#responses.get(server);
    if (response === undefined || response.status !== status) return answer(this.#core, this.#exchange, { status });
    if (challenges.length === 0) return this.#exchange.respond(upstream(response));
    const editor = response.edit().removeFirstValue("Via");
    for (const other of challenges) {
      for (const name of ["WWW-Authenticate", "Proxy-Authenticate"]) {
        for (const value of this.#responses.get(other)?.headers(name) ?? []) editor.append(name, value);
      }
    }
    this.#exchange.respond(editor.build() as SipResponse);
  }

  #learn(server: string): void {
    const { aor } = this.#exchange;
    const { directory, runtime, options, telemetry } = this.#core;
    const until = runtime.clock.wall() + options.learnedMs;
    this.#learning = directory.learn(aor, server, until).then(
      (outcome) => {
        this.#open.release();
        if (outcome.outcome !== "bound") return null;
        telemetry.emit("learned", { aor, server, epoch: outcome.binding.epoch });
        return outcome.binding.epoch;
      },
      () => {
        this.#open.release();
        return null;
      },
    );
  }

  #unlearn(server: string): void {
    const { aor } = this.#exchange;
    this.#learning = this.#learning.then(async (epoch) => {
      if (epoch === null) return null;
      await this.#core.directory.unlearn(aor, server, epoch).catch(() => undefined);
      this.#core.telemetry.emit("unlearned", { aor, server, reason: "two servers proved to have the user" });
      return null;
    });
  }

  /** What was learned is in the directory before the fork is closed: whoever waited finds it there. */
  #close(result: ForkResult): void {
    this.#deadline?.cancel();
    this.#deadline = null;
    const { runtime, options } = this.#core;
    // What was learned is bound already; to claim it once more, seconds later, might undo what happened since.
    void this.#learning.then((epoch) =>
      this.#open.close(epoch === null ? result : LEARNED_BEFORE, runtime.clock.wall() + options.learnedMs),
    );
  }
}

const LEARNED_BEFORE: ForkResult = { result: "inconclusive" };

/** RFC 6665 4.1.2.4: how long a NOTIFY may follow its SUBSCRIBE, 64*T1. */
const TIMER_N_MS = 32_000;
