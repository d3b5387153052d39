import type { Change } from "./directory.ts";
import type { MemoryAudit } from "./memory-audit.ts";
import type { MemoryAccess } from "./memory-leases.ts";
import type { Statement } from "./memory-transaction.ts";
import { isAor } from "./rows.ts";
import {
  checkDocument,
  DOCUMENT_KINDS,
  type DocumentKind,
  etagOf,
  judgeWrite,
  MOST_DOCUMENTS,
  type Precondition,
  type UserDocument,
  type UserDocuments,
  type WriteOutcome,
} from "./user-documents.ts";

const DOCUMENTS = "user-documents";

/** The twin of `postgres/user-documents.ts`. */
export class MemoryDocuments implements UserDocuments {
  readonly #access: MemoryAccess;
  readonly #audit: MemoryAudit;
  readonly #emit: (change: Change) => void;
  readonly #now: () => number;

  constructor(access: MemoryAccess, audit: MemoryAudit, emit: (change: Change) => void, now: () => number) {
    this.#access = access;
    this.#audit = audit;
    this.#emit = emit;
    this.#now = now;
  }

  get(aor: string, kind: DocumentKind): Promise<UserDocument | null> {
    return this.#access.ask(async (s) => s.read<UserDocument>(DOCUMENTS, keyOf(aor, kind)) ?? null);
  }

  async put(aor: string, kind: DocumentKind, text: string, when: Precondition, actor: string): Promise<WriteOutcome> {
    checkDocument(aor, text);
    return this.#write(aor, kind, text, when, actor);
  }

  async remove(aor: string, kind: DocumentKind, when: Precondition, actor: string): Promise<WriteOutcome> {
    return isAor(aor) ? this.#write(aor, kind, null, when, actor) : { outcome: "failed", etag: null };
  }

  list({ kind, after = "", limit }: Parameters<UserDocuments["list"]>[0]): Promise<readonly UserDocument[]> {
    return this.#access.ask(async (s) =>
      s
        .scan<UserDocument>(DOCUMENTS)
        .map(([, document]) => document)
        .filter((document) => document.kind === kind && document.aor > after)
        .sort((a, b) => (a.aor < b.aor ? -1 : 1))
        .slice(0, Math.max(0, Math.min(limit, MOST_DOCUMENTS))),
    );
  }

  async #write(
    aor: string,
    kind: DocumentKind,
    text: string | null,
    when: Precondition,
    actor: string,
  ): Promise<WriteOutcome> {
    const next = text === null ? null : etagOf(text);
    const { outcome, changed } = await this.#access.write(async (s) => {
      const there = await s.lock<UserDocument>(DOCUMENTS, keyOf(aor, kind));
      const etag = there?.etag ?? null;
      const judged = judgeWrite(etag, next, when);
      if (judged.outcome !== "go") return { outcome: judged, changed: false };
      const document = text === null ? undefined : { aor, kind, etag: next!, text, changedAt: this.#now() };
      s.write(DOCUMENTS, keyOf(aor, kind), document satisfies UserDocument | undefined);
      s.tell({ kind: "document", aor, document: kind });
      const before = etag === null ? null : { kind, etag };
      const after = text === null ? null : { kind, etag: next, octets: Buffer.byteLength(text) };
      this.#audit.note(s, actor, text === null ? "remove-document" : "put-document", aor, before, after);
      const written: WriteOutcome = { outcome: "written", etag: next ?? etag!, created: etag === null };
      return { outcome: written, changed: true };
    });
    if (changed) this.#emit({ kind: "document", aor, document: kind });
    return outcome;
  }
}

/** All of a user's, in the statement that removes him. Says which there were. */
export async function dropDocuments(s: Statement, aor: string): Promise<DocumentKind[]> {
  const dropped: DocumentKind[] = [];
  for (const kind of DOCUMENT_KINDS) {
    if (s.read(DOCUMENTS, keyOf(aor, kind)) === undefined) continue;
    if ((await s.lock(DOCUMENTS, keyOf(aor, kind))) === undefined) continue;
    s.write(DOCUMENTS, keyOf(aor, kind), undefined);
    s.tell({ kind: "document", aor, document: kind });
    dropped.push(kind);
  }
  return dropped;
}

function keyOf(aor: string, kind: DocumentKind): string {
  return `${kind}/${aor}`;
}
