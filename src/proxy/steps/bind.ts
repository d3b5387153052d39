import { DirectoryUnavailable } from "../../base/errors.ts";
import type { Claim, ClaimOutcome, UnbindOutcome } from "../../directory/directory.ts";
import { meaningOf } from "../../federation/answers.ts";
import { answerToClaim, type ClaimAnswer, OVERTAKEN } from "../../federation/claim-answer.ts";
import type { BindPlan, Plan } from "../../federation/plan.ts";
import {
  claimFor,
  grantedContacts,
  grantedExpires,
  type Registration,
  registeredFor,
  registrationOf,
  unbindFor,
} from "../../federation/register.ts";
import type { SipRequest, SipResponse } from "../../sip/message/message.ts";
import type { BranchResult } from "../branch.ts";
import type { Core } from "../core.ts";
import type { Exchange } from "../exchange.ts";
import { answer } from "../responses.ts";
import { SingleBranch, upstream } from "../single-branch.ts";
import { publish } from "./publish.ts";
import { forwardFinal, searchAgain, wayTo } from "./relay.ts";
import { UNREAD } from "./resolve.ts";

/** REGISTER and PUBLISH that bind: a server's own is judged and answered here, a client's is relayed and judged by its 2xx. */
export function bind(core: Core, exchange: Exchange, plan: BindPlan, replan: () => void): Promise<void> {
  return plan.relayTo === null
    ? answerClaim(core, exchange, plan, replan)
    : relayClaim(core, exchange, plan, plan.relayTo, replan);
}

/** A server's own, which is judged here by what it says. */
export function isOwnClaim(plan: Plan): boolean {
  return plan.kind === "bind" && plan.action === "claim" && plan.relayTo === null;
}

async function answerClaim(core: Core, exchange: Exchange, plan: BindPlan, replan: () => void): Promise<void> {
  if (plan.origin === "published") return publish(core, exchange, plan, { claim, unbind, refuse });
  const registration = registrationOf(exchange.request);
  if (registration.kind === "fault") {
    const headers = registration.minExpires === null ? [] : [["Min-Expires", String(registration.minExpires)] as const];
    return answer(core, exchange, { status: registration.status, phrase: registration.reason, headers });
  }
  const seconds = grantedExpires(registration);
  if (plan.action === "none") {
    if (seconds > 0 && hasStored(exchange)) core.handlers.claimedAgain(exchange.aor);
    return succeed(core, exchange, registration);
  }
  if (plan.action === "deregister") {
    const outcome = await unbind(core, exchange, plan);
    if (outcome === null) return;
    if (outcome.outcome === "overtaken") return refuse(core, exchange, OVERTAKEN);
    return succeed(core, exchange, registration);
  }
  const isUnread = exchange.facts?.lookup === UNREAD;
  const outcome = await (isUnread ? claimUnread : claim)(core, exchange, plan, seconds);
  if (outcome === "recorded") return replan();
  if (outcome === null) return;
  const verdict = answerToClaim(outcome, plan.server, plan.refuseWith, plan.damping?.windowMs);
  if (verdict.status === 200) return succeed(core, exchange, registration);
  refuse(core, exchange, verdict);
}

/** RFC 3261 10.3 step 8. */
function succeed(core: Core, exchange: Exchange, registration: Registration): void {
  const headers: Array<readonly [string, string]> = [];
  for (const contact of grantedContacts(registration)) headers.push(["Contact", contact]);
  headers.push(["Date", new Date(core.runtime.clock.wall()).toUTCString()]);
  answer(core, exchange, { status: 200, headers });
}

function refuse(core: Core, exchange: Exchange, verdict: ClaimAnswer): void {
  const { status, phrase, warning, redirectTo, retryAfter } = verdict;
  const holder = redirectTo === null ? undefined : core.rotation.server(redirectTo)?.nodes[0];
  const headers = holder === undefined ? [] : [["Contact", `<${holder.raw}>`] as const];
  answer(core, exchange, { status, phrase, warning, retryAfter, headers });
}

async function relayClaim(
  core: Core,
  exchange: Exchange,
  plan: BindPlan,
  server: string,
  replan: () => void,
): Promise<void> {
  const path = pathFor(exchange);
  const way = await wayTo(core, exchange, {
    server,
    subdomain: null,
    identity: null,
    path,
    fork: undefined,
    maxBreadth: undefined,
  });
  const end = (result: BranchResult): void => {
    if (result === "cancelled") return exchange.drop();
    if (typeof result === "string") return forwardFinal(core, exchange, result);
    if (plan.binding?.retry && meaningOf(result.status) === "not-here") {
      return searchAgain(core, exchange, server, plan.binding.epoch, replan);
    }
    if (result.status >= 300) return forwardFinal(core, exchange, result);
    settle(core, exchange, plan, result).catch(() => answer(core, exchange, { status: 500 }));
  };
  new SingleBranch(exchange, end).start(core, way);
}

