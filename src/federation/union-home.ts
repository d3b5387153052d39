import { liveBinding } from "./construct.ts";
import type { Facts } from "./facts.ts";
import type { Reliance } from "./plan.ts";

/**
 * The one server of a unioned user that gets what can go to one only, REGISTER and PUBLISH among it: the one he is bound
 * to, else the home server, else the root of his tree or the first of his list; null: nobody but who asks. It stays the
 * same while that one is down, so that nothing is kept here and there.
 */
export function usersOwnServer(facts: Facts, members: readonly string[]): string | null {
  const asker = facts.origin.kind === "server" ? facts.origin.server : null;
  const { home } = facts.settings;
  for (const name of [liveBinding(facts)?.server, home, ...members]) {
    if (name != null && name !== asker && members.includes(name)) return name;
  }
  return null;
}

/** What that server answers says nothing of where he is: it neither teaches nor unlearns. */
export function ownReliance({ lookup }: Facts): Reliance {
  return { origin: "provisioned", epoch: lookup.state === "unavailable" ? 0 : lookup.epoch, retry: false };
}
