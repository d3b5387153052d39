import { PIDF } from "../presence/closed-document.ts";
import { PIDF_DIFF_TYPE } from "../presence/pidf-diff.ts";
import { buildRequest, type HeaderPair } from "../sip/message/build.ts";
import type { SipRequest } from "../sip/message/message.ts";
import type { Flow } from "../sip/transport/transport.ts";
import { acceptForLeg } from "./accepts.ts";
import { contactAt } from "./contact.ts";
import type { Leg } from "./leg.ts";
import { legTag } from "./leg.ts";
import type { ServerName } from "./ports.ts";
import { sessionValue } from "./session-id.ts";
import type { Subscription } from "./subscription.ts";

/**
 * The SUBSCRIBE that opens a leg: on behalf of the watcher (P-Asserted-Identity where he was proved to be who he is,
 * RFC 3325), both named as the server knows them (models.md, "Identity and policy").
 * @param expires seconds.
 */
export function subscribeForLeg(
  subscription: Subscription,
  leg: Leg,
  names: { readonly user: ServerName; readonly watcher: ServerName },
  flow: Flow,
  { cseq, expires }: { readonly cseq: number; readonly expires: number },
): SipRequest {
  const watcher = `<${uriOf(names.watcher.identity)}>`;
  // RFC 3261 8.1.1.8: with a SIPS URI asked for, the Contact is one too.
  const scheme = (uri: string): string => (subscription.secure ? uri.replace(/^sip:/, "sips:") : uri);
  return buildRequest({
    method: "SUBSCRIBE",
    uri: scheme(names.user.uri),
    headers: [
      ["Max-Forwards", String(subscription.composed?.maxForwards ?? subscription.maxForwards)],
      ["Max-Breadth", String(breadthFor(subscription))],
      ["From", `${subscription.secretive ? ANONYMOUS : watcher};tag=${legTag(subscription.id, leg.number)}`],
      ["To", `<${scheme(uriOf(names.user.identity))}>`],
      ["Call-ID", leg.callId],
      ["CSeq", `${cseq} SUBSCRIBE`],
      ["Contact", `<${scheme(contactAt(flow.point))}>${instanceOf(subscription)}`],
      ...assertedHeaders(subscription, names.watcher, true),
      ...subscribeHeaders(subscription, expires, leg),
    ],
  });
}

/**
 * Who watches, as he was proved to us; in every SUBSCRIBE, for each is judged by itself.
 * @param isServer it goes to one that is trusted: who is to stay private is named to nobody else (RFC 3325 7). From is shown to
 *   users (RFC 3323 4.1.1.3).
 */
export function assertedHeaders(
  { trusted, secretive }: Subscription,
  watcher: ServerName,
  isServer: boolean,
): HeaderPair[] {
  const headers: HeaderPair[] = [];
  if (trusted && (isServer || !secretive)) headers.push(["P-Asserted-Identity", `<${uriOf(watcher.identity)}>`]);
  if (secretive) headers.push(["Privacy", "id"]);
  return headers;
}

/** What every SUBSCRIBE of a leg carries (RFC 6665 4.1.2.1). */
export function subscribeHeaders(subscription: Subscription, expires: number, leg: Leg): HeaderPair[] {
  const { composed } = subscription;
  const wanted = subscription.accept.split(", ").filter(Boolean);
  const accept = composed === null ? acceptForLeg(wanted, subscription.event) : ACCEPT_COMPOSED;
  const headers: HeaderPair[] = [
    ["Event", subscription.event],
    ["Expires", String(expires)],
  ];
  if (accept !== "") headers.push(["Accept", accept]);
  headers.push(...sessionOfLeg(subscription, leg));
  return headers;
}

/** RFC 7989 6: the session is the watcher's, end to end; who his peer is the server says, if it does. */
export function sessionOfLeg({ composed }: Subscription, { peer }: Leg): HeaderPair[] {
  return composed === null || composed.session === "" ? [] : [["Session-ID", sessionValue(composed.session, peer)]];
}

/** RFC 7332 6: of several that are asked in parallel a share each. */
function breadthFor({ composed, maxBreadth }: Subscription): number {
  return Math.max(1, Math.floor(maxBreadth / Math.max(1, composed?.children.length ?? 1)));
}

const ANONYMOUS = '"Anonymous" <sip:anonymous@anonymous.invalid>';

/** RFC 5263 4.1: differences are preferred. */
const ACCEPT_COMPOSED = `${PIDF};q=0.8, ${PIDF_DIFF_TYPE};q=1`;

/** RFC 5626 4.1, of the watcher's device: what tells it from his others. */
function instanceOf({ composed }: Subscription): string {
  return composed === null || composed.instance === "" ? "" : `;+sip.instance="${composed.instance}"`;
}

/** Of an AoR; one that is a URI already (tel) stays as it is. */
function uriOf(name: string): string {
  return /^[a-z][a-z0-9+.-]*:[^@]*$/i.test(name) && !/^\[?[^:]*:\d+$/.test(name) ? name : `sip:${name}`;
}
