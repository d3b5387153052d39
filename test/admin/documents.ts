import type { UserDocument, UserDocuments } from "../../src/directory/user-documents.ts";

/** Users' documents in a map. `meanwhile` runs once before the next write: somebody else was quicker. */
export class DocumentMap implements UserDocuments {
  readonly #documents = new Map<string, UserDocument>();
  #written = 0;
  meanwhile: (() => Promise<unknown>) | null = null;
  readonly actors: string[] = [];

  async get(aor: string, kind: UserDocument["kind"]) {
    return this.#documents.get(`${kind} ${aor}`) ?? null;
  }

  async put(...[aor, kind, text, when, actor]: Parameters<UserDocuments["put"]>) {
    await this.#others();
    const old = this.#documents.get(`${kind} ${aor}`);
    if (!holds(old, when)) return { outcome: "failed", etag: old?.etag ?? null } as const;
    const etag = `t${++this.#written}`;
    this.actors.push(actor);
    this.#documents.set(`${kind} ${aor}`, { aor, kind, etag, text, changedAt: this.#written });
    return { outcome: "written", etag, created: old === undefined } as const;
  }

  async remove(...[aor, kind, when, actor]: Parameters<UserDocuments["remove"]>) {
    await this.#others();
    const old = this.#documents.get(`${kind} ${aor}`);
    if (old === undefined || !holds(old, when)) return { outcome: "failed", etag: old?.etag ?? null } as const;
    this.actors.push(actor);
    this.#documents.delete(`${kind} ${aor}`);
    return { outcome: "written", etag: "", created: false } as const;
  }

  async list({ kind, after = "", limit }: Parameters<UserDocuments["list"]>[0]) {
    return [...this.#documents.values()]
      .filter((each) => each.kind === kind && each.aor > after)
      .sort((a, b) => (a.aor < b.aor ? -1 : 1))
      .slice(0, limit);
  }

  async #others(): Promise<void> {
    const { meanwhile } = this;
    this.meanwhile = null;
    await meanwhile?.();
  }
}

function holds(old: UserDocument | undefined, { match, noneMatch }: Parameters<UserDocuments["put"]>[3]): boolean {
  if (match !== undefined && (old === undefined || (match !== "*" && !match.includes(old.etag)))) return false;
  return noneMatch === undefined || old === undefined || (noneMatch !== "*" && !noneMatch.includes(old.etag));
}
