import { LRUCache } from "lru-cache";
import type { Change } from "./directory.ts";
import type { DocumentKind, UserDocument, UserDocuments } from "./user-documents.ts";

/** The bounded cache in front of UserDocuments; what it answers may be a moment old (the feed drops it on change). */
export interface DocumentCache {
  /** Synchronous, from memory; null: there is none; undefined: not known here. */
  peek(aor: string, kind: DocumentKind): UserDocument | null | undefined;
  /** From memory, else from the database, by the fill rule (concurrency.md 6). Rejects with DirectoryUnavailable where neither knows. */
  get(aor: string, kind: DocumentKind): Promise<UserDocument | null>;
  readonly size: number;
}

export interface DocumentCacheOptions {
  /** Characters of text remembered at most, ENTRY more for each answer, also that there is none. Default 64 Mi. */
  readonly characters?: number;
}

/** What is told of changes: a Directory. */
export interface Changing {
  readonly documents: Pick<UserDocuments, "get">;
  onChange(listener: (change: Change) => void): () => void;
}

/** What an answer counts beside its text. */
const ENTRY = 200;
/** LRUCache keeps no null. */
const NONE = { none: true } as const;

interface Fetch {
  readonly promise: Promise<UserDocument | null>;
  /** Its document was written after it was sent: what it reads is answered to those who wait, and not stored. */
  dirty: boolean;
}

/** One that comes after a change does not join a query from before it. The database being away changes nothing for what is here. */
export function createDocumentCache(directory: Changing, options: DocumentCacheOptions = {}): DocumentCache {
  return new Cache(directory, options);
}

class Cache implements DocumentCache {
  readonly #documents: Pick<UserDocuments, "get">;
  readonly #known: LRUCache<string, UserDocument | typeof NONE>;
  readonly #fetches = new Map<string, Fetch>();

  constructor(directory: Changing, options: DocumentCacheOptions) {
    this.#documents = directory.documents;
    // Bounded by size alone: a greatest number of entries would be allocated for at once.
    this.#known = new LRUCache({
      maxSize: Math.max(ENTRY, options.characters ?? 64 * 1024 * 1024),
      sizeCalculation: (entry) => ENTRY + ("text" in entry ? entry.text.length : 0),
    });
    directory.onChange((change) => this.#changed(change));
  }

  get size(): number {
    return this.#known.size;
  }

  peek(aor: string, kind: DocumentKind): UserDocument | null | undefined {
    const entry = this.#known.get(keyOf(aor, kind));
    if (entry === undefined) return undefined;
    return "none" in entry ? null : entry;
  }

  async get(aor: string, kind: DocumentKind): Promise<UserDocument | null> {
    const known = this.peek(aor, kind);
    return known === undefined ? this.#fetch(aor, kind) : known;
  }

  #changed(change: Change): void {
    if (change.kind === "reset") {
      this.#known.clear();
      for (const fetch of this.#fetches.values()) fetch.dirty = true;
      this.#fetches.clear();
    } else if (change.kind === "document") {
      const key = keyOf(change.aor, change.document);
      this.#known.delete(key);
      const fetch = this.#fetches.get(key);
      if (fetch !== undefined) fetch.dirty = true;
      this.#fetches.delete(key);
    }
  }

  #fetch(aor: string, kind: DocumentKind): Promise<UserDocument | null> {
    const key = keyOf(aor, kind);
    const running = this.#fetches.get(key);
    if (running !== undefined) return running.promise;
    const fetch: Fetch = { promise: this.#documents.get(aor, kind), dirty: false };
    this.#fetches.set(key, fetch);
    const over = () => {
      if (this.#fetches.get(key) === fetch) this.#fetches.delete(key);
    };
    fetch.promise.then((document) => {
      over();
      if (!fetch.dirty) this.#known.set(flat(key), document ?? NONE);
    }, over);
    return fetch.promise;
  }
}

function keyOf(aor: string, kind: DocumentKind): string {
  return `${kind}/${aor}`;
}

/** A copy of its own: a string cut out of a message would keep the whole message in memory. */
function flat(text: string): string {
  return Buffer.from(text, "utf8").toString("utf8");
}
