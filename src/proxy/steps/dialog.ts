import type { NotifyState } from "../../federation/answers.ts";
import type { Origin } from "../../federation/facts.ts";
import { joinedSince, movedSince } from "../../federation/in-dialog.ts";
import { modelOf } from "../../federation/model.ts";
import type { SipRequest } from "../../sip/message/message.ts";
import { aorOf } from "../../sip/message/uri.ts";
import type { Flow, Target } from "../../sip/transport/transport.ts";
import type { BranchResult } from "../branch.ts";
import type { Core } from "../core.ts";
import type { Exchange } from "../exchange.ts";
import { loopHashFor } from "../loop.ts";
import { asSip } from "../next-hop.ts";
import { answer } from "../responses.ts";
import type { OwnRoute } from "../route-header.ts";
import { SingleBranch, upstream } from "../single-branch.ts";
import { eventOf, recordIn } from "./facts.ts";
import { isWithdrawn, permitAlong } from "./permit.ts";
import { learnIfDue } from "./relay.ts";
import { lookUp } from "./resolve.ts";

/** Requests that follow a route instead of the directory: in a dialog, to a client's connection, to another domain. */

export type Hop =
  | { readonly kind: "way"; readonly targets: readonly (Target | Flow)[] }
  | { readonly kind: "directory" }
  | { readonly kind: "gone" };

/** RFC 3261 16.5, 16.6 step 7: the connection named, else the topmost Route, else the Request-URI. */
export function nextHop(core: Core, request: SipRequest, connectionId: number): Hop | Promise<Hop> {
  const flow = connectionId === 0 ? undefined : core.transport.connection(connectionId);
  if (flow !== undefined) return { kind: "way", targets: [flow] };
  const hop = hopByUri(core, request);
  if (connectionId === 0) return hop;
  // It may be the client himself who comes over a new connection, and his address may lead to him without one.
  return hop instanceof Promise ? hop.then(orGone) : orGone(hop);
}

function orGone(hop: Hop): Hop {
  return hop.kind === "way" && hop.targets.length === 0 ? { kind: "gone" } : hop;
}

function hopByUri(core: Core, request: SipRequest): Hop | Promise<Hop> {
  const route = request.routes[0];
  const uri = asSip(route === undefined ? request.uri : route.uri);
  if (uri === undefined || (route === undefined && core.isOurs(uri))) return { kind: "directory" };
  const targets = core.locate([uri]);
  if (targets instanceof Promise) {
    return targets.then(
      (found) => ({ kind: "way", targets: found }),
      () => ({ kind: "way", targets: [] }),
    );
  }
  return { kind: "way", targets };
}

/** True: it was taken care of. False: the directory has to say where it goes. */
export async function followRoute(core: Core, exchange: Exchange): Promise<boolean> {
  const { request, ownRoute } = exchange;
  if (request.method === "NOTIFY" && !isNotifyOfChosen(core, exchange)) {
    answer(core, exchange, { status: 481, phrase: "Subscription Does Not Exist" });
    return true;
  }
  if (core.policy.active && request.method === "NOTIFY" && (await isOfWithdrawn(core, exchange))) {
    answer(core, exchange, { status: 481, phrase: "Subscription Does Not Exist" });
    return true;
  }
  const found = nextHop(core, request, ownRoute?.connectionId ?? 0);
  const hop = found instanceof Promise ? await found : found;
  switch (hop.kind) {
    case "directory":
      return false;
    case "gone":
      // RFC 5626 5.3.1: the client's connection is gone, and nothing else leads to him.
      answer(core, exchange, { status: 430, phrase: "Flow Failed" });
      return true;
  }
  if (!mayFollow(core, exchange.origin, ownRoute, hop.targets)) {
    answer(core, exchange, { status: 403, phrase: "Forbidden" });
    return true;
  }
  if (core.policy.active && !(await isPermitted(core, exchange, hop.targets))) return true;
  if (request.method === "SUBSCRIBE" && (await isOver(core, exchange, hop.targets))) {
    answer(core, exchange, { status: 481, phrase: "Subscription Does Not Exist" });
    return true;
  }
  if (exchange.transaction.completed) return true;
  forward(core, exchange, hop.targets);
  return true;
}

/** Nobody but a server may use us as a way to anywhere: others need a route we gave them, or a server of ours at its end. */
export function mayFollow(
  core: Core,
  origin: Origin,
  ownRoute: OwnRoute | null,
  targets: readonly (Target | Flow)[],
): boolean {
  if (origin.kind === "server" || ownRoute?.authentic === true) return true;
  return (
    targets.length > 0 &&
    targets.every((target) => "host" in target && core.serverAt(target.host, target.port) !== undefined)
  );
}

