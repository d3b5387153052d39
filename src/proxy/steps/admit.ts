import type { Core } from "../core.ts";
import type { Exchange } from "../exchange.ts";
import { breadthOf } from "../next-hop.ts";
import { answer } from "../responses.ts";
import { ALLOWED } from "./own.ts";

/** RFC 3261 16.3: may this request be forwarded at all? True: it was answered. */
export function admit(core: Core, exchange: Exchange): boolean {
  const { request } = exchange;
  if (request.maxForwards === 0) {
    // 16.3 step 3: an OPTIONS that may go no further is answered here.
    if (request.method === "OPTIONS") answer(core, exchange, { status: 200, headers: ALLOWED });
    else tooManyHops(core, exchange);
    return true;
  }
  if (request.has("Proxy-Require")) {
    const required = request.values("Proxy-Require").join(", ");
    answer(core, exchange, { status: 420, phrase: "Bad Extension", headers: [["Unsupported", required]] });
    return true;
  }
  // RFC 5393 5.3.3: what brings no breadth cannot go on, not even to one.
  if (breadthOf(core, request) < 1) {
    answer(core, exchange, { status: 440, phrase: "Max-Breadth Exceeded" });
    return true;
  }
  if (core.draining && !request.to.tag) {
    answer(core, exchange, { status: 503, phrase: "Service Unavailable", retryAfter: core.options.retryAfterS });
    return true;
  }
  return false;
}

function tooManyHops(core: Core, exchange: Exchange): void {
  core.telemetry.emit("loop", { callId: exchange.request.callId, status: 483, reason: "Max-Forwards is 0" });
  answer(core, exchange, { status: 483, phrase: "Too Many Hops" });
}
