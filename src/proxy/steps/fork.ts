import { DirectoryUnavailable } from "../../base/errors.ts";
import { splitBreadth } from "../../federation/loop-hash.ts";
import type { ForkPlan } from "../../federation/plan.ts";
import type { Core } from "../core.ts";
import type { Exchange } from "../exchange.ts";
import { ForkRun } from "../fork-run.ts";
import { breadthOf } from "../next-hop.ts";
import type { Entry } from "../open-forks.ts";
import { answer } from "../responses.ts";
import { type Known, lookUpFresh } from "./resolve.ts";

/**
 * Asks the servers who has the user (models.md, "Partitioned"): first the fork is recorded where every proxy sees it,
 * then, with the record in place, the directory is asked once more: somebody may have learned him a moment ago.
 */
export async function fork(
  core: Core,
  exchange: Exchange,
  plan: ForkPlan,
  replan: (known?: Known) => void,
): Promise<void> {
  const { aor: recipient, method, event, origin } = exchange;
  // RFC 5393 5.3.3: with less breadth than branches, an honest refusal instead of a search that misses somebody.
  const widest = Math.max(...plan.stages.map((stage) => stage.length));
  if (splitBreadth(breadthOf(core, exchange.request), widest) === null) {
    return answer(core, exchange, { status: 440, phrase: "Max-Breadth Exceeded" });
  }
  let entry: Entry;
  try {
    if (plan.unlearn !== null) await core.directory.unlearn(recipient, plan.unlearn.server, plan.unlearn.epoch);
    entry = await core.openForks.enter({
      sender: exchange.sender.aor,
      recipient,
      method,
      event,
      asked: plan.stages.flat(),
      origin: origin.kind === "server" ? origin.server : null,
      deadline: exchange.transaction.receivedAt + core.options.decisionMs,
      mayWait: !exchange.hasWaited,
    });
  } catch (error) {
    if (!(error instanceof DirectoryUnavailable)) throw error;
    return answer(core, exchange, { status: 500, retryAfter: core.options.retryAfterS });
  }
  switch (entry.kind) {
    case "not-mine":
      return answer(core, exchange, { status: 404 });
    case "too-late":
      return answer(core, exchange, { status: 480, retryAfter: core.options.retryAfterS });
    case "waited":
      exchange.hasWaited = true;
      return entry.result?.result === "all-said-404" ? replan(justSaid404(core, exchange)) : replan();
  }
  const now = await lookUpFresh(core, recipient);
  if (exchange.transaction.completed) return entry.fork.close({ result: "inconclusive" }, 0);
  if (now.state === "bound" && !exchange.without.includes(now.binding.server)) {
    const { server, expiresAt } = now.binding;
    entry.fork.close({ result: "learned", server }, expiresAt ?? core.runtime.clock.wall() + core.options.learnedMs);
    return replan();
  }
  new ForkRun(core, exchange, plan, entry.fork).start();
}

/** The result of the fork that was waited for is this request's too. */
function justSaid404(core: Core, exchange: Exchange): Known {
  const lookup = exchange.facts?.lookup;
  const epoch = lookup === undefined || lookup.state === "unavailable" ? 0 : lookup.epoch;
  return { state: "all-said-404", epoch, until: core.runtime.clock.wall() + 1 };
}
