import { buildRequest, buildResponse, type HeaderPair } from "../message/build.ts";
import { bytesOf, closingQuote } from "../message/bytes.ts";
import { MalformedHeader } from "../message/errors.ts";
import { type NameAddr, type SipMessage, SipRequest, SipResponse } from "../message/message.ts";
import { quote } from "../message/text.ts";
import { parseUri, type SipUri } from "../message/uri.ts";

/**
 * What both ends of a dialog remember (RFC 3261 12), sequence numbers left out: they change with every request and belong to
 * whoever sends it. Plain data, never changed: a target refresh makes another one. Texts are latin1, as they stood in the message.
 */
export interface Dialog {
  readonly callId: string;
  readonly localTag: string;
  /** "" until it is known, and for peers that give none (12.1.1). */
  readonly remoteTag: string;
  /** The From or To value of this side without its tag: `"A" <sip:a@example.com>`. */
  readonly local: string;
  readonly remote: string;
  /** A SIP or SIPS URI. */
  readonly remoteTarget: string;
  /** `<sip:…>` each, in the order in which requests of this side take them. */
  readonly routeSet: readonly string[];
  /** Over TLS to a SIPS URI: Contact must be SIPS ever after. */
  readonly secure: boolean;
}

/** RFC 3261 12.1.1: the side that answers. Throws MalformedHeader where Contact, From, To or Record-Route is unusable. */
export function uasDialog(request: SipRequest, localTag: string): Dialog {
  return checked({
    callId: request.callId,
    localTag,
    remoteTag: request.from.tag ?? "",
    local: withoutTag(request.to),
    remote: withoutTag(request.from),
    remoteTarget: contactOf(request) ?? missingContact(),
    routeSet: routesOf(request),
    secure: isSecure(request),
  });
}

/**
 * The side that asked. From a 2xx: 12.1.2. From a NOTIFY that came first (RFC 6665 4.4.1): its sender's tag and target, and its
 * Record-Route as it stands, for of that request we are the server. Throws MalformedHeader as `uasDialog` does.
 */
export function uacDialog(sent: SipRequest, peer: SipResponse | SipRequest): Dialog {
  const other = peer instanceof SipResponse ? peer.to : peer.from;
  const routeSet = routesOf(peer);
  return checked({
    callId: sent.callId,
    localTag: sent.from.tag ?? "",
    remoteTag: other.tag ?? "",
    local: withoutTag(sent.from),
    remote: withoutTag(other),
    // COMPAT servers whose 2xx to SUBSCRIBE has no Contact: they are where the request went.
    remoteTarget: contactOf(peer) ?? sent.requestUri,
    routeSet: peer instanceof SipResponse ? routeSet.reverse() : routeSet,
    secure: isSecure(sent),
  });
}

export interface WithinParts {
  readonly method: string;
  readonly cseq: number;
  /** A URI of ours; absent: no Contact. `sips:` takes the place of `sip:` where the dialog is secure. */
  readonly contact?: string | undefined;
  readonly headers?: readonly HeaderPair[];
  /** latin1. */
  readonly body?: string;
}

/** The next request of this side, without Via (12.2.1.1): through loose routers, and through a strict one. */
export function requestWithin(dialog: Dialog, parts: WithinParts): SipRequest {
  const target = asRequestUri(parseUri(dialog.remoteTarget));
  const first = dialog.routeSet[0];
  const strict = first !== undefined && !routeUri(first).params.has("lr");
  const routes = strict ? [...dialog.routeSet.slice(1), `<${target}>`] : dialog.routeSet;
  return buildRequest({
    method: parts.method,
    uri: strict ? asRequestUri(routeUri(first)) : target,
    headers: [
      ["Max-Forwards", "70"],
      ...routes.map((route): HeaderPair => ["Route", route]),
      ["From", tagged(dialog.local, dialog.localTag)],
      ["To", tagged(dialog.remote, dialog.remoteTag)],
      ["Call-ID", dialog.callId],
      ["CSeq", `${parts.cseq} ${parts.method}`],
      ...contactLine(parts.contact, dialog.secure),
      ...(parts.headers ?? []),
    ],
    ...(parts.body === undefined ? {} : { body: parts.body }),
  });
}

