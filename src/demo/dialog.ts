import { buildRequest, type HeaderPair } from "../sip/message/build.ts";
import type { SipMessage, SipRequest, SipResponse } from "../sip/message/message.ts";

/** One side of a dialog (RFC 3261 12), as an example server keeps it. */
export interface Dialog {
  readonly callId: string;
  readonly localTag: string;
  readonly remoteTag: string;
  /** Header values with their tags. */
  readonly local: string;
  readonly remote: string;
  /** Remote target: moves with the peer's Contact. */
  target: string;
  readonly routes: readonly string[];
  localCSeq: number;
}

/** What a request within the dialog carries, seen from this side. */
export function keyOf(callId: string, localTag: string, remoteTag: string): string {
  return `${callId} ${localTag} ${remoteTag}`;
}

export function dialogKey(dialog: Dialog): string {
  return keyOf(dialog.callId, dialog.localTag, dialog.remoteTag);
}

/** The key of the dialog that an incoming request belongs to. */
export function requestKey(request: SipRequest): string {
  return keyOf(request.callId, request.to.tag ?? "", request.from.tag ?? "");
}

/** RFC 3261 12.1.1: who answers takes the route set as it stands. */
export function answeringDialog(request: SipRequest, localTag: string): Dialog {
  return {
    callId: request.callId,
    localTag,
    remoteTag: request.from.tag ?? "",
    local: `${request.to.raw};tag=${localTag}`,
    remote: request.from.raw,
    target: contactOf(request) ?? request.from.uri.raw,
    routes: request.recordRoutes.map((route) => route.raw),
    localCSeq: 0,
  };
}

/** RFC 3261 12.1.2: who asks takes it backwards. */
export function askingDialog(request: SipRequest, response: SipResponse): Dialog {
  return {
    callId: request.callId,
    localTag: request.from.tag ?? "",
    remoteTag: response.to.tag ?? "",
    local: request.from.raw,
    remote: response.to.raw,
    target: contactOf(response) ?? request.requestUri,
    routes: response.recordRoutes.map((route) => route.raw).reverse(),
    localCSeq: request.cseq.number,
  };
}

/** RFC 6665 4.4.1: the NOTIFY makes the subscriber's dialog, with its own Record-Route. */
export function notifiedDialog(subscribe: SipRequest, notify: SipRequest): Dialog {
  return {
    callId: subscribe.callId,
    localTag: subscribe.from.tag ?? "",
    remoteTag: notify.from.tag ?? "",
    local: subscribe.from.raw,
    remote: notify.from.raw,
    target: contactOf(notify) ?? subscribe.requestUri,
    routes: notify.recordRoutes.map((route) => route.raw),
    localCSeq: subscribe.cseq.number,
  };
}

export function contactOf(message: SipMessage): string | undefined {
  const contacts = message.contacts;
  return contacts === "*" ? undefined : contacts[0]?.uri.raw;
}

/** The next request of this side (RFC 3261 12.2.1.1); an ACK has its INVITE's CSeq. */
export function inDialog(dialog: Dialog, method: string, headers: readonly HeaderPair[], body = ""): SipRequest {
  if (method !== "ACK") dialog.localCSeq += 1;
  return buildRequest({
    method,
    uri: dialog.target,
    headers: [
      ["Max-Forwards", "70"],
      ...dialog.routes.map((route): HeaderPair => ["Route", route]),
      ["From", dialog.local],
      ["To", dialog.remote],
      ["Call-ID", dialog.callId],
      ["CSeq", `${dialog.localCSeq} ${method}`],
      ...headers,
    ],
    body,
  });
}
