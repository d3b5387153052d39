import type { SipRequest } from "../sip/message/message.ts";

/** What a SUBSCRIBE is refused for by whoever is its server, whatever it asks for. */

/**
 * What is kept of a SUBSCRIBE is bounded, and is text that a database takes: 513 where its Contact and route are longer than
 * anybody honest's, 400 for control characters where none belong. Null: it can be kept.
 */
export function unkeepable(request: SipRequest): 400 | 513 | null {
  const kept = [...request.headers("Accept"), ...request.headers("Event")];
  if (kept.some((value) => CONTROL.test(value))) return 400;
  const names = ["From", "To", "Call-ID", "Contact", "Record-Route", "Event"].flatMap((name) => request.headers(name));
  return names.reduce((sum, value) => sum + value.length, 0) > MOST_KEPT ? 513 : null;
}

const CONTROL = /[\0-\x08\x0a-\x1f\x7f]/;
/** Octets. */
const MOST_KEPT = 8_000;

/** RFC 3261 8.2.2.3: extensions that must be understood; of those we, who answer, have none. Null: none is required. */
export function unsupported(request: SipRequest): string | null {
  return request.has("Require") ? request.values("Require").join(", ") : null;
}

/**
 * RFC 3261 8.2.3, RFC 4660 3.3: a body that is not understood, and is not said to be optional, is refused. Filters are
 * among them: a watcher who is told so subscribes without.
 */
export function isUnreadable(request: SipRequest): boolean {
  return (
    request.body !== "" && !/;[ \t]*handling[ \t]*=[ \t]*"?optional/i.test(request.header("Content-Disposition") ?? "")
  );
}
