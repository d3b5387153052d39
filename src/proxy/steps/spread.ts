import { createHash } from "node:crypto";
import { DirectoryUnavailable } from "../../base/errors.ts";
import type { Grant } from "../../directory/unions.ts";
import { CREDIT_MS, type Credited, creditFor } from "../../federation/credit.ts";
import { splitBreadth } from "../../federation/loop-hash.ts";
import type { ForkPlan, SpreadPlan } from "../../federation/plan.ts";
import { dispositionOf, type Routing } from "../../federation/routing-choice.ts";
import { isKept } from "../../federation/storing.ts";
import { askedBelow, fansOut, isRoot, type Union, unionOf } from "../../federation/union-view.ts";
import type { Core } from "../core.ts";
import type { Exchange } from "../exchange.ts";
import { ForkRun } from "../fork-run.ts";
import { breadthOf } from "../next-hop.ts";
import type { OpenForkHandle } from "../open-forks.ts";
import { answer } from "../responses.ts";
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
  const all = [...grants];
  new ForkRun(core, exchange, { ...order, ...more }, NO_RECORD, {
    reserveMs: isStorable(exchange, plan) ? STORE_MS : 0,
    untaken: (server) => store(core, exchange, plan, server),
    async before(servers) {
      const its = grantsFor(exchange, plan, servers);
      all.push(...its);
      if (its.length > 0) await commit(core, exchange, `${spenderOf(exchange)}/${servers.join(",")}`, its);
    },
    asked(server) {
      open.add(server);
      core.openSpreads.begin(`${server} ${text}`);
    },
    ended(server) {
      if (open.delete(server)) core.openSpreads.end(`${server} ${text}`);
    },
    over: (asked, took) => over(core, exchange, routing, asked, took, all),
  }).start();
}

function commit(core: Core, exchange: Exchange, id: string, grants: readonly Grant[]): Promise<void> {
  return core.directory.unions.grant(id, grants, core.runtime.clock.wall() + lifeOf(core, exchange));
}

/** In a tree, of each that sends on to its children by itself: who is asked in its place where it does not have the user. */
function insteadOf(exchange: Exchange): Readonly<Record<string, readonly string[]>> {
  const union = unionFor(exchange);
  const servers = exchange.facts?.servers ?? [];
  if (union === null || union.tops === null) return {};
  const below = servers
    .filter(fansOut)
    .map(({ name }) => [name, askedBelow(union, servers, union.below(name))] as const);
  return Object.fromEntries(below.filter(([, behind]) => behind.length > 0));
}

const NOBODY: readonly string[] = [];
/** It is on record nowhere that it is open: all its servers may have him, so that there is nothing to wait for. */
const NO_RECORD: OpenForkHandle = { release: () => undefined, close: () => undefined };
const PART: Omit<Routing, "stages"> = {
  moveOn: "untaken",
  rule: "part: a server sends it on to those below it",
  tookTurn: false,
};
/** Of the time for a decision, what storing is given. */
const STORE_MS = 1_000;
/** An INVITE that was under way when its call was taken elsewhere arrives within this time (T4, RFC 3261 17.1.2.2). */
const UNDER_WAY_MS = 5_000;

async function routingFor(core: Core, { request, aor, method }: Exchange, { servers }: SpreadPlan): Promise<Routing> {
  const known = core.imRouting.settingOf(aor);
  const setting = known instanceof Promise ? await known : known;
  if (method === "MESSAGE" && servers.length > 1) await core.imRouting.prepare(aor, setting, fetchable(core, servers));
  return core.imRouting.choose(aor, setting, { method, servers, disposition: dispositionFor(request) });
}

/** Of a server that goes onward the question would come back to us. */
export function fetchable(core: Core, servers: readonly string[]): readonly string[] {
  return core.rotation.facts.flatMap(({ name, onward }) => (onward === "none" && servers.includes(name) ? [name] : []));
}

/** RFC 3841 10: `d` is its compact form. */
export function dispositionFor(request: { values(name: string): readonly string[] }): ReturnType<typeof dispositionOf> {
  return dispositionOf([...request.values("Request-Disposition"), ...request.values("d")]);
}

/** In a tree: the server that sends it, where it sends on to its children by itself. */
function sendsOn(exchange: Exchange, union: Union | null): string | null {
  const { origin, facts } = exchange;
  if (origin.kind !== "server" || union === null || union.tops === null || facts === null) return null;
  const { server } = origin;
  if (union.below(server).length === 0) return null;
  return facts.servers.some((each) => each.name === server && fansOut(each)) ? server : null;
}

function unionFor({ facts }: Pick<Exchange, "facts">): Union | null {
  if (facts === null || facts.model.model !== "unioned") return null;
  return unionOf(facts.model, facts.settings.unions.trees, facts.servers);
}

/**
 * A server that sends on to others may send a copy for each of them, and all come to us, where the first is sent to them
 * all: true for each but the first. As a proxy it forks, and its copies are one request (RFC 3261 8.2.2.2); with new
 * identifiers they are told by what the server was sent.
 */
