import { identityOn, isNamedAlike } from "../federation/identity.ts";
import { incomingBreadth } from "../federation/loop-hash.ts";
import { isPrivate } from "../federation/privacy.ts";
import { isAnonymous, senderOf } from "../federation/sender.ts";
import type { Editor } from "../sip/message/edit.ts";
import type { SipRequest } from "../sip/message/message.ts";
import { type SipUri, tryAorOf, type Uri } from "../sip/message/uri.ts";
import type { Flow, ListenPoint, Target } from "../sip/transport/transport.ts";
import { type Alteration, forwardCopy } from "./alterations.ts";
import type { Core } from "./core.ts";
import type { Exchange } from "./exchange.ts";

/** Requests that make no dialog and refresh none: no Record-Route (RFC 3261 16.6 step 4). */
const NO_DIALOG = new Set(["MESSAGE", "REGISTER", "PUBLISH", "OPTIONS", "ACK", "BYE", "CANCEL", "PRACK", "INFO"]);

/** Octets that Via, Record-Route and the rest may add on the way. */
const ADDED_OCTETS = 300;

function isRecordRouted(method: string): boolean {
  return !NO_DIALOG.has(method);
}

export function asSip(uri: Uri): SipUri | undefined {
  return uri.kind === "sip" ? uri : undefined;
}

/** RFC 3261 26.2.2: what is asked for by a SIPS URI goes over TLS on every hop. */
export function isSecure(request: SipRequest): boolean {
  const uri = request.requestUri;
  return (uri.charCodeAt(3) | 0x20) === 0x73 && uri.charCodeAt(4) === 0x3a;
}

/** One target of a request: where it is, and what is changed on the copy that goes there. */
export interface Way {
  /** Name of the server, for telemetry; empty where it is none of ours. */
  readonly server: string;
  /** Tried in order until one takes the request (RFC 3261 16.6 step 7). */
  readonly targets: readonly (Target | Flow)[];
  /** No target is left, because none is reached over TLS, as a SIPS URI asks (RFC 3261 26.2.2). */
  readonly insecure?: boolean;
  /** Request-URI to send; undefined: left alone. */
  readonly requestUri: string | undefined;
  /** Branch of a forked SUBSCRIBE; undefined: not forked. */
  readonly fork: number | undefined;
  /** Undefined: what the request brought. */
  readonly maxBreadth: number | undefined;
  /** Connection that a Path is to lead back to (RFC 3327); 0: none is needed; undefined: no Path. */
  readonly path: number | undefined;
  /** Monotonic milliseconds at which a non-INVITE must have its answer. */
  readonly deadline: number;
  /** After its deadline it is listened to until Timer F. */
  readonly lingers: boolean;
  /** Loop detection value of RFC 5393 4.2.1, second part of our branch. */
  readonly loopHash: string;
  /** What traffic showed of a target. */
  readonly report: ((target: Target | Flow, answered: boolean, reason: string) => void) | undefined;
}

/** Octets of the request as it will leave, roughly: decides on UDP or TCP. */
export function sizeOf(exchange: Exchange): number {
  return exchange.request.raw.length + ADDED_OCTETS;
}

/** The copy for this way, once the flow is known; `redirected` is where a 3xx led. */
export function copyFor(
  core: Core,
  exchange: Exchange,
  way: Way,
  redirected: string | undefined,
  flow: Flow,
): Editor<SipRequest> {
  const { request } = exchange;
  return forwardCopy(request, {
    requestUri: redirected ?? way.requestUri,
    recordRoute: isRecordRouted(request.method) ? recordRoutes(core, exchange, way, flow) : undefined,
    path: way.path === undefined ? undefined : core.keys.path(flow.point, way.path),
    asserted: assertedIdentity(core, exchange, way, redirected, flow),
    maxBreadth: way.maxBreadth ?? breadthOf(core, request),
    stream: flow.reliable,
  });
}

export function breadthOf(core: Core, request: SipRequest): number {
  const text = request.header("Max-Breadth");
  const value = text === undefined ? undefined : Number.parseInt(text, 10);
  const servers = core.rotation.facts.length;
  return incomingBreadth(value === undefined || Number.isNaN(value) ? undefined : value, servers);
}

