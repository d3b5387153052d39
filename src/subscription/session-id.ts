import type { SipRequest, SipResponse } from "../sip/message/message.ts";
import { ownText } from "./documents.ts";

/** Session-ID (RFC 7989): a session's two ends, each by a UUID of its own. */

export const NIL = "0".repeat(32);

/** The UUID of who sends it (RFC 7989 5); undefined: it says none, or the nil one. */
export function sessionOf(message: SipRequest | SipResponse): string | undefined {
  const uuid = /^\s*([0-9a-f]{32})\s*(;|$)/i.exec(message.header("Session-ID") ?? "")?.[1]?.toLowerCase();
  return uuid === undefined || uuid === NIL ? undefined : ownText(uuid);
}

/** The header's value. @param remote empty: nobody knows (RFC 7989 6). */
export function sessionValue(local: string, remote: string): string {
  return `${local || NIL};remote=${remote || NIL}`;
}
