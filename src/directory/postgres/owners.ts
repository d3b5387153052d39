/**
 * Parts of statements: `owners`, everybody who owns a row, by one look into the index each, and `dead`, those of them
 * whose lease is over. To be put behind `with recursive`.
 *
 * "Over" is told from the statement's snapshot, without a lock: it is never taken back, and a name is never used again,
 * so what was true of an owner stays true. An owner without a row in codomain.proxies is over too; a row cannot appear
 * before its owner's lease, since that is committed before its name is known.
 *
 * Rejected: `select distinct owner`: reads the whole index. A foreign key: a lookup and a row lock per insert, on the one
 * row that the renewals update.
 */
export const DEAD_OWNERS = `
owners as (
  (select owner from codomain.subscriptions order by owner limit 1)
  union all
  select (select s.owner from codomain.subscriptions s where s.owner > o.owner order by s.owner limit 1)
  from owners o where o.owner is not null
),
dead as materialized (
  select o.owner from owners o
  where o.owner is not null
    and not exists (select from codomain.proxies p where p.owner = o.owner and not p.over)
)`;
