import type { ClaimOutcome, UnbindOutcome } from "../../directory/directory.ts";
import { answerToClaim, type ClaimAnswer } from "../../federation/claim-answer.ts";
import type { BindPlan } from "../../federation/plan.ts";
import { entityTag, PUBLISHED_TYPE, publicationOf } from "../../federation/publish.ts";
import { EXPIRY } from "../../federation/register.ts";
import type { Core } from "../core.ts";
import type { Exchange } from "../exchange.ts";
import { answer } from "../responses.ts";

/** What a claim and a deregistration have in common, by whatever request they come. */
export interface Deeds {
  claim(core: Core, exchange: Exchange, plan: BindPlan, seconds: number): Promise<ClaimOutcome | null>;
  unbind(core: Core, exchange: Exchange, plan: BindPlan): Promise<UnbindOutcome | null>;
  refuse(core: Core, exchange: Exchange, verdict: ClaimAnswer): void;
}

/** A server's own PUBLISH, answered as a compositor that keeps nothing (RFC 3903 6). */
export async function publish(core: Core, exchange: Exchange, plan: BindPlan, deeds: Deeds): Promise<void> {
  const { request } = exchange;
  const publication = publicationOf(request);
  if (publication.kind === "fault") {
    const headers = publication.status === 415 ? [["Accept", PUBLISHED_TYPE] as const] : [];
    return answer(core, exchange, { status: publication.status, phrase: publication.reason, headers });
  }
  const seconds = Math.min(request.expires ?? EXPIRY.default, EXPIRY.max);
  if (plan.action === "none") return succeed(core, exchange, exchange.epoch, seconds);
  const given = publication.kind === "conditional" ? publication.epoch : undefined;
  if (given === null) return unknownTag(core, exchange);
  if (plan.action === "deregister") return withdraw(core, exchange, plan, given, deeds);
  const outcome = await deeds.claim(core, exchange, plan, seconds);
  if (outcome === null) return;
  if (outcome.outcome !== "bound") {
    // Nobody has him: what was published has run out, and is to be published anew.
    if (given !== undefined && outcome.binding === null) return unknownTag(core, exchange);
    return deeds.refuse(core, exchange, answerToClaim(outcome, plan.server, plan.refuseWith, plan.damping?.windowMs));
  }
  const { epoch } = outcome.binding;
  if (given !== undefined && given !== epoch) return unknownTag(core, exchange);
  succeed(core, exchange, epoch, seconds);
}

/** Expires 0. @param given the epoch of the tag; undefined: there was none, and nothing can be withdrawn without. */
async function withdraw(
  core: Core,
  exchange: Exchange,
  plan: BindPlan,
  given: number | undefined,
  deeds: Deeds,
): Promise<void> {
  if (given === undefined) return succeed(core, exchange, exchange.epoch, 0);
  const outcome = await deeds.unbind(core, exchange, {
    ...plan,
    binding: { origin: "published", epoch: given, retry: false },
  });
  if (outcome === null) return;
  if (outcome.outcome !== "unbound") return unknownTag(core, exchange);
  succeed(core, exchange, outcome.epoch, 0);
}

function succeed(core: Core, exchange: Exchange, epoch: number, seconds: number): void {
  const tag = entityTag(epoch, core.runtime.random.token(16));
  const headers = [["SIP-ETag", tag] as const, ["Expires", String(seconds)] as const];
  answer(core, exchange, { status: 200, headers });
}

/** RFC 3903 6 step 3. */
function unknownTag(core: Core, exchange: Exchange): void {
  answer(core, exchange, { status: 412, phrase: "Conditional Request Failed" });
}
