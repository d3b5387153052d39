import { type Disposition, dispositionOf, NO_DISPOSITION } from "../federation/routing-choice.ts";
import type { SipMessage } from "../sip/message/message.ts";

/** What the caller wants of the proxies on the way (RFC 3841 9.1). */
export function dispositionFor(request: Pick<SipMessage, "has" | "values">): Disposition {
  return request.has("Request-Disposition") ? dispositionOf(request.values("Request-Disposition")) : NO_DISPOSITION;
}
