import { decide } from "../federation/decide.ts";
import { FORKED_METHODS } from "../federation/partitioned.ts";
import type { ComposePlan, HoldPlan, Plan, ReginfoPlan, RelayPlan, WatcherinfoPlan } from "../federation/plan.ts";
import { withoutOwnMaddr } from "./alterations.ts";
import { COPY_HEADER } from "./copies.ts";
import type { Core } from "./core.ts";
import type { Exchange } from "./exchange.ts";
import { hasLooped } from "./loop.ts";
import { GRACE_MS } from "./open-forks.ts";
import { PROBE_USER } from "./prober.ts";
import { answer, reject } from "./responses.ts";
import { admit } from "./steps/admit.ts";
import { authenticate, mustAuthenticate } from "./steps/authenticate.ts";
import { bind, isOwnClaim } from "./steps/bind.ts";
import { spendCredit } from "./steps/credit.ts";
import { followRoute, forward } from "./steps/dialog.ts";
import { askedOf, eventOf, gatherFacts, SenderFacts } from "./steps/facts.ts";
import { fork } from "./steps/fork.ts";
import { identify } from "./steps/identify.ts";
import { answerOwn } from "./steps/own.ts";
import { isContact, isPassedOn, permitSender, permitWatcher } from "./steps/permit.ts";
import { redirect } from "./steps/redirect.ts";
import { relay } from "./steps/relay.ts";
import { aorFor, type Known, lookUp, lookUpFresh, UNREAD } from "./steps/resolve.ts";
import { takeOwnRoutes } from "./steps/route.ts";
import { spread } from "./steps/spread.ts";

/**
 * The way of one request (models.md), in order; the table of contents of the whole program. A step that answers ends it.
 * Nothing here waits where it need not: a request for a mapped user goes through in one turn of the event loop.
 */
export function run(core: Core, exchange: Exchange): void | Promise<void> {
  if (identify(core, exchange)) return;
  if (admit(core, exchange)) return;
  takeRoutes(core, exchange);
  if (answerOwn(core, exchange)) return;
  if (mustAuthenticate(core, exchange)) {
    return authenticate(core, exchange).then((passed) => (passed ? route(core, exchange) : undefined));
  }
  return route(core, exchange);
}

function takeRoutes(core: Core, exchange: Exchange): void {
  const { request, own } = takeOwnRoutes(core, exchange.request, exchange.transaction.flow.connectionId);
  exchange.request = withoutOwnMaddr(request, (host, port) => core.isOwnName(host, port));
  exchange.ownRoute = own;
}

/** In-dialog requests follow the route set, never the directory; so does what has a route or another domain. */
function route(core: Core, exchange: Exchange): void | Promise<void> {
  const { request, ownRoute } = exchange;
  const { tag } = request.to;
  if (tag !== undefined && core.handlers.ownsTag(tag)) return ownDialog(core, exchange);
  const aor = aorFor(core, request, exchange.origin);
  const routed = tag !== undefined || (ownRoute !== null && ownRoute.connectionId !== 0) || request.has("Route");
  if (routed || aor === undefined) {
    return followRoute(core, exchange).then((done) => (done ? undefined : resolve(core, exchange, aor)));
  }
  return resolve(core, exchange, aor);
}

/** A dialog of our own: answered beside the proxy, or sent to the proxy that owns it. */
async function ownDialog(core: Core, exchange: Exchange): Promise<void> {
  const done = await core.handlers.inDialog(exchange);
  if (done === "answered" || exchange.transaction.completed) return;
  const { forwardTo } = done;
  // A dead owner's address is ours where this process has taken its place; and two proxies may not agree for a moment.
  // RFC 5057 5.1: 500 is about this request, where the 483 of a circle would end the dialog's usage.
  if (core.transport.isOwn(forwardTo.host, forwardTo.port) || hasLooped(core, exchange)) {
    return answer(core, exchange, { status: 500, retryAfter: core.options.retryAfterS });
  }
  const targets = await core.locate([forwardTo]);
  exchange.request = exchange.request.edit().setRequestUri(forwardTo.raw).build();
  forward(core, exchange, targets);
}

function resolve(core: Core, exchange: Exchange, aor: string | undefined): void | Promise<void> {
  const { request, origin } = exchange;
  if (aor === undefined) {
    const known = request.uri.kind === "sip";
    return answer(core, exchange, known ? { status: 404 } : { status: 416, phrase: "Unsupported URI Scheme" });
  }
  if (request.method === "MESSAGE" && request.has(COPY_HEADER)) {
    return answer(core, exchange, { status: 482, phrase: "Loop Detected", warning: "a copy of ours has come back" });
  }
  exchange.aor = aor;
  exchange.sender = new SenderFacts(core, request, origin);
  if (WITH_EVENT.has(request.method)) exchange.event = eventOf(request);
  if (isProbe(aor) || (origin.kind === "server" && isReturned(core, exchange, origin.server))) {
    return answer(core, exchange, { status: 404 });
  }
  const passed = core.policy.active && isContact(core, exchange) ? permitSender(core, exchange) : true;
  if (passed instanceof Promise) return passed.then((each) => (each ? lookUpAndAct(core, exchange) : undefined));
  return passed ? lookUpAndAct(core, exchange) : undefined;
}

function lookUpAndAct(core: Core, exchange: Exchange): void | Promise<void> {
  return mayBeUnread(core, exchange) ? act(core, exchange, UNREAD) : readAndAct(core, exchange);
}

function readAndAct(core: Core, exchange: Exchange): void | Promise<void> {
  const known = lookUp(core, exchange.aor);
  return known instanceof Promise ? known.then((each) => act(core, exchange, each)) : act(core, exchange, known);
}