async function isAnotherCopy(core: Core, exchange: Exchange): Promise<boolean> {
  const { origin, facts } = exchange;
  if (origin.kind !== "server") return false;
  const from = facts?.servers.find((each) => each.name === origin.server);
  if (from === undefined) return false;
  if (from.onward === "none") return isGoingRound(core, exchange, from.name);
  try {
    return (await isMerged(core, exchange, origin.server)) || (await isSentOnAgain(core, exchange));
  } catch (error) {
    if (!(error instanceof DirectoryUnavailable)) throw error;
    // Twice at a server is better than not at all.
    return false;
  }
}

/** What makes two requests the same for whoever sends them back: who writes what to whom. */
function textOf(exchange: Exchange): string {
  const { watcher, aor, event, digest } = creditFor(exchange, "");
  return `${event} ${digest} ${aor} ${watcher}`;
}

/** A server that goes onward to nobody sends back what it is being asked: it has no such user (models.md, "Default routes"). */
function isReturned({ openSpreads }: Core, exchange: Exchange): boolean {
  const { origin, facts } = exchange;
  if (openSpreads.size === 0 || origin.kind !== "server") return false;
  const from = facts?.servers.find((each) => each.name === origin.server);
  return from?.onward === "none" && openSpreads.has(`${origin.server} ${textOf(exchange)}`);
}

/** Said of a server of his only: what others send is theirs, and comes as often as they send it. */
function isGoingRound(core: Core, exchange: Exchange, server: string): boolean {
  if (unionFor(exchange)?.members.includes(server) !== true) return false;
  if (!core.repeats.isTooMany(`${server} ${textOf(exchange)}`)) return false;
  const { aor, event } = creditFor(exchange, server);
  core.telemetry.emit("warning", {
    what: `${server} sends back what it is sent`,
    detail: `the same ${event} for ${aor} comes from it again and again; if it sends on to others, its onward is not none`,
  });
  return true;
}

/** A test-and-set: the first copy's granting is all of theirs, and the first one spends it. Up and down again it is another. */
async function isMerged(core: Core, exchange: Exchange, server: string): Promise<boolean> {
  const { request, direction } = exchange;
  const { callId, from, cseq, requestUri } = request;
  const id = sha256(`${server} ${direction} ${callId} ${from.tag ?? ""} ${cseq.number} ${requestUri}`);
  // Whoever sends it: the digest is of one request.
  const own = { ...creditFor(exchange, `${server}/merged`), watcher: exchange.aor, digest: id, count: 1 };
  const { unions } = core.directory;
  await unions.grant(id, [own], core.runtime.clock.wall() + CREDIT_MS);
  return !(await unions.spend(own, spenderOf(exchange)));
}

/**
 * Of the root, and of who sends down by a listener of its own, no credit tells whether it was sent this or whether its own
 * user writes it. What is on nobody's record goes on: twice is better than not at all.
 */
async function isSentOnAgain(core: Core, exchange: Exchange): Promise<boolean> {
  const union = unionFor(exchange);
  const server = sendsOn(exchange, union);
  if (server === null) return false;
  const { unions } = core.directory;
  const by = spenderOf(exchange);
  const sent = exchange.credit === "spent" || (await unions.spend(creditFor(exchange, sentTo(server)), by));
  if (sent) exchange.sentOn = true;
  return sent && !(await unions.spend(creditFor(exchange, childrenOf(server)), by));
}

const sha256 = (text: string): string => createHash("sha256").update(text, "latin1").digest("base64url");

/** Names beside those of servers, which have no slash in them. */
const sentTo = (server: string): string => `${server}/sent`;
const childrenOf = (server: string): string => `${server}/children`;

/** What the servers asked may send on, or back: to be on record before it is sent to them. */
export function grantsFor(
  exchange: Credited & Pick<Exchange, "facts">,
  plan: SpreadPlan,
  asked: readonly string[],
): readonly Grant[] {
  const grants: Grant[] = [];
  const union = unionFor(exchange);
  for (const server of asked) {
    if (union === null || union.tops === null) {
      const count = plan.credits[server];
      if (count !== undefined) grants.push({ ...creditFor(exchange, server), count });
      continue;
    }
    const count = union.below(server).length;
    if (count === 0 || !exchange.facts?.servers.some((each) => each.name === server && fansOut(each))) continue;
    const byCredit = !isRoot(union, server) && !exchange.facts.settings.unions.downListener;
    grants.push({ ...creditFor(exchange, byCredit ? server : sentTo(server)), count });
    grants.push({ ...creditFor(exchange, childrenOf(server)), count: 1 });
  }
  return grants;
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
  grants: readonly Grant[],
): void {
  const { method, aor, request, isInvite } = exchange;
  core.telemetry.emit("spread", { method, callId: request.callId, aor, rule, servers: asked, took });
  if (isInvite && grants.length > 0) void takeBack(core, exchange, grants).catch(() => undefined);
}

/**
 * The call has been taken or given up: what its servers could still send on counts no more, so that the caller may call
 * again from there; but for what is under way this very moment.
 */
async function takeBack(core: Core, exchange: Exchange, grants: readonly Grant[]): Promise<void> {
  const { unions } = core.directory;
  const by = spenderOf(exchange);
  const left: Grant[] = [];
  for (const { count, ...credit } of grants) {
    let unspent = 0;
    while (unspent < count && (await unions.spend(credit, `${by}/${unspent}`))) unspent++;
    if (unspent > 0) left.push({ ...credit, count: unspent });
  }
  if (left.length > 0) await unions.grant(`${by}/over`, left, core.runtime.clock.wall() + UNDER_WAY_MS);
}
