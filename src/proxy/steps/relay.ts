import { meaningOf, provesHere, upstreamStatus } from "../../federation/answers.ts";
import { normalHost } from "../../federation/origin.ts";
import type { RelayPlan } from "../../federation/plan.ts";
import { isKept, isKeptAfter } from "../../federation/storing.ts";
import type { SipUri } from "../../sip/message/uri.ts";
import type { Flow, Target } from "../../sip/transport/transport.ts";
import type { Branch, BranchResult } from "../branch.ts";
import type { Core } from "../core.ts";
import type { Exchange } from "../exchange.ts";
import { loopHashFor } from "../loop.ts";
import { isSecure, type Way } from "../next-hop.ts";
import { answer } from "../responses.ts";
import { SingleBranch, upstream } from "../single-branch.ts";
import { bodyForServer, republish } from "./republish.ts";

/** What a way to a server needs besides the server. */
export interface ServerWay {
  readonly server: string;
  readonly subdomain: string | null;
  readonly identity: string | null;
  readonly fork: number | undefined;
  readonly maxBreadth: number | undefined;
  readonly path: number | undefined;
  /** It is stored where it is not delivered in time, and a late answer counts. */
  readonly lingers?: boolean;
  /** Monotonic milliseconds; default: when the time for the decision is over. */
  readonly deadline?: number;
}

/** Of the time for a decision, what storing is given. */
const STORE_MS = 1_000;

/** The way to a server of ours: its nodes in rotation, the Request-URI it wants. */
export function wayTo(core: Core, exchange: Exchange, to: ServerWay): Way | Promise<Way> {
  const nodes = core.rotation.nodes(to.server);
  const targets = nodes.length === 0 ? [] : core.locate(nodes);
  return targets instanceof Promise
    ? targets.then((found) => way(core, exchange, to, nodes, found))
    : way(core, exchange, to, nodes, targets);
}

function way(core: Core, exchange: Exchange, to: ServerWay, nodes: readonly SipUri[], all: readonly Target[]): Way {
  const targets = isSecure(exchange.request) ? all.filter(isSecureTarget) : all;
  return {
    server: to.server,
    targets,
    insecure: targets.length === 0 && all.length > 0,
    requestUri: requestUriFor(exchange, to),
    fork: to.fork,
    maxBreadth: to.maxBreadth,
    path: to.path,
    deadline: to.deadline ?? exchange.transaction.receivedAt + core.options.decisionMs - (to.lingers ? STORE_MS : 0),
    lingers: to.lingers ?? false,
    loopHash: loopHashFor(exchange),
    report: (target, answered, reason) => core.rotation.report(to.server, nodeOf(nodes, target), answered, reason),
  };
}

function isSecureTarget({ transport }: Target): boolean {
  return transport === "tls" || transport === "wss";
}

function nodeOf(nodes: readonly SipUri[], target: Target | Flow): SipUri {
  if (nodes.length === 1 || "send" in target) return nodes[0]!;
  const host = normalHost(target.name ?? target.host);
  return (
    nodes.find((node) => normalHost(node.host) === host && (node.port ?? target.port) === target.port) ?? nodes[0]!
  );
}

/** Only what the server needs is changed: the name it knows him by, the subdomain it is reached under. */
function requestUriFor(exchange: Exchange, to: Pick<ServerWay, "identity" | "subdomain">): string | undefined {
  if (to.identity === null && to.subdomain === null) return undefined;
  const aor = to.identity ?? exchange.aor;
  const at = aor.lastIndexOf("@");
  const scheme = isSecure(exchange.request) ? "sips" : "sip";
  return `${scheme}:${aor.slice(0, at)}@${to.subdomain ?? aor.slice(at + 1)}`;
}

/** Sends the request to the one server that has the user. `replan` decides once more, without that server. */
export function relay(core: Core, exchange: Exchange, plan: RelayPlan, replan: () => void): void {
  const body = bodyForServer(exchange, plan.identity);
  if (body !== null && plan.identity !== null) return publishAnew(core, exchange, plan, plan.identity, body, replan);
  let insecure = false;
  const end = (result: BranchResult, redirected: boolean, late: Branch["late"]): void => {
    const otherwise = (): void => judge(core, exchange, plan, result, redirected, replan);
    // Without a way over TLS there will be none the next time either: it is refused, and nothing waits behind it.
    if (!insecure && isStored(exchange, result)) store(core, exchange, plan.server, result, late, otherwise);
    else otherwise();
  };
  const { server, subdomain, identity } = plan;
  const found = wayTo(core, exchange, {
    server,
    subdomain,
    identity,
    fork: undefined,
    maxBreadth: undefined,
    path: undefined,
    lingers: exchange.facts !== null && isKept(exchange.facts),
  });
  const start = (each: Way): void => {
    insecure = each.insecure === true;
    new SingleBranch(exchange, end).start(core, each);
  };
  if (found instanceof Promise) found.then(start).catch((error: Error) => core.failed(exchange, error));
  else start(found);
}

