import { LRUCache } from "lru-cache";
import type { Change } from "../directory/directory.ts";
import type { UserDocuments } from "../directory/user-documents.ts";
import { MalformedDocument } from "../presence/xml.ts";
import { type ImRule, readImRules } from "./im-rules.ts";
import { type PresenceRule, readPresenceRules } from "./pres-rules.ts";

/** What a user's document says; `none`: he has none, `unreadable`: nobody could read it, so it grants nothing. */
export type RulesOf<Kind extends keyof Kinds> = readonly Kinds[Kind][] | "none" | "unreadable";

interface Kinds {
  readonly "pres-rules": PresenceRule;
  readonly "im-rules": ImRule;
}

/** Characters of the rules that are remembered, at most; parsed they take about twice as many octets. */
const MOST_CHARACTERS = 32 * 1024 * 1024;
/** Users without rules remembered: who asks about users at random drives out no others. */
const MOST_WITHOUT = 200_000;

interface Entry {
  readonly rules: RulesOf<keyof Kinds>;
  readonly size: number;
}

interface Fetch {
  readonly promise: Promise<Entry>;
  dirty: boolean;
}

/**
 * Users' rules, read from the directory and remembered until the feed tells of a change. What was read before a change of
 * its key, or before the feed was reset, is answered to those who wait and not kept (concurrency.md 6).
 */
export class RuleBook {
  readonly #documents: Pick<UserDocuments, "get">;
  // With a greatest size nothing is allocated ahead, as it is with a greatest number.
  readonly #known = new LRUCache<string, Entry>({ maxSize: MOST_CHARACTERS, sizeCalculation: (each) => each.size });
  readonly #without = new LRUCache<string, Entry>({ maxSize: MOST_WITHOUT, sizeCalculation: () => 1 });
  readonly #fetches = new Map<string, Fetch>();

  constructor(documents: Pick<UserDocuments, "get">) {
    this.#documents = documents;
  }

  /** At once where it is known. Rejects with DirectoryUnavailable. */
  get<Kind extends keyof Kinds>(aor: string, kind: Kind): RulesOf<Kind> | Promise<RulesOf<Kind>> {
    const key = `${kind} ${aor}`;
    const entry = this.#known.get(key) ?? this.#without.get(key);
    if (entry !== undefined) return entry.rules as RulesOf<Kind>;
    return this.#fetch(key, aor, kind).then((each) => each.rules as RulesOf<Kind>);
  }

  /** @returns whose verdicts may be others now: null: anybody's; undefined: nobody's. */
  changed(change: Change): string | null | undefined {
    if (change.kind === "reset") {
      this.forget(null);
      return null;
    }
    if (change.kind !== "document" || !isKind(change.document)) return undefined;
    this.#drop(`${change.document} ${change.aor}`);
    return change.aor;
  }

  forget(aor: string | null): void {
    if (aor !== null) {
      this.#drop(`pres-rules ${aor}`);
      this.#drop(`im-rules ${aor}`);
      return;
    }
    this.#known.clear();
    this.#without.clear();
    for (const fetch of this.#fetches.values()) fetch.dirty = true;
    this.#fetches.clear();
  }

  #drop(key: string): void {
    this.#known.delete(key);
    this.#without.delete(key);
    const fetch = this.#fetches.get(key);
    if (fetch === undefined) return;
    fetch.dirty = true;
    this.#fetches.delete(key);
  }

  #fetch(key: string, aor: string, kind: keyof Kinds): Promise<Entry> {
    const running = this.#fetches.get(key);
    if (running !== undefined) return running.promise;
    const promise = this.#documents.get(aor, kind).then((document) => read(kind, document?.text ?? null));
    const fetch: Fetch = { promise, dirty: false };
    this.#fetches.set(key, fetch);
    const over = (entry: Entry | null): void => {
      if (this.#fetches.get(key) === fetch) this.#fetches.delete(key);
      if (entry === null || fetch.dirty) return;
      (entry.rules === "none" ? this.#without : this.#known).set(key, entry);
    };
    promise.then(over, () => over(null));
    return promise;
  }
}

function isKind(kind: string): kind is keyof Kinds {
  return kind === "pres-rules" || kind === "im-rules";
}

function read(kind: keyof Kinds, text: string | null): Entry {
  if (text === null) return { rules: "none", size: 1 };
  const size = text.length + 1;
  try {
    return { rules: kind === "pres-rules" ? readPresenceRules(text) : readImRules(text), size };
  } catch (error) {
    if (!(error instanceof MalformedDocument)) throw error;
    return { rules: "unreadable", size };
  }
}
