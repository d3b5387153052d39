import { warningValue } from "../federation/claim-answer.ts";
import type { RejectPlan } from "../federation/plan.ts";
import { buildResponse } from "../sip/message/build.ts";
import type { SipRequest, SipResponse } from "../sip/message/message.ts";
import type { Core } from "./core.ts";
import type { Exchange } from "./exchange.ts";

/** Answers this proxy gives by itself. */

export interface OwnAnswer {
  readonly status: number;
  readonly phrase?: string;
  /** Seconds. */
  readonly retryAfter?: number | null;
  /** Text of a Warning 399 (RFC 3261 20.43). */
  readonly warning?: string | null;
  readonly headers?: ReadonlyArray<readonly [string, string]>;
}

export function answer(core: Core, exchange: Exchange, own: OwnAnswer): void {
  exchange.respond(makeAnswer(core, exchange.transaction.request, own));
}

/** RFC 3261 8.2.6.2: a To tag is ours to add where there is none. */
export function makeAnswer(core: Core, request: SipRequest, own: OwnAnswer): SipResponse {
  const headers: Array<readonly [string, string]> = [];
  if (own.retryAfter != null) headers.push(["Retry-After", String(own.retryAfter)]);
  if (own.warning != null) headers.push(["Warning", warningValue(core.options.domains[0]!, own.warning)]);
  if (own.headers !== undefined) headers.push(...own.headers);
  return buildResponse(request, own.status, own.phrase, { toTag: core.runtime.random.token(10), headers });
}

export function reject(core: Core, exchange: Exchange, plan: RejectPlan): void {
  answer(core, exchange, plan);
}
