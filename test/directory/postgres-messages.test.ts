import { messagesContract } from "../contract/messages.contract.ts";
import { twoOnPostgres } from "./two-on-postgres.ts";

const AGE = `
with messages as (
  update codomain.messages set expires_at = expires_at - $1 * interval '1 ms', ended_at = ended_at - $1 * interval '1 ms'
)
update codomain.message_queues set due_at = due_at - $1 * interval '1 ms'`;
const RESET =
  "truncate codomain.slots, codomain.messages, codomain.message_trace, codomain.message_queues, codomain.audit";

const postgres = twoOnPostgres({ age: AGE, reset: RESET });
messagesContract("on PostgreSQL", postgres.harness);
