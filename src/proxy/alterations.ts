import type { Editor } from "../sip/message/edit.ts";
import type { NameAddr } from "../sip/message/headers/name-addr.ts";
import type { SipRequest } from "../sip/message/message.ts";
import { sipUriOf } from "./route-header.ts";

/** What is changed on the copy of a request that goes to one target (RFC 3261 16.6 steps 2 to 6, 9). Pure. */
export interface Alteration {
  /** Undefined: left alone. */
  readonly requestUri: string | undefined;
  /** Record-Route values, topmost first. */
  readonly recordRoute: readonly string[] | undefined;
  readonly path: string | undefined;
  /** P-Asserted-Identity: `keep` from trusted servers, else removed, or set to what we vouch for (RFC 3325 5). */
  readonly asserted: "keep" | "remove" | { readonly value: string };
  /** RFC 5393 5.3.3; undefined: the header is left alone. */
  readonly maxBreadth: number | undefined;
  /** The way out is a stream: Content-Length is owed (RFC 3261 16.6 step 9). */
  readonly stream: boolean;
}

export const DEFAULT_MAX_FORWARDS = 70;

/** The copy for one target, still unbuilt: the transaction layer adds our Via for the way found. */
export function forwardCopy(request: SipRequest, alteration: Alteration): Editor<SipRequest> {
  const editor = request.edit();
  if (alteration.requestUri !== undefined && alteration.requestUri !== request.requestUri) {
    editor.setRequestUri(alteration.requestUri);
  }
  const maxForwards = request.maxForwards;
  if (maxForwards === undefined) editor.append("Max-Forwards", String(DEFAULT_MAX_FORWARDS));
  else editor.set("Max-Forwards", String(maxForwards - 1));
  const { recordRoute, asserted } = alteration;
  if (recordRoute !== undefined && recordRoute.length > 0) editor.prepend("Record-Route", recordRoute.join(", "));
  if (alteration.path !== undefined) editor.prepend("Path", alteration.path);
  // RFC 3325 6: a hint to us, and to nobody behind us.
  if (request.has("P-Preferred-Identity")) editor.remove("P-Preferred-Identity");
  if (asserted !== "keep") {
    if (request.has("P-Asserted-Identity")) editor.remove("P-Asserted-Identity");
    if (asserted !== "remove") editor.append("P-Asserted-Identity", asserted.value);
  }
  if (alteration.maxBreadth !== undefined) editor.set("Max-Breadth", String(alteration.maxBreadth));
  if (alteration.stream && request.contentLength === undefined) {
    editor.append("Content-Length", String(request.body.length));
  }
  return request.has("Route") ? towardsStrictRouter(editor.build()) : editor;
}

/**
 * RFC 3261 16.4: what a strict router did to the request is undone. `isOwnRoute` tells a URI that this proxy wrote into
 * a Record-Route. Returns the request itself where nothing was done to it.
 */
export function undoStrictRouting(request: SipRequest, isOwnRoute: (request: SipRequest) => boolean): SipRequest {
  const routes = request.routes;
  const last = routes[routes.length - 1];
  if (last === undefined || !isOwnRoute(request)) return request;
  const editor = request.edit().setRequestUri(uriText(last)).remove("Route");
  const rest = routes.slice(0, -1);
  if (rest.length > 0) editor.prepend("Route", rest.map((route) => route.raw).join(", "));
  return editor.build();
}

/** RFC 3261 16.4: an maddr of ours is stripped, with port and transport, as if they had not been there. */
export function withoutOwnMaddr(
  request: SipRequest,
  isOwn: (host: string, port: number | undefined) => boolean,
): SipRequest {
  const { uri } = request;
  const maddr = uri.kind !== "sip" || uri.params.size === 0 ? undefined : uri.params.get("maddr");
  if (uri.kind !== "sip" || maddr === undefined || !isOwn(maddr, uri.port)) return request;
  const host = uri.raw.lastIndexOf("@") + 1 || uri.raw.indexOf(":") + 1;
  const bare = uri.raw
    .slice(host)
    .replace(/^(\[[^\]]*\]|[^:;?]*)(?::\d+)?/, "$1")
    .replace(/;(?:maddr|transport)(?:=[^;?]*)?/gi, "");
  return request
    .edit()
    .setRequestUri(uri.raw.slice(0, host) + bare)
    .build();
}

/** RFC 3261 16.6 step 6: the next router is a strict one; its URI goes into the Request-URI, ours to the end of Route. */
export function towardsStrictRouter(request: SipRequest): Editor<SipRequest> {
  const routes = request.routes;
  const first = routes[0];
  const uri = first === undefined ? undefined : sipUriOf(first);
  if (first === undefined || uri === undefined || uri.params.has("lr")) return request.edit();
  const values = [...routes.slice(1).map((route) => route.raw), `<${request.requestUri}>`];
  return request.edit().setRequestUri(uriText(first)).remove("Route").prepend("Route", values.join(", "));
}

/** The URI of a Route value as a Request-URI: without a header part, and no `method` parameter is ours to remove. */
function uriText(route: NameAddr): string {
  const text = route.uri.raw;
  const question = text.indexOf("?");
  return question < 0 ? text : text.slice(0, question);
}
