import { reconciliationContract } from "../contract/reconciliation.contract.ts";
import { twoOnPostgres } from "./two-on-postgres.ts";

const AGE = `
with turn as (update codomain.reconciler set lease_until = lease_until - $1 * interval '1 ms')
update codomain.findings set at = at - $1 * interval '1 ms'`;
const RESET = `
truncate codomain.reconciler, codomain.findings restart identity;
insert into codomain.reconciler default values`;

const postgres = twoOnPostgres({ age: AGE, reset: RESET, sweepMs: 50 });
reconciliationContract("on PostgreSQL", postgres.harness);