/** The registrar's 2xx lists every contact: none left unbinds, the latest expiry binds (models.md, "Exclusive"). */
async function settle(core: Core, exchange: Exchange, plan: BindPlan, response: SipResponse): Promise<void> {
  if (registrationOf(exchange.transaction.request).kind === "query") return exchange.respond(upstream(response));
  const seconds = registeredFor(response);
  if (seconds === 0) {
    // One that was overtaken changes nothing: the registrar has ordered the client's requests already.
    if ((await unbind(core, exchange, plan)) !== null) exchange.respond(upstream(response));
    return;
  }
  const outcome = await claim(core, exchange, plan, seconds);
  if (outcome === null) return;
  const verdict = answerToClaim(outcome, plan.server, plan.refuseWith, plan.damping?.windowMs);
  // The registrar has ordered the client's requests already: a crossing answer of the same server changes nothing.
  if (verdict.status === 200 || (outcome.outcome !== "bound" && outcome.binding?.server === plan.server)) {
    return exchange.respond(upstream(response));
  }
  refuse(core, exchange, verdict);
}

/** Null: the directory is away, and that was answered (RFC 3261 10.3: 500). */
async function claim(core: Core, exchange: Exchange, plan: BindPlan, seconds: number): Promise<ClaimOutcome | null> {
  try {
    const outcome = await core.directory.claim(asked(core, exchange, plan, seconds));
    return tell(core, exchange, plan, outcome, hasStored(exchange));
  } catch (error) {
    return away(core, exchange, error);
  }
}

/** As above, of a user who was not looked up. `recorded`: nothing was done, since he has a record of his own. */
async function claimUnread(
  core: Core,
  exchange: Exchange,
  plan: BindPlan,
  seconds: number,
): Promise<ClaimOutcome | "recorded" | null> {
  try {
    const claimed = await core.directory.claimUnread(asked(core, exchange, plan, seconds));
    return claimed === null ? "recorded" : tell(core, exchange, plan, claimed.outcome, claimed.stored);
  } catch (error) {
    return away(core, exchange, error);
  }
}

function asked(core: Core, exchange: Exchange, plan: BindPlan, seconds: number): Claim {
  const expiresAt = core.runtime.clock.wall() + seconds * 1000;
  return claimFor(plan, exchange.aor, exchange.transaction.request, expiresAt, actor(plan, exchange));
}

function tell(core: Core, { aor }: Exchange, plan: BindPlan, outcome: ClaimOutcome, stored: boolean): ClaimOutcome {
  if (outcome.outcome === "bound") {
    const { server, origin, epoch } = outcome.binding;
    core.telemetry.emit("bound", { aor, server, origin, epoch, changed: outcome.changed });
    if (!outcome.changed && stored) core.handlers.claimedAgain(aor);
  } else {
    const holder = outcome.binding?.server ?? null;
    core.telemetry.emit("refused", { aor, server: plan.server, holder, reason: outcome.outcome });
  }
  return outcome;
}

/** Null: as above. */
async function unbind(core: Core, exchange: Exchange, plan: BindPlan): Promise<UnbindOutcome | null> {
  const { aor, transaction } = exchange;
  try {
    return await core.directory.unbind(unbindFor(plan, aor, transaction.request, actor(plan, exchange)));
  } catch (error) {
    return away(core, exchange, error);
  }
}

function away(core: Core, exchange: Exchange, error: unknown): null {
  if (!(error instanceof DirectoryUnavailable)) throw error;
  answer(core, exchange, { status: 500, retryAfter: core.options.retryAfterS });
  return null;
}

function actor(plan: BindPlan, exchange: Exchange): string {
  return plan.relayTo === null ? `server:${plan.server}` : `client:${exchange.aor}`;
}

/** RFC 3327 5.2: only for a UA that says it knows Path; it leads requests back over the client's own connection. */
function pathFor(exchange: Exchange): number | undefined {
  const request: SipRequest = exchange.request;
  if (!request.values("Supported").some((tag) => tag.toLowerCase() === "path")) return undefined;
  return exchange.transaction.flow.connectionId;
}

function hasStored({ facts }: Exchange): boolean {
  const lookup = facts?.lookup;
  return lookup !== undefined && "stored" in lookup && lookup.stored === true;
}
