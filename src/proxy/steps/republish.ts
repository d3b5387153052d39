import { meaningOf, upstreamStatus } from "../../federation/answers.ts";
import type { RelayPlan } from "../../federation/plan.ts";
import { mapBody } from "../../presence/map-identity.ts";
import { buildRequest, type HeaderPair } from "../../sip/message/build.ts";
import type { SipResponse } from "../../sip/message/message.ts";
import type { Reply } from "../../sip/transaction/outbound.ts";
import { DEFAULT_MAX_FORWARDS } from "../alterations.ts";
import type { Core } from "../core.ts";
import type { Exchange } from "../exchange.ts";
import { isSecure } from "../next-hop.ts";
import { createOutbound } from "../outbound.ts";
import { answer } from "../responses.ts";

/**
 * The body of a PUBLISH as the server that takes it is to read it: by the name it knows the user by. Null: it names nobody
 * by another name, and a proxy lets it be (RFC 3261 16.6).
 */
export function bodyForServer(exchange: Exchange, identity: string | null): string | null {
  const { request, aor } = exchange;
  const type = request.header("Content-Type");
  if (identity === null || exchange.method !== "PUBLISH" || request.body === "" || type === undefined) return null;
  const body = mapBody(type, request.body, aor, identity);
  return body === request.body ? null : body;
}

/**
 * models.md, "Proxy or back-to-back": a PUBLISH whose document must change is answered by us and published anew. Nothing is
 * kept of it: the server's entity-tag goes to the client as it is, and comes back in his next (RFC 3903 4.1), which
 * without a body is relayed, and with one published anew again.
 * @returns `not-here`: where the binding relied on is to be dropped for that; nothing is answered then.
 */
export async function republish(
  core: Core,
  exchange: Exchange,
  plan: RelayPlan,
  { uri, identity, body }: { readonly uri: string; readonly identity: string; readonly body: string },
): Promise<"answered" | "not-here"> {
  const { transaction } = exchange;
  const { random, clock } = core.runtime;
  const [tag, callId, maxForwards] = [random.token(10), random.token(24), exchange.request.maxForwards];
  const build = () =>
    buildRequest({
      method: "PUBLISH",
      uri,
      headers: [
        ["Max-Forwards", String((maxForwards ?? DEFAULT_MAX_FORWARDS + 1) - 1)],
        ["From", `<${publisher(exchange, identity)}>;tag=${tag}`],
        ["To", `<${uri}>`],
        ["Call-ID", callId],
        ["CSeq", "1 PUBLISH"],
        ...assertedBy(exchange, identity),
        ...headersOf(exchange.request, GOING_ON),
      ],
      body,
    });
  const timeoutMs = Math.max(1, transaction.receivedAt + core.options.decisionMs - clock.now());
  const options = { timeoutMs, size: exchange.request.raw.length, secure: isSecure(exchange.request) };
  const reply = await createOutbound(core).toServer(plan.server, build, options);
  if (transaction.completed) return "answered";
  const ending = typeof reply !== "string" ? reply.status : reply === "unreachable" ? "transport-error" : reply;
  if (meaningOf(ending) === "not-here" && plan.binding?.retry) return "not-here";
  respond(core, exchange, reply, typeof ending === "number" && ending < 300 ? ending : upstreamStatus(ending));
  return "answered";
}

/** What of a PUBLISH is for the server, and what of its answer for the client (RFC 3903 11, RFC 3261 22.3). */
const GOING_ON = [
  "Event",
  "Expires",
  "SIP-If-Match",
  "Content-Type",
  "Content-Encoding",
  "Content-Language",
  "Authorization",
  "Proxy-Authorization",
];
const COMING_BACK = [
  "SIP-ETag",
  "Expires",
  "Min-Expires",
  "Retry-After",
  "Allow-Events",
  "Accept",
  "WWW-Authenticate",
  "Proxy-Authenticate",
  "Warning",
];

function respond(core: Core, exchange: Exchange, reply: Reply, status: number): void {
  const theirs = typeof reply !== "string" && reply.status === status ? reply : null;
  answer(core, exchange, {
    status,
    ...(theirs === null ? {} : { phrase: theirs.reason, headers: headersOf(theirs, COMING_BACK) }),
    ...(theirs === null && status === 480 ? { retryAfter: core.options.retryAfterS } : {}),
  });
}

function headersOf(message: Exchange["request"] | SipResponse, names: readonly string[]): HeaderPair[] {
  return names.flatMap((name) => message.headers(name).map((value) => [name, value] as const));
}

/** The user himself by the name he has there; who publishes for him as he is called. */
function publisher({ request, sender, aor }: Exchange, identity: string): string {
  return sender.aor === aor ? `sip:${identity}` : request.from.uri.raw;
}

function assertedBy({ sender, aor }: Exchange, identity: string): HeaderPair[] {
  if (!sender.trusted) return [];
  return [["P-Asserted-Identity", `<sip:${sender.aor === aor ? identity : sender.aor}>`]];
}
