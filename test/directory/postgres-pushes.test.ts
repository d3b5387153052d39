import { pushesContract } from "../contract/pushes.contract.ts";
import { twoOnPostgres } from "./two-on-postgres.ts";

const AGE = `
update codomain.pushes set
  due_at = due_at - $1 * interval '1 ms', taken_until = taken_until - $1 * interval '1 ms'`;

const postgres = twoOnPostgres({ age: AGE, reset: "truncate codomain.pushes", sweepMs: 50 });
pushesContract("on PostgreSQL", postgres.harness);
