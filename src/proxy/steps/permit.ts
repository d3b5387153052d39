import { holdPlan, liveBinding, reject as rejectPlan } from "../../federation/construct.ts";
import type { ForkPlan, Plan, RedirectPlan, RelayPlan } from "../../federation/plan.ts";
import { principalOf } from "../../federation/sender.ts";
import {
  type Contact,
  isGoverned,
  type Question,
  type SenderVerdict,
  type WatcherVerdict,
} from "../../policy/policy.ts";
import type { SipRequest } from "../../sip/message/message.ts";
import { aorOf, tryAorOf } from "../../sip/message/uri.ts";
import type { Core } from "../core.ts";
import type { Exchange } from "../exchange.ts";
import { asSip } from "../next-hop.ts";
import { answer, reject } from "../responses.ts";
import { eventOf, SenderFacts } from "./facts.ts";

/**
 * Who may reach whom (policy.ts), where this proxy is what stands between: who writes and calls, in every model, and who
 * watches by a SUBSCRIBE that is passed on. Back-to-back subscriptions are judged where they are kept (subscription/gate.ts).
 */

/** Says no more than the status does: not who decided, by what rule, or whether there is such a user. */
const WARNING = "not allowed by policy";

/** A MESSAGE or INVITE outside a dialog. What is stored is judged when it comes in, and then waits as it is. */
export function isContact(core: Core, exchange: Exchange): boolean {
  return isFirst(exchange) && isGoverned(core.policy, exchange.aor);
}

/** Anybody can write a tag into To: a dialog that was made through us has our key in its route. */
function isFirst({ method, request, ownRoute }: Exchange): boolean {
  return (
    (method === "MESSAGE" || method === "INVITE") && (request.to.tag === undefined || ownRoute?.authentic !== true)
  );
}

/**
 * Who names a server himself, by a Route or in the Request-URI, is judged as who does not.
 * @returns false: it was answered.
 */
export async function permitAlong(core: Core, exchange: Exchange, server: string): Promise<boolean> {
  const { method, request, origin, aor, sender } = exchange;
  const watches = method === "SUBSCRIBE" && request.to.tag === undefined;
  if (!watches && !isFirst(exchange)) return true;
  exchange.sender = new SenderFacts(core, request, origin);
  for (const each of meantBy(core, request, server)) {
    if (!isGoverned(core.policy, each)) continue;
    exchange.aor = each;
    if (!(await (watches ? mayWatch(core, exchange) : permitSender(core, exchange)))) return false;
  }
  exchange.aor = aor;
  exchange.sender = sender;
  return true;
}

/** Whom a server may take a Request-URI for: by its own address it may know users of any of its domains. */
function meantBy(core: Core, request: SipRequest, server: string): readonly string[] {
  const { uri } = request;
  const { domains } = core.options;
  if (uri.kind === "tel") return [`${uri.number}@${domains[0]}`];
  const name = tryAorOf(uri);
  if (name === undefined) return [];
  const known = core.canonical(name, server);
  if (domains.includes(known.slice(known.lastIndexOf("@") + 1))) return [known];
  return domains.map((domain) => core.canonical(`${name.slice(0, name.lastIndexOf("@"))}@${domain}`, server));
}

async function mayWatch(core: Core, exchange: Exchange): Promise<boolean> {
  const asked = core.policy.watcher(questionOf(exchange, eventOf(exchange.request)));
  const verdict = asked instanceof Promise ? await inTime(core, exchange, asked) : asked;
  if (exchange.transaction.completed) return false;
  if (verdict?.known !== true) return unknown(core, exchange);
  if (!isWhole(verdict)) refuse(core, exchange, verdict.rule);
  return isWhole(verdict);
}

/** False: it was answered. */
export function permitSender(core: Core, exchange: Exchange): boolean | Promise<boolean> {
  const verdict = core.policy.sender(questionOf(exchange, ""), exchange.method as Contact);
  if (!(verdict instanceof Promise)) return isPassed(core, exchange, verdict);
  return inTime(core, exchange, verdict).then((each) => isPassed(core, exchange, each));
}

function isPassed(core: Core, exchange: Exchange, verdict: SenderVerdict | null): boolean {
  if (exchange.transaction.completed) return false;
  if (verdict?.known !== true) return unknown(core, exchange);
  if (!verdict.allowed) refuse(core, exchange, verdict.rule);
  return verdict.allowed;
}

type PassingPlan = RelayPlan | ForkPlan | RedirectPlan;

/** A SUBSCRIBE that would be passed on to a server, which then tells the watcher by itself. */
export function isPassedOn(core: Core, plan: Plan, { method, request, aor }: Exchange): plan is PassingPlan {
  return (
    method === "SUBSCRIBE" &&
    request.to.tag === undefined &&
    (plan.kind === "relay" || plan.kind === "fork" || plan.kind === "redirect") &&
    isGoverned(core.policy, aor)
  );
}

