import type { NameAddr } from "../message/headers/name-addr.ts";
import type { SipRequest } from "../message/message.ts";

/** RFC 3261 8.1.1.7: branches that begin so were made by RFC 3261's rules and are unique. */
export const MAGIC_COOKIE = "z9hG4bK";

/**
 * What a server transaction is found by (RFC 3261 17.2.3), as one string: equal strings are one transaction.
 * @param method of the transaction looked for: INVITE for an ACK, any for a CANCEL.
 */
export function serverKey(request: SipRequest, method: string): string {
  const via = request.via;
  const branch = via.branch;
  // A bare cookie has nothing unique in it and falls under the older rule.
  if (branch?.startsWith(MAGIC_COOKIE) && branch.length > MAGIC_COOKIE.length) {
    return `${branch} ${via.sentBy} ${method}`;
  }
  return oldKey(request, method, tagOf(request, "To"));
}

/**
 * The second key of an INVITE transaction made by an RFC 2543 client, under which its ACK finds it: "the To tag of the ACK
 * matches the To tag of the response sent by the server transaction" (17.2.3). Undefined for clients of RFC 3261.
 */
export function oldAckKey(invite: SipRequest, responseTag: string): string | undefined {
  const branch = invite.via.branch;
  if (branch?.startsWith(MAGIC_COOKIE) && branch.length > MAGIC_COOKIE.length) return undefined;
  return oldKey(invite, "ACK", responseTag);
}

/** The key of an ACK from an RFC 2543 client, as `oldAckKey` makes it for the INVITE. */
export function keyOfOldAck(ack: SipRequest): string | undefined {
  return oldAckKey(ack, tagOf(ack, "To"));
}

// 17.2.3: "if the Request-URI, To tag, From tag, Call-ID, CSeq (including the method), and top Via header field match".
function oldKey(request: SipRequest, method: string, toTag: string): string {
  const via = request.via;
  const cseq = request.cseq.number;
  return [
    "2543",
    method,
    request.requestUri,
    toTag,
    tagOf(request, "From"),
    request.callId,
    cseq,
    via.transport,
    via.sentBy,
    via.branch ?? "",
  ].join("\n");
}

function tagOf(request: SipRequest, name: "From" | "To"): string {
  let address: NameAddr;
  try {
    address = name === "From" ? request.from : request.to;
  } catch {
    // Unparsable, but a retransmission repeats it to the letter.
    return request.header(name) ?? "";
  }
  return address.tag ?? "";
}
