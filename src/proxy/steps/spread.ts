import { DirectoryUnavailable } from "../../base/errors.ts";
import type { Grant } from "../../directory/unions.ts";
import { meaningOf } from "../../federation/answers.ts";
import { CREDIT_MS } from "../../federation/credit.ts";
import { splitBreadth } from "../../federation/loop-hash.ts";
import type { ForkPlan, SpreadPlan } from "../../federation/plan.ts";
import type { Routing } from "../../federation/routing-choice.ts";
import { isKept } from "../../federation/storing.ts";
import { askedBelow, fansOut } from "../../federation/union-view.ts";
import type { Core } from "../core.ts";
import { dispositionFor } from "../disposition.ts";
import type { Exchange } from "../exchange.ts";
import { ForkRun } from "../fork-run.ts";
import { breadthOf } from "../next-hop.ts";
import type { OpenForkHandle } from "../open-forks.ts";
import { answer } from "../responses.ts";
import {
  type Granted,
  grantsFor,
  isAnotherCopy,
  isOf,
  isReturned,
  named,
  takeBack,
  textOf,
  unionFor,
} from "../returns.ts";
import { spenderOf } from "./credit.ts";

/**
 * A MESSAGE or INVITE to a user of several servers (models.md, "Unioned"; draft, "Conversation Consistency"): a message
 * goes to all of them or as he has set it, and the first 2xx is the answer; a call rings at all of them, the first who
 * answers takes it, and the others are taken back. Nothing is learned of it, and nobody waits for it.
 *
 * What a server may send on is on record before it is sent there. What comes back is told from what its users write by
 * the credit step.
 */
export async function spread(core: Core, exchange: Exchange, plan: SpreadPlan): Promise<void> {
  if (isReturned(core, exchange)) return answer(core, exchange, { status: 404 });
  if (await isAnotherCopy(core, exchange)) {
    if (exchange.transaction.completed) return;
    const reason = "another copy of it has come from there before";
    core.telemetry.emit("loop", { callId: exchange.request.callId, status: 482, reason });
    return answer(core, exchange, { status: 482, phrase: "Loop Detected", warning: reason });
  }
  const routing = plan.choice === "all" ? { ...PART, stages: [plan.servers] } : await routingFor(core, exchange, plan);
  // RFC 5393 5.3.3, as for a fork.
  const widest = Math.max(...routing.stages.map((stage) => stage.length));
  if (splitBreadth(breadthOf(core, exchange.request), widest) === null) {
    return answer(core, exchange, { status: 440, phrase: "Max-Breadth Exceeded" });
  }
  const asked = routing.stages.flat();
  const grants = grantsFor(exchange, plan, asked);
  if (grants.length > 0) {
    try {
      await commit(core, exchange, spenderOf(exchange), grants);
    } catch (error) {
      if (!(error instanceof DirectoryUnavailable)) throw error;
      if (grants.some(({ server }) => server in plan.credits)) {
        return answer(core, exchange, { status: 500, retryAfter: core.options.retryAfterS });
      }
    }
  }
  if (exchange.transaction.completed) return;
  exchange.plan = { ...plan, routing };
  const left = plan.servers.filter((server) => !asked.includes(server));
  const order: ForkPlan = {
    kind: "fork",
    stages: routing.stages,
    unasked: [...plan.unasked, ...left],
    provers: NOBODY,
    identities: plan.identities,
    unlearn: null,
    reasons: plan.reasons,
  };
  const text = textOf(exchange);
  const open = new Set<string>();
  const more = { moveOn: routing.moveOn, instead: insteadOf(exchange) };
  const all = [...named(spenderOf(exchange), grants)];
  new ForkRun(core, exchange, { ...order, ...more }, NO_RECORD, {
    reserveMs: isStorable(exchange, plan) ? STORE_MS : 0,
    // Who was left out as the sender wished is waited for by nobody.
    untaken: (server) => store(core, exchange, plan, server !== null && left.includes(server) ? null : server),
    async before(servers) {
      const its = grantsFor(exchange, plan, servers);
      const id = `${spenderOf(exchange)}/${servers.join(",")}`;
      all.push(...named(id, its));
      if (its.length > 0) await commit(core, exchange, id, its);
    },
    asked(server) {
      open.add(server);
      core.openSpreads.begin(`${server} ${text}`);
    },
    ended(server, ending) {
      if (open.delete(server)) core.openSpreads.end(`${server} ${text}`);
      // It has not taken the message, and sends nothing on any more. One that is silent may.
      const isDone = ending !== "timeout" && meaningOf(ending) !== "here";
      const its = isDone && !exchange.isInvite ? all.filter((each) => isOf(each, server)) : NO_GRANTS;
      if (its.length > 0) void takeBack(core, its, 0).catch(() => undefined);
    },
    over: (asked, took) => over(core, exchange, routing, asked, took, all),
  }).start();
}

