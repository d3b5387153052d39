import { DirectoryUnavailable } from "../../base/errors.ts";
import { isAor } from "../rows.ts";
import {
  checkDocument,
  type DocumentKind,
  etagOf,
  judgeWrite,
  MOST_DOCUMENTS,
  type Precondition,
  type UserDocument,
  type UserDocuments,
  type WriteOutcome,
} from "../user-documents.ts";
import {
  CREATE_DOCUMENT,
  DOCUMENT,
  DOCUMENTS,
  type DocumentRow,
  documentOf,
  REMOVE_DOCUMENT,
  REPLACE_DOCUMENT,
} from "./document-verbs.ts";
import type { Pool } from "./pool.ts";

/** Of writes that find something else there than they have judged. */
const TRIES = 10;

/** Documents of users on PostgreSQL: read, judged, and written where what was read still stands. */
export class PostgresDocuments implements UserDocuments {
  readonly #pool: Pool;
  readonly #changed: (aor: string, kind: DocumentKind) => void;

  /** @param changed told of each write that changed something, once it is committed. */
  constructor(pool: Pool, changed: (aor: string, kind: DocumentKind) => void) {
    this.#pool = pool;
    this.#changed = changed;
  }

  async get(aor: string, kind: DocumentKind): Promise<UserDocument | null> {
    if (!isAor(aor)) return null;
    const [row] = await this.#pool.run<DocumentRow>(DOCUMENT, [aor, kind]);
    return row === undefined ? null : documentOf(row);
  }

  async put(aor: string, kind: DocumentKind, text: string, when: Precondition, actor: string): Promise<WriteOutcome> {
    checkDocument(aor, text);
    return this.#write(aor, kind, text, when, actor);
  }

  async remove(aor: string, kind: DocumentKind, when: Precondition, actor: string): Promise<WriteOutcome> {
    return isAor(aor) ? this.#write(aor, kind, null, when, actor) : { outcome: "failed", etag: null };
  }

  async list({ kind, after = "", limit }: Parameters<UserDocuments["list"]>[0]): Promise<readonly UserDocument[]> {
    const most = Math.max(0, Math.min(Math.trunc(limit), MOST_DOCUMENTS));
    return (await this.#pool.run<DocumentRow>(DOCUMENTS, [kind, after, most])).map(documentOf);
  }

  async #write(
    aor: string,
    kind: DocumentKind,
    text: string | null,
    when: Precondition,
    actor: string,
  ): Promise<WriteOutcome> {
    const next = text === null ? null : etagOf(text);
    for (let tries = 0; tries < TRIES; tries++) {
      const etag = (await this.get(aor, kind))?.etag ?? null;
      const judged = judgeWrite(etag, next, when);
      if (judged.outcome !== "go") return judged;
      const [verb, more] =
        next === null
          ? [REMOVE_DOCUMENT, [etag]]
          : etag === null
            ? [CREATE_DOCUMENT, [next, text]]
            : [REPLACE_DOCUMENT, [next, text, etag]];
      const done = await this.#pool.run(verb, [aor, kind, actor, ...more]);
      if (done.length === 0) continue;
      this.#changed(aor, kind);
      return { outcome: "written", etag: next ?? etag!, created: etag === null };
    }
    throw new DirectoryUnavailable(`The document "${kind}" of ${aor} is written too often at once.`);
  }
}
