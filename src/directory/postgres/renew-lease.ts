import type { Verb } from "./pool.ts";

/**
 * Renews, unless somebody has declared the lease over. Against END_LAPSED the row's lock decides, in either order: who
 * waited looks at the row anew, `over` here, `lease_until` there (clock_timestamp(), so by the time after the wait). A
 * lease that has lapsed and was not declared over is simply renewed: nobody can have taken anything.
 *
 * The new end is counted from when the database writes it, which is after the proxy sent this, from where the proxy
 * counts: its own view always ends first.
 */
export const RENEW_LEASE: Verb = {
  name: "renew-lease",
  text: `
update codomain.proxies set lease_until = clock_timestamp() + $2::float8 * interval '1 ms'
where owner = $1 and not over
returning owner`,
};
