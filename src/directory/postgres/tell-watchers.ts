import type { Verb } from "./pool.ts";

/** Only where somebody is told: most users' watchers come and go unheard. */
export const TELL_WATCHERS: Verb = {
  name: "tell-watchers",
  text: `
insert into codomain.changes (kind, aor)
select 'watchers', a.aor from unnest($1::text[]) as a(aor)
where exists (select from codomain.subscriptions s where s.aor = a.aor and s.kind = 'winfo')
order by a.aor
returning aor`,
};
