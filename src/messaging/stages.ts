import type { Plan } from "../federation/plan.ts";
import type { Verdict } from "./judge.ts";

/** Who is asked, all of one stage at once; empty: nobody can be now. */
export function stagesOf(plan: Plan): readonly (readonly string[])[] {
  switch (plan.kind) {
    case "relay":
    case "redirect":
      return [[plan.server]];
    case "fork":
      return plan.stages.flat().map((server) => [server]);
    case "spread":
      return plan.routing?.stages ?? [];
    default:
      return [];
  }
}

/** Identity and subdomain of the user at this server. */
export function namesAt(plan: Plan, server: string): [string | null, string | null] {
  if (plan.kind === "relay" || plan.kind === "redirect") return [plan.identity, plan.subdomain];
  if (plan.kind === "fork" || plan.kind === "spread") return [plan.identities?.[server] ?? null, null];
  return [null, null];
}

/**
 * Of a search only *not here* leads on, for whoever could not be asked may have him. A user of several servers gets it
 * from the first who takes it.
 */
export function leadsOn(verdict: Verdict, plan: Plan): boolean {
  return verdict.verdict === "kept" && (verdict.notHere || plan.kind === "spread");
}

/** Whoever was asked through it is asked in its place; 482: they were. */
export function isOut(verdict: Verdict | null): boolean {
  return verdict !== null && verdict.verdict === "kept" && verdict.status !== 482 && verdict.status !== 429;
}

/** Delivered if anybody took it; else kept as long as somebody who could not be asked may; a refusal before *not here*. */
export function bestVerdict(verdicts: readonly Verdict[]): Verdict {
  const rank = (each: Verdict): number =>
    each.verdict === "delivered" ? 0 : each.verdict === "final" ? 2 : each.notHere ? 3 : 1;
  return verdicts.reduce((best, each) => (rank(each) <= rank(best) ? each : best));
}
