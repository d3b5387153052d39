import { createHash } from "node:crypto";
import type { StoredMessage } from "../directory/messages.ts";
import { buildRequest } from "../sip/message/build.ts";
import type { SipRequest } from "../sip/message/message.ts";
import { decodeUtf8, encodeUtf8 } from "../sip/message/text.ts";

/** Instant Message Disposition Notification (RFC 5438) in Message/CPIM (RFC 3862): that a message failed for good. */

const IMDN_NAMESPACE = "urn:ietf:params:imdn";
/** CPIM headers that are looked at; a message with more says nothing to us. */
const MAX_HEADERS = 100;

export interface NotificationAsked {
  /** imdn.Message-ID of the message. */
  readonly messageId: string;
  /** URI the notification goes to: the top IMDN-Record-Route, else the CPIM From (RFC 5438 7.2.1). */
  readonly to: string;
  /** The CPIM From and To of the message, as written. */
  readonly from: string;
  readonly recipient: string;
  /** IMDN-Record-Route values, in order; they become IMDN-Route. */
  readonly routes: readonly string[];
  readonly originalTo: string | null;
}

/** What the sender asked to be told where it fails; null: nothing, or it is no CPIM message. */
export function negativeDeliveryAsked(request: SipRequest): NotificationAsked | null {
  if (!/^\s*message\/cpim\s*(?:;|$)/i.test(request.header("Content-Type") ?? "")) return null;
  const headers = cpimHeaders(decodeUtf8(request.body));
  if (headers === null) return null;
  // RFC 3862 3.4: a namespace is bound to the prefix its sender chose.
  const prefix = headers
    .filter(([name]) => name === "NS")
    .map(([, value]) => /^(?:([^\s<]+) +)?<([^>]*)>$/.exec(value))
    .find((found) => found?.[2] === IMDN_NAMESPACE)?.[1];
  if (prefix === undefined) return null;
  const first = (name: string): string | undefined => headers.find(([each]) => each === name)?.[1];
  const asked = first(`${prefix}.Disposition-Notification`)
    ?.split(",")
    .some((value) => /^negative-delivery(?:\s*;|$)/i.test(value.trim()));
  const messageId = first(`${prefix}.Message-ID`);
  const from = first("From");
  const recipient = first("To");
  if (asked !== true || messageId === undefined || from === undefined || recipient === undefined) return null;
  const routes = headers.filter(([name]) => name === `${prefix}.IMDN-Record-Route`).map(([, value]) => value);
  const to = uriOf(routes[0] ?? from);
  if (to === null) return null;
  return { messageId, to, from, recipient, routes, originalTo: first(`${prefix}.Original-To`) ?? null };
}

/** RFC 3862 2.2: one header a line, up to an empty one. The MIME headers of the content come after that. */
function cpimHeaders(body: string): ReadonlyArray<readonly [string, string]> | null {
  const end = body.indexOf("\r\n\r\n");
  if (end < 0) return null;
  const lines = body.slice(0, end).split("\r\n", MAX_HEADERS + 1);
  if (lines.length > MAX_HEADERS) return null;
  return lines.flatMap((line) => {
    const colon = line.indexOf(": ");
    return colon < 1 ? [] : [[line.slice(0, colon).replace(/;.*$/, ""), line.slice(colon + 2)] as const];
  });
}

function uriOf(value: string): string | null {
  return /<([^<>\s]+)>\s*$/.exec(value)?.[1] ?? (/^[^\s<>]+$/.test(value) ? value : null);
}

/** `im:joe@example.com` -> `sip:joe@example.com`: RFC 3428 names users by the SIP URI. */
export function sipUriFor(uri: string): string {
  return uri.replace(/^(?:im|pres):/i, "sip:");
}

export interface Notification {
  readonly request: SipRequest;
  readonly callId: string;
  readonly fromTag: string;
}

/**
 * A failed delivery notification (RFC 5438 7.2.1.1, 12.2). Its Call-ID and tag follow from the message's, so that telling
 * it twice is telling it once.
 * @param domain of ours, for the Call-ID. @param at milliseconds since 1970.
 */
export function failureNotification(
  message: StoredMessage,
  asked: NotificationAsked,
  domain: string,
  at: number,
): Notification {
  const digest = createHash("sha256").update(`imdn ${message.id}`).digest("hex");
  const [callId, fromTag, messageId] = [`${digest.slice(0, 24)}@${domain}`, digest.slice(24, 34), digest.slice(34, 50)];
  const when = new Date(at).toISOString();
  const recipient = uriOf(asked.recipient) ?? `im:${message.recipient}`;
  const original = uriOf(asked.originalTo ?? asked.recipient) ?? recipient;
  const xml = [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<imdn xmlns="urn:ietf:params:xml:ns:imdn">',
    `<message-id>${escaped(asked.messageId)}</message-id>`,
    `<datetime>${when}</datetime>`,
    `<recipient-uri>${escaped(recipient)}</recipient-uri>`,
    `<original-recipient-uri>${escaped(original)}</original-recipient-uri>`,
    "<delivery-notification><status><failed/></status></delivery-notification>",
    "</imdn>",
  ].join("\r\n");
  const body = [
    `From: ${asked.recipient}`,
    `To: ${asked.from}`,
    `DateTime: ${when}`,
    `NS: imdn <${IMDN_NAMESPACE}>`,
    `imdn.Message-ID: ${messageId}`,
    ...asked.routes.map((route) => `imdn.IMDN-Route: ${route}`),
    "",
    "Content-type: message/imdn+xml",
    "Content-Disposition: notification",
    `Content-length: ${Buffer.byteLength(xml, "utf8")}`,
    "",
    xml,
  ].join("\r\n");
  const to = sipUriFor(asked.to);
  const request = buildRequest({
    method: "MESSAGE",
    uri: to,
    headers: [
      ["Max-Forwards", "70"],
      ["From", `<sip:${message.recipient}>;tag=${fromTag}`],
      ["To", `<${to}>`],
      ["Call-ID", callId],
      ["CSeq", "1 MESSAGE"],
      ["Date", new Date(at).toUTCString()],
      ["Content-Type", "message/cpim"],
    ],
    body: encodeUtf8(body),
  });
  return { request, callId, fromTag };
}

function escaped(text: string): string {
  return text.replace(/[&<>]/g, (each) => (each === "&" ? "&amp;" : each === "<" ? "&lt;" : "&gt;"));
}
