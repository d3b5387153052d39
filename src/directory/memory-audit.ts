import type { AuditEntry } from "./directory.ts";
import type { MemoryAccess } from "./memory-leases.ts";
import type { MemoryStore } from "./memory-store.ts";
import type { Statement } from "./memory-transaction.ts";

const KEPT = 10_000;

export interface AuditQuery {
  readonly aor?: string;
  readonly limit: number;
  readonly before?: string;
}

/** The twin of `postgres/audit.ts`. */
export class MemoryAudit {
  readonly #store: MemoryStore;
  readonly #access: MemoryAccess;

  constructor(store: MemoryStore, access: MemoryAccess) {
    this.#store = store;
    this.#access = access;
  }

  /** In the statement that did it. */
  note(s: Statement, actor: string, action: string, aor: string | null, before: unknown, after: unknown): void {
    const id = String(this.#store.takeAuditId());
    s.write("audit", id, { id, at: this.#now(), actor, action, aor, before, after } satisfies AuditEntry);
    s.write("audit", String(Number(id) - KEPT), undefined);
  }

  list(query: AuditQuery): Promise<readonly AuditEntry[]> {
    return this.#access.ask(async (s) => {
      const entries = s.scan<AuditEntry>("audit").map(([, entry]) => entry);
      return entries
        .filter((entry) => query.aor === undefined || entry.aor === query.aor)
        .filter((entry) => query.before === undefined || Number(entry.id) < Number(query.before))
        .sort((a, b) => Number(b.id) - Number(a.id))
        .slice(0, query.limit);
    });
  }

  record(entry: Omit<AuditEntry, "id" | "at">): Promise<void> {
    return this.#access.write(async (s) => {
      this.note(s, entry.actor, entry.action, entry.aor, entry.before, entry.after);
    });
  }

  #now(): number {
    return this.#store.runtime.clock.wall();
  }
}
