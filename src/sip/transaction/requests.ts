import { buildRequest } from "../message/build.ts";
import type { SipRequest, SipResponse } from "../message/message.ts";

/** Requests a client transaction makes by itself. `via` is the top Via of the INVITE as it was sent. */

type Header = readonly [string, string];

/** The ACK for a 300-699 response (RFC 3261 17.1.1.3). */
export function ackFor(invite: SipRequest, response: SipResponse, via: string): SipRequest {
  // "The To header field in the ACK MUST equal the To header field in the response being acknowledged".
  return hopByHop("ACK", invite, response.header("To") ?? invite.header("To") ?? "", via, []);
}

/** The CANCEL of an INVITE (RFC 3261 9.1). `reason` is the value of a Reason header (RFC 3326). */
export function cancelFor(invite: SipRequest, via: string, reason: string | undefined): SipRequest {
  // "The Request-URI, Call-ID, To, the numeric part of CSeq, and From header fields in the CANCEL request MUST be identical
  // to those in the request being cancelled, including tags." No Require, no Proxy-Require.
  return hopByHop("CANCEL", invite, invite.header("To") ?? "", via, reason === undefined ? [] : [["Reason", reason]]);
}

function hopByHop(method: string, invite: SipRequest, to: string, via: string, more: readonly Header[]): SipRequest {
  return buildRequest({
    method,
    uri: invite.requestUri,
    headers: [
      // 17.1.1.3 and 9.1: "a single Via header field [...] equal to the top Via header field of the original request".
      ["Via", via],
      // Both: the Route header fields of the INVITE appear, "to ensure that the ACK can be routed properly through any
      // downstream stateless proxies".
      ...invite.headers("Route").map((route): Header => ["Route", route]),
      ["Max-Forwards", "70"],
      ["From", invite.header("From") ?? ""],
      ["To", to],
      ["Call-ID", invite.callId],
      ["CSeq", `${invite.cseq.number} ${method}`],
      ...more,
    ],
  });
}
