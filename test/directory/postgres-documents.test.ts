import { userDocumentsContract } from "../contract/user-documents.contract.ts";
import { twoOnPostgres } from "./two-on-postgres.ts";

const RESET = "truncate codomain.slots, codomain.users, codomain.user_documents, codomain.audit";
const postgres = twoOnPostgres({ age: "select $1::float8", reset: RESET });
userDocumentsContract("on PostgreSQL", postgres.harness);