/** RFC 3325 5: our servers are trusted, nobody else is; nor is, for its word, where one of them redirects to. */
export function isTrusted(core: Core, way: Way, redirected: string | undefined, flow: Flow): boolean {
  return (
    (way.server !== "" && redirected === undefined) || core.serverAt(flow.remoteHost, flow.remotePort) !== undefined
  );
}

/** RFC 3325 5: a trusted server's word is passed on, a client's own is not; who was authenticated we assert. */
function assertedIdentity(
  core: Core,
  exchange: Exchange,
  way: Way,
  redirected: string | undefined,
  out: Flow,
): Alteration["asserted"] {
  const { origin, request } = exchange;
  const isProved = origin.kind === "client" && origin.authenticated !== null;
  if (origin.kind !== "server" && !isProved) return "remove";
  const isAlike = isNamedAlike(core.identities);
  if (!isProved && isAlike && !request.has("P-Asserted-Identity")) return "keep";
  // 7: with the token `id` it stays among those who are trusted; so does who calls himself nobody.
  const isSecret = isPrivate(request) || (isProved && isAnonymous(request.from.uri));
  if (isSecret && !isTrusted(core, way, redirected, out)) return "remove";
  if (origin.kind === "server") {
    const to = isAlike ? undefined : way.server || core.serverAt(out.remoteHost, out.remotePort);
    const mapped = to === undefined ? undefined : mappedIdentity(core, exchange, to);
    return mapped === undefined ? "keep" : { value: mapped };
  }
  const name = origin.kind === "client" ? origin.authenticated! : "";
  return { value: `<sip:${way.server === "" ? name : identityOn(core.identities, name, way.server)}>` };
}

/**
 * What the server it goes to calls the sender, where that differs from what the server it came from calls him. Where that one
 * has asserted nothing and the names differ, From does not name him to the other.
 */
function mappedIdentity(core: Core, { request, origin }: Exchange, server: string): string | undefined {
  const { identities } = request;
  const asserted = identities.find((each) => each.uri.kind === "sip");
  // RFC 3325 9.1: none in a REGISTER.
  if (asserted === undefined && (identities.length > 0 || request.method === "REGISTER")) return undefined;
  const sender = senderOf(request, origin, (from, name) => core.canonical(name, from));
  const there = identityOn(core.identities, sender.aor, server);
  if (asserted === undefined) return tryAorOf(request.from.uri) === there ? undefined : `<sip:${there}>`;
  if (tryAorOf(asserted.uri) === there) return undefined;
  const renamed = asserted.raw.replace(asserted.uri.raw, () => `sip:${there}`);
  return identities.map((each) => (each === asserted ? renamed : each.raw)).join(", ");
}

/**
 * One value, or two where the ways in and out differ in address or transport (RFC 5658), the outer one carrying the
 * connection of a client that only that connection reaches (RFC 5626 5.3).
 */
function recordRoutes(core: Core, exchange: Exchange, way: Way, out: Flow): string[] {
  const { request, transaction, origin, ownRoute } = exchange;
  const incoming = transaction.flow;
  const secure = isSecure(request);
  const { callId } = request;
  const caller = origin.kind !== "server" && incoming.connectionId !== 0 ? incoming.connectionId : undefined;
  const callee =
    ownRoute !== null && ownRoute.connectionId === out.connectionId ? nonZero(out.connectionId) : undefined;
  const fork = way.fork === undefined ? {} : { branch: way.fork };
  if (samePoint(incoming.point, out.point) && (caller === undefined || callee === undefined)) {
    const connectionId = caller ?? callee;
    return [
      core.keys.write(out.point, { callId, ...fork, ...(connectionId === undefined ? {} : { connectionId }) }, secure),
    ];
  }
  return [
    core.keys.write(out.point, { callId, ...fork, ...(callee === undefined ? {} : { connectionId: callee }) }, secure),
    core.keys.write(incoming.point, { callId, ...(caller === undefined ? {} : { connectionId: caller }) }, secure),
  ];
}

function samePoint(a: ListenPoint, b: ListenPoint): boolean {
  return a.transport === b.transport && a.sentBy === b.sentBy;
}

function nonZero(id: number): number | undefined {
  return id === 0 ? undefined : id;
}