function commit(core: Core, exchange: Exchange, id: string, grants: readonly Grant[]): Promise<void> {
  return core.directory.unions.grant(id, grants, core.runtime.clock.wall() + lifeOf(core, exchange));
}

/** In a tree, of each that sends on to its children by itself: who is asked in its place where it does not have the user. */
export function insteadOf(exchange: Pick<Exchange, "facts">): Readonly<Record<string, readonly string[]>> {
  const union = unionFor(exchange);
  const servers = exchange.facts?.servers ?? [];
  if (union === null || union.tops === null) return {};
  const below = servers
    .filter(fansOut)
    .map(({ name }) => [name, askedBelow(union, servers, union.below(name))] as const);
  return Object.fromEntries(below.filter(([, behind]) => behind.length > 0));
}

const NOBODY: readonly string[] = [];
const NO_GRANTS: readonly Granted[] = [];
/** It is on record nowhere that it is open: all its servers may have him, so that there is nothing to wait for. */
const NO_RECORD: OpenForkHandle = { release: () => undefined, close: () => undefined };
const PART: Omit<Routing, "stages"> = {
  moveOn: "untaken",
  rule: "part: a server sends it on to those below it",
  tookTurn: false,
};
/** An INVITE that was under way when its call was taken elsewhere arrives within this time (T4, RFC 3261 17.1.2.2). */
const UNDER_WAY_MS = 5_000;
/** Of the time for a decision, what storing is given. */
const STORE_MS = 1_000;
async function routingFor(core: Core, { request, aor, method }: Exchange, { servers }: SpreadPlan): Promise<Routing> {
  const known = core.imRouting.settingOf(aor);
  const setting = known instanceof Promise ? await known : known;
  if (method === "MESSAGE" && servers.length > 1) await core.imRouting.prepare(aor, setting, fetchable(core, servers));
  return core.imRouting.choose(aor, setting, { method, servers, disposition: dispositionFor(request) });
}

/** Of a server that goes onward the question would come back to us. */
export function fetchable(core: Core, servers: readonly string[]): readonly string[] {
  return core.rotation.facts.flatMap((each) => (!fansOut(each) && servers.includes(each.name) ? [each.name] : []));
}

/** A server may let a call ring at its own phones first: as long as the call is open. */
function lifeOf(core: Core, { isInvite }: Exchange): number {
  return isInvite ? Math.max(core.options.timerCMs, CREDIT_MS) : CREDIT_MS;
}

/** A part of the whole is not: what comes of the whole is. */
function isStorable({ facts }: Exchange, { choice }: SpreadPlan): boolean {
  return choice === "user" && facts !== null && isKept(facts);
}

/** Nobody has taken it, and somebody could not be asked. False: it cannot be kept. */
function store(core: Core, exchange: Exchange, plan: SpreadPlan, server: string | null): Promise<boolean> {
  if (server === null || !isStorable(exchange, plan)) return Promise.resolve(false);
  return core.handlers.keep(exchange, { server, reply: "timeout", late: null });
}

function over(
  core: Core,
  exchange: Exchange,
  { rule }: Routing,
  asked: readonly string[],
  took: readonly string[],
  grants: readonly Granted[],
): void {
  const { method, aor, request, isInvite } = exchange;
  core.telemetry.emit("spread", { method, callId: request.callId, aor, rule, servers: asked, took });
  if (isInvite && grants.length > 0) void takeBack(core, grants, UNDER_WAY_MS).catch(() => undefined);
}
