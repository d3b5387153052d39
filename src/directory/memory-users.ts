import type { Change, Credentials, NamedUser, UserQuery, UserRecord, UserRow } from "./directory.ts";
import { currentBinding, judgeUnbind, type Slot } from "./judge.ts";
import type { MemoryAudit } from "./memory-audit.ts";
import { dropDocuments } from "./memory-documents.ts";
import type { MemoryAccess } from "./memory-leases.ts";
import type { MemoryStore } from "./memory-store.ts";
import type { Statement } from "./memory-transaction.ts";
import { MOST_USERS } from "./rows.ts";

/** The twin of `postgres/users.ts` and `postgres/credentials.ts`. */
export class MemoryUsers {
  readonly #store: MemoryStore;
  readonly #access: MemoryAccess;
  readonly #audit: MemoryAudit;
  readonly #emit: (change: Change) => void;

  constructor(store: MemoryStore, access: MemoryAccess, audit: MemoryAudit, emit: (change: Change) => void) {
    this.#store = store;
    this.#access = access;
    this.#audit = audit;
    this.#emit = emit;
  }

  list(query: UserQuery): Promise<readonly UserRow[]> {
    return this.#access.ask(async (s) => {
      const aors = new Set([...s.scan("users").map(([aor]) => aor), ...s.scan("slots").map(([aor]) => aor)]);
      const wanted = [...aors]
        .filter((aor) => query.prefix === undefined || aor.startsWith(query.prefix))
        .filter((aor) => query.after === undefined || aor > query.after)
        .sort((a, b) => (a < b ? -1 : 1));
      const rows: UserRow[] = [];
      for (const aor of wanted) {
        if (rows.length >= Math.min(query.limit, MOST_USERS)) break;
        const row = this.#row(s, aor);
        if (row === null) continue;
        if (query.server === undefined || row.binding?.server === query.server) rows.push(row);
      }
      return rows;
    });
  }

  named(after: string, limit: number): Promise<readonly NamedUser[]> {
    return this.#access.ask(async (s) =>
      s
        .scan<UserRecord>("users")
        .map(([, { aor, identities }]) => ({ aor, identities }))
        .filter(({ aor, identities }) => aor > after && Object.keys(identities).length > 0)
        .sort((a, b) => (a.aor < b.aor ? -1 : 1))
        .slice(0, Math.min(limit, MOST_USERS)),
    );
  }

  one(aor: string): Promise<UserRow | null> {
    return this.#access.ask(async (s) => this.#row(s, aor));
  }

  async put(record: UserRecord, actor: string): Promise<void> {
    await this.#access.write(async (s) => {
      const before = (await s.lock<UserRecord>("users", record.aor)) ?? null;
      s.write("users", record.aor, record);
      s.tell({ kind: "user", aor: record.aor });
      this.#audit.note(s, actor, before === null ? "add-user" : "change-user", record.aor, before, record);
    });
    this.#emit({ kind: "user", aor: record.aor });
  }

  async remove(aor: string, actor: string): Promise<boolean> {
    const removed = await this.#access.write(async (s) => {
      const slot = await s.lock<Slot>("slots", aor);
      const user = await s.lock<UserRecord>("users", aor);
      const credentials = await s.lock<Credentials>("credentials", aor);
      const unbound = judgeUnbind(slot, { aor, actor }, this.#now());
      const wasBound = unbound.outcome.outcome === "unbound";
      const documents = await dropDocuments(s, aor);
      if (!wasBound && user === undefined && credentials === undefined && documents.length === 0) return null;
      if (unbound.outcome.outcome === "unbound" && unbound.slot !== null) {
        const { epoch, previous } = unbound.outcome;
        s.write("slots", aor, unbound.slot);
        s.tell({ kind: "binding", aor, server: null, previous: previous.server, epoch });
      }
      s.write("users", aor, undefined);
      s.write("credentials", aor, undefined);
      s.tell({ kind: "user", aor });
      this.#audit.note(s, actor, "remove-user", aor, user ?? null, null);
      return documents;
    });
    for (const document of removed ?? []) this.#emit({ kind: "document", aor, document });
    if (removed !== null) this.#emit({ kind: "user", aor });
    return removed !== null;
  }

  credentials(aor: string): Promise<Credentials | null> {
    return this.#access.ask(async (s) => s.read<Credentials>("credentials", aor) ?? null);
  }

  putCredentials(credentials: Credentials, actor: string): Promise<void> {
    return this.#access.write(async (s) => {
      await s.lock("credentials", credentials.aor);
      s.write("credentials", credentials.aor, credentials);
      this.#audit.note(s, actor, "set-credentials", credentials.aor, null, { realm: credentials.realm });
    });
  }

  #row(s: Statement, aor: string): UserRow | null {
    const record = s.read<UserRecord>("users", aor) ?? null;
    const { epoch, binding } = currentBinding(aor, s.read<Slot>("slots", aor), this.#now());
    return record === null && binding === null ? null : { aor, record, binding, epoch };
  }

  #now(): number {
    return this.#store.runtime.clock.wall();
  }
}