function publishAnew(
  core: Core,
  exchange: Exchange,
  plan: RelayPlan,
  identity: string,
  body: string,
  replan: () => void,
): void {
  const { server, binding } = plan;
  republish(core, exchange, plan, { uri: requestUriFor(exchange, plan)!, identity, body })
    .then((outcome) => {
      if (outcome === "not-here") searchAgain(core, exchange, server, binding!.epoch, replan);
    })
    .catch((error: Error) => core.failed(exchange, error));
}

function judge(
  core: Core,
  exchange: Exchange,
  plan: RelayPlan,
  result: BranchResult,
  redirected: boolean,
  replan: () => void,
): void {
  if (result === "cancelled") return answer(core, exchange, { status: 487, phrase: "Request Terminated" });
  if (typeof result !== "string" && result.status < 300) {
    exchange.respond(upstream(result));
    const learns = plan.binding === null || plan.binding.origin === "learned";
    if (learns && !redirected) renew(core, exchange, plan, result.status);
    return;
  }
  switch (meaningOf(typeof result === "string" ? result : result.status)) {
    case "not-here":
      if (plan.binding?.retry && !redirected)
        return searchAgain(core, exchange, plan.server, plan.binding.epoch, replan);
      break;
    case "could-not-ask":
      return answer(core, exchange, {
        status: 480,
        phrase: "Temporarily Unavailable",
        retryAfter: core.options.retryAfterS,
      });
  }
  forwardFinal(core, exchange, result);
}

/** A MESSAGE that its server did not take, where it may be stored (models.md, "Stored messages"). */
function isStored({ facts }: Exchange, result: BranchResult): result is Exclude<BranchResult, "cancelled"> {
  if (result === "cancelled" || facts === null) return false;
  const status = typeof result === "string" ? 0 : result.status;
  return isKeptAfter(facts, meaningOf(typeof result === "string" ? result : status), status);
}

/** It is answered 202; where it cannot be stored, as if there were no store. */
function store(
  core: Core,
  exchange: Exchange,
  server: string,
  result: Exclude<BranchResult, "cancelled">,
  late: Branch["late"],
  otherwise: () => void,
): void {
  const reply = result === "transport-error" ? "unreachable" : result;
  core.handlers
    .keep(exchange, { server, reply, late })
    .then((kept) => {
      if (!kept) otherwise();
    })
    .catch((error: Error) => core.failed(exchange, error));
}

/** Forwards a final answer under the status it goes upstream with. */
export function forwardFinal(core: Core, exchange: Exchange, result: Exclude<BranchResult, "cancelled">): void {
  const status = upstreamStatus(typeof result === "string" ? result : result.status);
  if (typeof result !== "string" && result.status === status) exchange.respond(upstream(result));
  else answer(core, exchange, { status, ...(status === 480 ? { retryAfter: core.options.retryAfterS } : {}) });
}

/** What was learned proved wrong: it is dropped on its epoch, and the others are asked, once. */
export function searchAgain(core: Core, exchange: Exchange, server: string, epoch: number, replan: () => void): void {
  core.telemetry.emit("unlearned", { aor: exchange.aor, server, reason: "the server said not here" });
  const again = (): void => {
    exchange.without = [...exchange.without, server];
    replan();
  };
  core.directory.unlearn(exchange.aor, server, epoch).then(again, again);
}

/** A proving 2xx renews what was learned once half its life is over, so that a busy user costs no write a request. */
function renew(core: Core, exchange: Exchange, plan: RelayPlan, status: number): void {
  const { method, aor } = exchange;
  const facts = core.rotation.facts.find((each) => each.name === plan.server);
  if (facts === undefined || method === "SUBSCRIBE" || !provesHere(facts.proves, method, status)) return;
  learnIfDue(core, aor, plan.server);
}

/** Learns or renews, unless what is known is fresh. Failure costs nothing but a later fork. */
export function learnIfDue(core: Core, aor: string, server: string): void {
  const known = core.cache.peek(aor);
  const now = core.runtime.clock.wall();
  if (known?.state === "bound") {
    const { binding } = known;
    if (binding.server !== server || binding.origin !== "learned") return;
    if (binding.expiresAt !== null && binding.expiresAt - now > core.options.learnedMs / 2) return;
  }
  core.directory.learn(aor, server, now + core.options.learnedMs).then(
    (outcome) => {
      if (outcome.outcome !== "bound") return;
      if (outcome.changed) core.telemetry.emit("learned", { aor, server, epoch: outcome.binding.epoch });
      else core.cache.forget(aor);
    },
    () => undefined,
  );
}
