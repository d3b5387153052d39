import { decide } from "../federation/decide.ts";
import type { Plan } from "../federation/plan.ts";
import type { Core } from "./core.ts";
import { gatherFacts } from "./steps/facts.ts";
import { lookUpFresh } from "./steps/resolve.ts";

/** Where a MESSAGE for this user goes now, as traffic would be told; asked by whoever delivers what was stored. */
export async function planDelivery(core: Core, recipient: string): Promise<Plan> {
  const asked = {
    method: "MESSAGE",
    event: "",
    origin: { kind: "client", authenticated: null } as const,
    aor: recipient,
    regServer: null,
    sender: { aor: "", trusted: false },
    claim: "client" as const,
    mayQueue: false,
    direction: "up" as const,
    credit: "unasked" as const,
    without: [],
  };
  return decide(gatherFacts(core, asked, await lookUpFresh(core, recipient)));
}
