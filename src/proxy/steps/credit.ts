import { createHash } from "node:crypto";
import { DirectoryUnavailable } from "../../base/errors.ts";
import { creditFor } from "../../federation/credit.ts";
import type { CreditPlan } from "../../federation/plan.ts";
import type { Core } from "../core.ts";
import type { Exchange } from "../exchange.ts";
import { answer } from "../responses.ts";

/**
 * Spends a credit of the server that sends, if it has one: then this is what it was sent, sent on (models.md, "Unioned").
 * False: it was answered, since only the database knows (RFC 3261 10.3: 500).
 */
export async function spendCredit(core: Core, exchange: Exchange, plan: CreditPlan): Promise<boolean> {
  try {
    const spender = spenderOf(exchange);
    const spent = await core.directory.unions.spend(creditFor(exchange, plan.server), spender);
    exchange.credit = spent ? "spent" : "none";
    exchange.spender = spent ? spender : "";
  } catch (error) {
    if (!(error instanceof DirectoryUnavailable)) throw error;
    answer(core, exchange, { status: 500, retryAfter: core.options.retryAfterS });
    return false;
  }
  return !exchange.transaction.completed;
}

/** One transaction (RFC 3261 17.2.3): copies that a server makes of one request differ in their branch. */
export function spenderOf({ request }: Exchange): string {
  const { callId, cseq, via } = request;
  return createHash("sha256")
    .update(`${callId} ${cseq.number} ${via.branch ?? ""}`)
    .digest("base64url");
}
