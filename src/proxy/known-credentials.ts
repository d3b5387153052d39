import { LRUCache } from "lru-cache";
import type { Credentials, Directory } from "../directory/directory.ts";

/**
 * Digest credentials from the directory, and while it is away those last seen: mapped users keep being routed then
 * (models.md, "Always"), and they have to be known to be let in.
 */
export class KnownCredentials {
  readonly #directory: Directory;
  readonly #seen = new LRUCache<string, Credentials>({ max: 10_000 });
  readonly #unsubscribe: () => void;

  constructor(directory: Directory) {
    this.#directory = directory;
    this.#unsubscribe = directory.onChange((change) => {
      if (change.kind === "user") this.#seen.delete(change.aor);
    });
  }

  stop(): void {
    this.#unsubscribe();
  }

  /** Null: he has none. Rejects with DirectoryUnavailable where nobody knows. */
  async of(aor: string): Promise<Credentials | null> {
    try {
      const found = await this.#directory.credentials(aor);
      if (found === null) this.#seen.delete(aor);
      else this.#seen.set(aor, found);
      return found;
    } catch (error) {
      const seen = this.#seen.get(aor);
      if (seen === undefined) throw error;
      return seen;
    }
  }
}