/** RFC 3856 6.9: of a forked SUBSCRIBE one branch makes the dialog. An active NOTIFY renews what was learned. */
function isNotifyOfChosen(core: Core, exchange: Exchange): boolean {
  const { request, ownRoute, origin } = exchange;
  const state = notifyState(request);
  if (ownRoute !== null && ownRoute.branch >= 0 && request.to.tag !== undefined) {
    const fork = core.subscriptionForks.find(request.callId, request.to.tag);
    if (fork !== undefined) return fork.notified(ownRoute.branch, state);
  }
  if (state === "active" && origin.kind === "server") renewBy(core, exchange, origin.server);
  return true;
}

function renewBy(core: Core, exchange: Exchange, server: string): void {
  const uri = asSip(exchange.request.from.uri);
  if (uri?.user === undefined || !core.isOurs(uri)) return;
  const aor = core.canonical(aorOf(uri), server);
  const known = core.cache.peek(aor);
  if (known?.state !== "bound" || known.binding.server !== server || known.binding.origin !== "learned") return;
  if (core.rotation.facts.find((each) => each.name === server)?.proves.includes("SUBSCRIBE"))
    learnIfDue(core, aor, server);
}

function notifyState(request: SipRequest): NotifyState {
  const state = request.subscriptionState?.state.toLowerCase();
  return state === "active" || state === "pending" ? state : "terminated";
}

async function isOfWithdrawn(core: Core, exchange: Exchange): Promise<boolean> {
  const { origin } = exchange;
  return origin.kind === "server" && isWithdrawn(core, exchange, origin.server);
}

/** False: it was answered. What goes to no server of ours is for nobody of whom rules are kept. */
async function isPermitted(core: Core, exchange: Exchange, targets: readonly (Target | Flow)[]): Promise<boolean> {
  const target = targets[0];
  const server = target === undefined || !("host" in target) ? undefined : core.serverAt(target.host, target.port);
  return server === undefined || permitAlong(core, exchange, server);
}

/** models.md: a proxied dialog's user has moved or joined servers, or rules were changed; the watcher is to subscribe anew. */
async function isOver(core: Core, exchange: Exchange, targets: readonly (Target | Flow)[]): Promise<boolean> {
  const { request } = exchange;
  // Outside a dialog anything may stand in To.
  const to = asSip(request.to.tag === undefined ? request.uri : request.to.uri);
  const target = targets[0];
  if (to?.user === undefined || !core.isOurs(to) || target === undefined || !("host" in target)) return false;
  const server = core.serverAt(target.host, target.port);
  if (server === undefined) return false;
  if (core.policy.active && (await isWithdrawn(core, exchange, server))) return true;
  const aor = core.canonical(aorOf(to), null);
  const looked = lookUp(core, aor);
  const known = looked instanceof Promise ? await looked : looked;
  const { model } = modelOf(core.models, aor, recordIn(known));
  return joinedSince(model, eventOf(exchange.request)) || movedSince(server, known, core.runtime.clock.wall());
}

export function forward(core: Core, exchange: Exchange, targets: readonly (Target | Flow)[]): void {
  const end = (result: BranchResult): void => {
    // RFC 3261 16.7 step 6: a 503 speaks of one server behind us, and is not passed on as ours.
    if (typeof result !== "string" && result.status !== 503) return exchange.respond(upstream(result));
    if (result === "cancelled") return answer(core, exchange, { status: 487, phrase: "Request Terminated" });
    if (result === "timeout" && !exchange.isInvite) return exchange.drop();
    if (result === "timeout") return answer(core, exchange, { status: 408 });
    // RFC 5057 5.1: a 500 ends the transaction only, where 480 or 408 would end the dialog's usage.
    answer(core, exchange, { status: 500, retryAfter: core.options.retryAfterS });
  };
  new SingleBranch(exchange, end).start(core, {
    server: "",
    targets,
    requestUri: undefined,
    fork: undefined,
    maxBreadth: undefined,
    path: undefined,
    deadline: exchange.transaction.receivedAt + DIALOG_DEADLINE_MS,
    lingers: false,
    loopHash: loopHashFor(exchange),
    report: undefined,
  });
}

/** In a dialog nothing is decided: the whole of Timer F, 64*T1. */
const DIALOG_DEADLINE_MS = 32_000;
