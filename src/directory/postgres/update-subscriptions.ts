import type { SubscriptionState } from "../subscriptions.ts";
import { stateColumns } from "./insert-subscriptions.ts";
import type { Verb } from "./pool.ts";

/**
 * Writes the state of subscriptions, a batch in one statement, each under its owner and fence; no row comes back for one
 * that is lost. What is judged is the locked row: whoever waited for its lock looks at owner, fence and revision anew.
 *
 * - Against TAKE: where this is first, TAKE passes over the row while it is locked and afterwards begins from what was
 *   written here; where TAKE is first, the owner is another and nothing is written. Owner and fence change in one write,
 *   and a fence is never used twice, so there is no third way.
 * - Against END_LAPSED: an owner that is over may still write, until the row is taken. It sends nothing any more, and
 *   who takes the row begins from what is written last.
 * - Against an update of the same owner whose answer was lost, and which gets here after a newer one (over a connection
 *   that was thought dead): its revision is behind, and a reserve of CSeqs that was told as done is never taken back.
 *
 * Rejected: `greatest()` on the reserves in place of a revision: the dialog and the leg would go back all the same.
 * `where owner = …` alone: an owner never gets a row back that it has lost, but by the fence a test can tell.
 * `a.one = 1`: see INSERT_SUBSCRIPTIONS.
 */
export const UPDATE_SUBSCRIPTIONS: Verb = {
  name: "update-subscriptions",
  text: `
with asked as materialized (
  select a.* from json_to_recordset($1::json) as a(
    id text, owner text, fence bigint, revision bigint, dialog text, expires float8, notify_reserved bigint, leg text,
    leg_server text, leg_reserved bigint, extended_epoch bigint, one int)
  where a.one = 1
)
update codomain.subscriptions s set
  revision = a.revision, dialog = a.dialog, expires_at = to_timestamp(a.expires / 1000),
  notify_reserved = a.notify_reserved, leg = a.leg, leg_server = a.leg_server, leg_reserved = a.leg_reserved,
  extended_epoch = a.extended_epoch
from asked a
where s.id = a.id and s.owner = a.owner and s.fence = a.fence and s.revision < a.revision
returning s.id`,
};

export interface UpdateAsk {
  readonly owner: string;
  readonly id: string;
  readonly fence: number;
  /** Greater than of every earlier update by this process. */
  readonly revision: number;
  readonly state: SubscriptionState;
}

/** As UPDATE_SUBSCRIPTIONS takes it, in a JSON array. */
export function askOfUpdate({ owner, id, fence, revision, state }: UpdateAsk): object {
  return { id, owner, fence, revision, ...stateColumns(state), one: 1 };
}