/**
 * - *block*: 403.
 * - *allow*, of a user whose server is known: back-to-back, so that what is withdrawn later is withdrawn at once.
 * - *allow*, of one who is searched for, or whose server cannot be a leg (`repoint: no`): passed on. What is withdrawn later
 *   ends with the next NOTIFY or SUBSCRIBE of that dialog (`isWithdrawn`).
 * - whatever needs more (confirm, a polite block, a transformation): back-to-back; a user who is searched for is held, and
 *   found by whatever finds him next; what a server that cannot be a leg says cannot be transformed: 403.
 *
 * @returns what is to be done; null: it was answered.
 */
export function permitWatcher(core: Core, exchange: Exchange, plan: PassingPlan): Plan | null | Promise<Plan | null> {
  const verdict = core.policy.watcher(questionOf(exchange, exchange.event));
  if (!(verdict instanceof Promise)) return underVerdict(core, exchange, plan, verdict);
  return inTime(core, exchange, verdict).then((each) => underVerdict(core, exchange, plan, each));
}

const FOLLOWED = Object.freeze([
  "rules kept here say who may watch the user, and may change: the subscription is answered here",
]);
const HELD_BACK = Object.freeze([
  "rules kept here say that the watcher may not see all there is: the subscription is answered here",
]);

function underVerdict(core: Core, exchange: Exchange, plan: PassingPlan, verdict: WatcherVerdict | null): Plan | null {
  if (exchange.transaction.completed) return null;
  if (verdict?.known !== true) return unknown(core, exchange) || null;
  const { facts } = exchange;
  const server = plan.kind === "fork" ? null : plan.server;
  const takesLegs = server === null || (core.rotation.server(server)?.repoint ?? true);
  const isPlain = isWhole(verdict);
  if (verdict.handling === "block" || (!isPlain && verdict.transform !== null && !takesLegs)) {
    refuse(core, exchange, verdict.rule);
    return null;
  }
  if (facts === null || (isPlain && (plan.kind !== "relay" || !takesLegs || exchange.event !== "presence")))
    return plan;
  // Back-to-back, it must be written down before it is accepted.
  if (!facts.directoryAvailable) return unknown(core, exchange) || null;
  const epoch = liveBinding(facts)?.epoch ?? exchange.epoch;
  const held = holdPlan(facts, server, epoch, [...plan.reasons, ...(isPlain ? FOLLOWED : HELD_BACK)]);
  return server === null ? held : { ...held, known: false };
}

/** He may see all there is, as it is. */
function isWhole({ handling, transform, bySphere }: WatcherVerdict): boolean {
  return handling === "allow" && transform === null && !bySphere;
}

/**
 * A SUBSCRIBE or NOTIFY of a presence dialog that was passed on, to or from this server: the watcher may not see all any
 * more. 481 ends it at the server, or has the watcher subscribe anew and be judged anew. By whom he is named in the
 * dialog, in a NOTIFY, which bears nobody's assertion.
 */
export function isWithdrawn(core: Core, exchange: Exchange, server: string): boolean | Promise<boolean> {
  const { request } = exchange;
  if (eventOf(request) !== "presence") return false;
  const isNotify = request.method === "NOTIFY";
  if (isNotify && core.rotation.server(server)?.repoint === false) return false;
  const user = asSip((isNotify ? request.from : request.to).uri);
  if (user?.user === undefined || !core.isOurs(user)) return false;
  const aor = core.canonical(aorOf(user), isNotify ? server : null);
  if (!isGoverned(core.policy, aor)) return false;
  const watcher = isNotify
    ? watcherNamed(core, request, server)
    : principalOf(exchange.origin, new SenderFacts(core, request, exchange.origin));
  const verdict = core.policy.watcher({ watcher: watcher.aor, trusted: watcher.trusted, aor, event: "presence" });
  if (!(verdict instanceof Promise)) return !isWhole(verdict) || !verdict.known;
  return inTime(core, exchange, verdict).then((each) => each === null || !each.known || !isWhole(each));
}

function watcherNamed(core: Core, notify: SipRequest, server: string) {
  const name = tryAorOf(notify.to.uri);
  return { aor: name === undefined ? notify.to.uri.raw : core.canonical(name, server), trusted: true };
}

function questionOf({ aor, origin, sender }: Exchange, event: string): Question {
  const { aor: watcher, trusted } = principalOf(origin, sender);
  return { watcher, trusted, aor, event };
}

/** Which rule it was stands in the log. */
function refuse(core: Core, exchange: Exchange, rule: string): void {
  const plan = rejectPlan(403, ["rules kept here say who may reach the user", `decided by: ${rule}`], {
    warning: WARNING,
  });
  exchange.plan = plan;
  reject(core, exchange, plan);
}

/** Nobody can say now. */
function unknown(core: Core, exchange: Exchange): false {
  answer(core, exchange, { status: 500, retryAfter: core.options.retryAfterS });
  return false;
}

/** Null: nobody has said within the time for a decision. */
function inTime<T>(core: Core, exchange: Exchange, verdict: Promise<T>): Promise<T | null> {
  const { clock, timers } = core.runtime;
  const left = exchange.transaction.receivedAt + core.options.decisionMs - clock.now();
  return new Promise((resolve, reject) => {
    const late = timers.after(Math.max(0, left), () => resolve(null));
    verdict.then(resolve, reject).finally(() => late.cancel());
  });
}