export interface AnswerParts {
  readonly localTag: string;
  /** A URI of ours. `sips:` takes the place of `sip:` where 12.1.1 demands it. */
  readonly contact: string;
  readonly headers?: readonly HeaderPair[];
}

/** A 2xx that forms or refreshes a dialog: the Record-Route values as they came, and a Contact (12.1.1). */
export function okWithin(request: SipRequest, status: number, parts: AnswerParts): SipResponse {
  const routes = request.headers("Record-Route").map((route): HeaderPair => ["Record-Route", route]);
  return buildResponse(request, status, undefined, {
    toTag: parts.localTag,
    headers: [...routes, ...contactLine(parts.contact, demandsSips(request)), ...(parts.headers ?? [])],
  });
}

/** Methods that are target refresh requests (RFC 3261 12.2, RFC 3311, RFC 6665 4.1.2.2 and 4.4.1). */
const REFRESHING: readonly string[] = ["SUBSCRIBE", "NOTIFY", "INVITE", "UPDATE"];

/**
 * The dialog after a message of the peer's: its target moves with the Contact of a target refresh request (12.2.2) and of a 2xx to
 * one (12.2.1.2); its route set never does. The very same object where nothing changed.
 */
export function withTarget(dialog: Dialog, message: SipRequest | SipResponse): Dialog {
  const refreshes =
    message instanceof SipRequest
      ? REFRESHING.includes(message.method)
      : message.status >= 200 && message.status < 300 && REFRESHING.includes(message.cseq.method);
  const remoteTarget = refreshes ? contactOf(message) : undefined;
  if (remoteTarget === undefined || remoteTarget === dialog.remoteTarget) return dialog;
  return checked({ ...dialog, remoteTarget });
}

/** Where a request of this side goes first: the first Route, else the remote target (8.1.2). */
export function firstHop(dialog: Dialog): SipUri {
  const first = dialog.routeSet[0];
  return first === undefined ? asSip(parseUri(dialog.remoteTarget), "Contact") : routeUri(first);
}

/**
 * The dialog as one text, to be stored and to be kept: a string of its own that holds no message's memory. Its length in
 * characters is about its size in memory.
 */
export function packDialog(dialog: Dialog): string {
  const { callId, localTag, remoteTag, local, remote, remoteTarget, routeSet, secure } = dialog;
  // join copies every character into a new flat string; a template literal would keep its pieces alive.
  return [secure ? "s" : "", callId, localTag, remoteTag, local, remote, remoteTarget, ...routeSet].join("\n");
}

/** What `packDialog` made. Its strings are slices of `text`. */
export function unpackDialog(text: string): Dialog {
  const [secure, callId, localTag, remoteTag, local, remote, remoteTarget, ...routeSet] = text.split("\n");
  if (remoteTarget === undefined) throw new Error("this is no packed dialog");
  return {
    callId: callId!,
    localTag: localTag!,
    remoteTag: remoteTag!,
    local: local!,
    remote: remote!,
    remoteTarget,
    routeSet,
    secure: secure === "s",
  };
}

/** Of what `packDialog` made. */
export function callIdIn(packed: string): string {
  return packed.slice(packed.indexOf("\n") + 1).split("\n", 1)[0]!;
}

/** The URI of the first Contact; undefined where there is none, or `*`. Throws MalformedHeader where it is no SIP URI. */
function contactOf(message: SipMessage): string | undefined {
  const { contacts } = message;
  const first = contacts === "*" ? undefined : contacts[0];
  return first === undefined ? undefined : asSip(first.uri, "Contact").raw;
}