/** Where he is in memory nothing is spared, and whether a request of ours has come back his epoch tells. */
function mayBeUnread(core: Core, { method, origin, aor, request }: Exchange): boolean {
  if (method !== "REGISTER" || origin.kind !== "server") return false;
  return core.cache.peek(aor) === undefined && !request.raw.includes(core.branchPrefix);
}

/** A server being asked sends the request back: "not mine" (models.md, "Default routes point at us"). */
function isReturned(core: Core, exchange: Exchange, server: string): boolean {
  const { aor, sender, method, event } = exchange;
  return core.openForks.size > 0 && core.openForks.isReturned(aor, sender.aor, method, event, server);
}

/** It was learned a moment ago, so that a server that was asked may still be sending its request back, to this proxy. */
function mayBeReturned(core: Core, exchange: Exchange, known: Known): boolean {
  if (exchange.origin.kind !== "server" || known.state !== "bound") return false;
  const { origin, expiresAt } = known.binding;
  if (origin !== "learned" || expiresAt === null || !FORKED_METHODS.includes(exchange.method)) return false;
  const { learnedMs, decisionMs } = core.options;
  return expiresAt - learnedMs > core.runtime.clock.wall() - decisionMs - GRACE_MS;
}

async function relayUnlessReturned(core: Core, exchange: Exchange, plan: RelayPlan, replan: () => void): Promise<void> {
  const { aor: recipient, sender, method, event, origin } = exchange;
  const key = { recipient, sender: sender.aor, method, event };
  const returned = origin.kind === "server" && (await core.openForks.isReturnedAnywhere(key, origin.server));
  if (exchange.transaction.completed) return;
  if (returned) answer(core, exchange, { status: 404 });
  else relay(core, exchange, plan, replan);
}

function act(core: Core, exchange: Exchange, known: Known): void | Promise<void> {
  if (exchange.transaction.completed) return;
  exchange.epoch = known.state === "unavailable" ? 0 : known.epoch;
  exchange.facts = gatherFacts(core, askedOf(core, exchange), known);
  const plan = decide(exchange.facts);
  exchange.plan = plan;
  if (known === UNREAD && !isOwnClaim(plan)) return readAndAct(core, exchange);
  // A middle node's request is the same on its way up and down again: only the credit tells whether it has looped.
  if (plan.kind === "credit") {
    return spendCredit(core, exchange, plan).then((told) => (told ? act(core, exchange, known) : undefined));
  }
  if (hasLooped(core, exchange)) {
    core.telemetry.emit("loop", { callId: exchange.request.callId, status: 482, reason: "the same request came back" });
    return answer(core, exchange, { status: 482, phrase: "Loop Detected" });
  }
  const replan = (now?: Known): void => {
    const again = now === undefined ? lookUpFresh(core, exchange.aor) : Promise.resolve(now);
    again.then((each) => act(core, exchange, each)).catch((error: Error) => core.failed(exchange, error));
  };
  if ("unlearn" in plan && plan.kind !== "fork" && plan.unlearn !== null) {
    core.directory.unlearn(exchange.aor, plan.unlearn.server, plan.unlearn.epoch).catch(() => undefined);
  }
  if (core.policy.active && isPassedOn(core, plan, exchange)) {
    const permitted = permitWatcher(core, exchange, plan);
    const go = (each: Plan | null) => (each === null ? undefined : carryOut(core, exchange, each, known, replan));
    return permitted instanceof Promise ? permitted.then(go) : go(permitted);
  }
  return carryOut(core, exchange, plan, known, replan);
}

function carryOut(
  core: Core,
  exchange: Exchange,
  plan: Plan,
  known: Known,
  replan: (now?: Known) => void,
): void | Promise<void> {
  exchange.plan = plan;
  switch (plan.kind) {
    case "relay":
      return mayBeReturned(core, exchange, known)
        ? relayUnlessReturned(core, exchange, plan, replan)
        : relay(core, exchange, plan, replan);
    case "fork":
      return fork(core, exchange, plan, replan);
    case "redirect":
      return redirect(core, exchange, plan);
    case "bind":
      return bind(core, exchange, plan, replan);
    case "reject":
      return reject(core, exchange, plan);
    case "hold":
    case "reginfo":
    case "compose":
    case "winfo":
      // RFC 3261 12.2.2: within a dialog that is none of ours, and no way leads to whose it is.
      if (exchange.request.to.tag !== undefined) return answer(core, exchange, { status: 481 });
      return subscribe(core, exchange, plan);
    case "spread":
      return spread(core, exchange, plan);
    case "store":
      return core.handlers.store(exchange, plan).then((stored) => {
        if (!stored) unqueued(core, exchange, known);
      });
  }
}

/** What is answered by us, as the notifier. */
function subscribe(core: Core, exchange: Exchange, plan: SubscribePlan): Promise<void> {
  switch (plan.kind) {
    case "hold":
      return core.handlers.hold(exchange, plan);
    case "reginfo":
      return core.handlers.reginfo(exchange, plan);
    case "compose":
      return core.handlers.compose(exchange, plan);
    case "winfo":
      return core.handlers.winfo(exchange, plan);
  }
}

/** Nothing was waiting before this MESSAGE any more: it goes its way. */
function unqueued(core: Core, exchange: Exchange, known: Known): void | Promise<void> {
  exchange.mayQueue = false;
  return act(core, exchange, known);
}

type SubscribePlan = HoldPlan | ReginfoPlan | ComposePlan | WatcherinfoPlan;

const WITH_EVENT: ReadonlySet<string> = new Set(["SUBSCRIBE", "NOTIFY", "PUBLISH"]);

function isProbe(aor: string): boolean {
  return aor.startsWith(PROBE_USER);
}
