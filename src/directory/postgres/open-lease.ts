import type { Verb } from "./pool.ts";

/** Begins a lease. The name is the caller's own, new each time: an open whose answer was lost leaves one that lapses. */
export const OPEN_LEASE: Verb = {
  name: "open-lease",
  text: `
insert into codomain.proxies (owner, contact, lease_until)
values ($1, $2, clock_timestamp() + $3::float8 * interval '1 ms')`,
};
