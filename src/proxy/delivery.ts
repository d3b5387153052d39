import type { StoredMessage } from "../directory/messages.ts";
import { CREDIT_MS } from "../federation/credit.ts";
import { decide } from "../federation/decide.ts";
import type { Facts } from "../federation/facts.ts";
import type { Plan } from "../federation/plan.ts";
import { NO_DISPOSITION } from "../federation/routing-choice.ts";
import { SipRequest } from "../sip/message/message.ts";
import { parseMessage } from "../sip/message/parse.ts";
import type { Core } from "./core.ts";
import { dispositionFor } from "./disposition.ts";
import { grantsFor } from "./returns.ts";
import { gatherFacts } from "./steps/facts.ts";
import { lookUpFresh } from "./steps/resolve.ts";
import { fetchable, insteadOf } from "./steps/spread.ts";

/** Where a stored message goes now. */
export interface Delivery {
  readonly plan: Plan;
  /** To be called before it is sent to these: what they may send on is on record then. Rejects with DirectoryUnavailable. */
  allow(servers: readonly string[]): Promise<void>;
  /** In a tree, of one that sends on to its children by itself: who is asked in its place. */
  instead(server: string): readonly string[];
}

/** As traffic would be told; asked by whoever delivers what was stored. */
export async function planDelivery(core: Core, message: StoredMessage): Promise<Delivery> {
  const { recipient } = message;
  const known = await lookUpFresh(core, recipient);
  const facts = gatherFacts(core, { ...FROM_NOBODY, aor: recipient }, known);
  const plan = decide(facts);
  if (plan.kind !== "spread") return { plan, allow: () => Promise.resolve(), instead: () => [] };
  // Among peers the server that it came from has it already.
  const servers = isPeer(facts) ? plan.servers.filter((server) => server !== message.origin) : plan.servers;
  const request = requestOf(message);
  const setting = await core.imRouting.settingOf(recipient);
  await core.imRouting.prepare(recipient, setting, fetchable(core, servers));
  const disposition = request === null ? NO_DISPOSITION : dispositionFor(request);
  const routing =
    servers.length === 0
      ? undefined
      : core.imRouting.choose(recipient, setting, { method: "MESSAGE", servers, disposition });
  const below = insteadOf({ facts });
  return {
    plan: { ...plan, servers, ...(routing === undefined ? {} : { routing }) },
    instead: (server) => below[server] ?? [],
    async allow(asked) {
      if (request === null) return;
      const sent = { request, event: "", aor: recipient, sender: { aor: message.sender }, facts };
      const grants = grantsFor(sent, plan, asked);
      if (grants.length === 0) return;
      const id = core.runtime.random.token(20);
      await core.directory.unions.grant(id, grants, core.runtime.clock.wall() + CREDIT_MS);
    },
  };
}

const FROM_NOBODY = {
  method: "MESSAGE",
  event: "",
  origin: { kind: "client", authenticated: null },
  regServer: null,
  sender: { aor: "", trusted: false },
  claim: "client",
  mayQueue: false,
  direction: "up",
  credit: "unasked",
  without: [],
} as const;

function isPeer({ model }: Facts): boolean {
  return model.model === "unioned" && model.style === "peer";
}

/** Null: what was stored cannot be read, as whoever sends it will find. */
function requestOf({ request }: StoredMessage): SipRequest | null {
  try {
    const parsed = parseMessage(request);
    return parsed instanceof SipRequest ? parsed : null;
  } catch {
    return null;
  }
}
