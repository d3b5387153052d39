import { movesContract } from "../contract/moves.contract.ts";
import { twoOnPostgres } from "./two-on-postgres.ts";

const AGE = `
update codomain.move_batches set
  created_at = created_at - $1 * interval '1 ms',
  ended_at = ended_at - $1 * interval '1 ms',
  lease_until = lease_until - $1 * interval '1 ms'`;
const RESET = "truncate codomain.move_batches, codomain.move_steps, codomain.slots, codomain.audit";

const postgres = twoOnPostgres({ age: AGE, reset: RESET, sweepMs: 50 });
movesContract("on PostgreSQL", postgres.harness);
