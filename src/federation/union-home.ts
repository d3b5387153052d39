import { liveBinding } from "./construct.ts";
import type { Facts } from "./facts.ts";
import type { Reliance } from "./plan.ts";

/**
 * The one server of a unioned user that gets what can go to one only, REGISTER and PUBLISH among it: the one he is bound
 * to, else the home server, else the root of his tree or the first of his list. It stays the same while that one is down,
 * so that nothing is kept here and there, and whoever asks, so that what it sends on to us goes no further.
 * @param members his servers; not empty.
 */
export function usersOwnServer(facts: Facts, members: readonly string[]): string {
  for (const name of [liveBinding(facts)?.server, facts.settings.home]) {
    if (name != null && members.includes(name)) return name;
  }
  return members[0]!;
}

/** What that server answers says nothing of where he is: it neither teaches nor unlearns. */
export function ownReliance({ lookup }: Facts): Reliance {
  return { origin: "provisioned", epoch: lookup.state === "unavailable" ? 0 : lookup.epoch, retry: false };
}
