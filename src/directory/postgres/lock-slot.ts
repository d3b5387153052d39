import type { Verb } from "./pool.ts";

/**
 * Locks the slot of a user, making it where he has none (concurrency.md 1). First statement of a transaction: what the
 * next ones read is as new as the lock.
 */
export const LOCK_SLOT: Verb = {
  name: "lock-slot",
  text: `
insert into codomain.slots as s (aor, epoch, verdict) values ($1, 0, 'kept')
on conflict (aor) do update set stored = s.stored`,
};

/** The same by one of his messages. No row: there is no such message. */
export const LOCK_SLOT_OF_MESSAGE: Verb = {
  name: "lock-slot-of-message",
  text: `
select s.aor from codomain.slots s
where s.aor = (select m.recipient from codomain.messages m where m.id = $1)
for update`,
};