function missingContact(): never {
  throw new MalformedHeader("Contact", "it is missing where a dialog is to be made");
}

/** "the list of URIs in the Record-Route header field […] preserving all URI parameters". */
function routesOf(message: SipMessage): string[] {
  return message.recordRoutes.map((route) => `<${asSip(route.uri, "Record-Route").raw}>`);
}

function routeUri(route: string): SipUri {
  return asSip(parseUri(route.slice(1, -1)), "Route");
}

function asSip(uri: NameAddr["uri"], header: string): SipUri {
  if (uri.kind !== "sip") throw new MalformedHeader(header, "it must be a SIP or SIPS URI");
  return uri;
}

/** What may not stand in a Request-URI goes: the method parameter and header components (RFC 3261 19.1.1, table 1). */
function asRequestUri(uri: NameAddr["uri"]): string {
  if (uri.kind !== "sip") return uri.raw;
  const text = uri.headers === undefined ? uri.raw : uri.raw.slice(0, uri.raw.indexOf("?", afterUser(uri)));
  return uri.params.has("method") ? text.replace(/;method=[^;]*/i, "") : text;
}

/** A user part may hold question marks of its own. */
function afterUser(uri: SipUri): number {
  return uri.user === undefined ? 0 : uri.raw.indexOf("@");
}

/** The value as it stood, its tag parameter cut out. */
function withoutTag(address: NameAddr): string {
  if (address.tag === undefined) return address.raw;
  const { raw, uri } = address;
  const name = raw.startsWith('"') ? closingQuote(bytesOf(raw), 0, raw.length) : 0;
  const bracketed = raw.indexOf(`<${uri.raw}>`, name);
  const end = bracketed < 0 ? uri.raw.length : bracketed + uri.raw.length + 2;
  return raw.slice(0, end) + raw.slice(end).replace(/[ \t]*;[ \t]*tag[ \t]*(=[ \t]*("(\\.|[^"\\])*"|[^; \t]*))?/i, "");
}

function tagged(value: string, tag: string): string {
  if (tag === "") return value;
  // COMPAT peers whose tag is a quoted string.
  return `${value};tag=${/[\s";]/.test(tag) ? quote(tag) : tag}`;
}

function contactLine(contact: string | undefined, secure: boolean): readonly HeaderPair[] {
  if (contact === undefined) return [];
  return [["Contact", `<${secure ? contact.replace(/^sip:/i, "sips:") : contact}>`]];
}

/**
 * 12.1.1: a SIPS URI in the Request-URI, or in the top Record-Route, or in the Contact where there is no Record-Route. In a
 * dialog neither has to be there, or to be readable: what is not needed is ignored (8.2), and an answer is always made.
 */
function demandsSips(request: SipRequest): boolean {
  if (/^sips:/i.test(request.requestUri)) return true;
  try {
    const top = request.recordRoutes[0];
    if (top !== undefined) return top.uri.scheme === "sips";
    const { contacts } = request;
    return contacts !== "*" && contacts[0]?.uri.scheme === "sips";
  } catch (error) {
    if (!(error instanceof MalformedHeader)) throw error;
    return false;
  }
}

/** "over TLS, and the Request-URI contained a SIPS URI". A request that is not sent yet has no Via to tell. */
function isSecure(request: SipRequest): boolean {
  if (!/^sips:/i.test(request.requestUri)) return false;
  const transport = request.has("Via") ? request.via.transport : "TLS";
  return transport === "TLS" || transport === "WSS";
}

/** Nothing in a dialog may break out of its line, of a message or of the packed text. */
function checked(dialog: Dialog): Dialog {
  for (const value of [dialog.callId, dialog.remoteTag, dialog.local, dialog.remote, dialog.remoteTarget])
    if (/[\0\r\n]/.test(value)) throw new MalformedHeader("From", "control characters in what names the dialog");
  return dialog;
}
