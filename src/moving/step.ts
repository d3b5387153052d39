import type { ClaimOutcome, Lookup } from "../directory/directory.ts";
import type { EndedStep, MoveStep } from "../directory/moves.ts";
import type { ModelFacts } from "../federation/facts.ts";

/**
 * The judgement of one step of a batch, pure: before the move by what the directory knows, after it by what the move
 * answered. The same functions answer a dry run.
 */

export type Judged =
  /** To be moved from this server at this epoch, and no other. */
  | { readonly verdict: "go"; readonly from: string; readonly epoch: number; readonly equalRank: boolean }
  /** An earlier try did it, and its answer was lost. */
  | { readonly verdict: "done"; readonly epoch: number }
  | { readonly verdict: "refused"; readonly reason: string };

/** What of a step the judgement needs. */
export type Asked = Pick<MoveStep, "from" | "to" | "onlyEpoch" | "epochBefore">;

export function judgeStep(step: Asked, lookup: Lookup, model: ModelFacts): Judged {
  if (lookup.state === "no-record") return refused("there is no such user");
  if (lookup.state !== "bound") return refused("he is on no server");
  const { server, epoch, origin } = lookup.binding;
  if (server === step.to) {
    return isOwnWork(step, epoch, origin) ? { verdict: "done", epoch } : refused(`he is on ${server} already`);
  }
  if (model.model === "unioned") return refused("his model is unioned: he is on several servers");
  if (step.from !== null && step.from !== server) return refused(`he is on ${server}`);
  if (step.onlyEpoch !== null && step.onlyEpoch !== epoch)
    return refused(`he was moved since, and is on ${server} again`);
  const equalRank = model.model === "exclusive";
  if (equalRank && origin === "provisioned") return refused(`he is provisioned on ${server}`);
  return { verdict: "go", from: server, epoch, equalRank };
}

/** A server change raises the epoch by one, so a move by an admin from the epoch written down can be told from any other. */
function isOwnWork({ epochBefore }: Pick<Asked, "epochBefore">, epoch: number, origin: string): boolean {
  return epochBefore !== null && epoch === epochBefore + 1 && origin === "admin";
}

/** What became of it. @param begun from where, and at which epoch. */
export function endOf(
  position: number,
  begun: { readonly from: string; readonly epoch: number },
  outcome: ClaimOutcome,
): EndedStep {
  if (outcome.outcome === "bound") {
    const { server, epoch, origin } = outcome.binding;
    if (outcome.changed || isOwnWork({ epochBefore: begun.epoch }, epoch, origin)) {
      return { position, state: "moved", epoch, reason: null };
    }
    return { position, state: "refused", epoch: null, reason: `he is on ${server} already` };
  }
  const { binding } = outcome;
  return { position, state: "refused", epoch: null, reason: refusalOf(begun, binding) };
}

function refusalOf(begun: { readonly from: string; readonly epoch: number }, binding: HeldBinding): string {
  if (binding === null) return "he was unbound meanwhile";
  if (binding.server !== begun.from) return `he moved to ${binding.server} meanwhile`;
  if (binding.epoch !== begun.epoch) return `he was moved meanwhile, and is on ${binding.server} again`;
  return `${binding.server} holds him (${binding.origin})`;
}

type HeldBinding = Extract<ClaimOutcome, { outcome: "stale" }>["binding"];

function refused(reason: string): Judged {
  return { verdict: "refused", reason };
}
