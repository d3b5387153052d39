import type { Verb } from "./pool.ts";

/**
 * Removes subscriptions, each under its owner and fence. Against TAKE, as UPDATE_SUBSCRIPTIONS: one of the two finds no
 * row any more, or one of another owner. `a.one = 1`: see there.
 *
 * Rejected: removal by the id alone, since an id is random: an owner that was thought dead would end what another has
 * taken over and keeps alive.
 */
export const REMOVE_SUBSCRIPTIONS: Verb = {
  name: "remove-subscriptions",
  text: `
with asked as materialized (
  select a.* from json_to_recordset($1::json) as a(id text, owner text, fence bigint, one int)
  where a.one = 1
)
delete from codomain.subscriptions s
using asked a
where s.id = a.id and s.owner = a.owner and s.fence = a.fence`,
};

export interface RemoveAsk {
  readonly owner: string;
  readonly id: string;
  readonly fence: number;
}

/** As REMOVE_SUBSCRIPTIONS takes it, in a JSON array. */
export function askOfRemoval({ owner, id, fence }: RemoveAsk): object {
  return { id, owner, fence, one: 1 };
}
