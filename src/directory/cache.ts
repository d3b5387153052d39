import { LRUCache } from "lru-cache";
import type { Runtime } from "../runtime/runtime.ts";
import type { BindingOrigin, Change, Directory, DirectoryCache, Lookup } from "./directory.ts";

export interface CacheOptions {
  /** Users remembered at most. Default 1,000,000. */
  readonly entries?: number;
  /** How long "all servers said 404" is remembered, milliseconds. Default 10,000; 0: not at all. */
  readonly absentMs?: number;
}

/** Few beside the users that exist: whoever scans for names drives out those who do not exist, and no others. */
const MOST_ABSENT = 100_000;

/** Server and origin, one object for all users of them. */
interface Place {
  readonly server: string;
  readonly origin: BindingOrigin;
}

/** A bound user without a record, the common case, in as few words as can be. `expires`: -1 never, else see `#seconds`. */
class Compact {
  readonly place: Place;
  readonly epoch: number;
  readonly expires: number;

  constructor(place: Place, epoch: number, expires: number) {
    this.place = place;
    this.epoch = epoch;
    this.expires = expires;
  }
}

interface Fetch {
  readonly promise: Promise<Lookup>;
  /** Its key was invalidated after it was sent: what it reads is answered to those who wait, and not stored. */
  dirty: boolean;
}

/**
 * The cache in front of a directory. An entry stays until its key changes, the feed is reset, its binding expires or it
 * is the least recently used; the database being away changes nothing for what is here. Concurrent lookups of one AoR
 * share one query; one that comes after an invalidation does not join a query from before it (concurrency.md 6).
 */
export function createDirectoryCache(
  directory: Directory,
  runtime: Runtime,
  options: CacheOptions = {},
): DirectoryCache {
  return new Cache(directory, runtime, options);
}

class Cache implements DirectoryCache {
  readonly #directory: Directory;
  readonly #runtime: Runtime;
  readonly #absentMs: number;
  readonly #known: LRUCache<string, Compact | Lookup>;
  /** Who has neither record nor binding. */
  readonly #nobody: LRUCache<string, Lookup & { state: "no-record" }>;
  readonly #absent: LRUCache<string, Lookup & { state: "all-said-404" }>;
  readonly #places = new Map<string, Place>();
  readonly #fetches = new Map<string, Fetch>();
  /** Expiries are kept in whole seconds after this, so that they are small integers. */
  readonly #since: number;
  /** Counts `forgetAbsent` and resets: an "all said 404" that was being confirmed meanwhile is not stored. */
  #absentRound = 0;

  constructor(directory: Directory, runtime: Runtime, options: CacheOptions) {
    this.#directory = directory;
    this.#runtime = runtime;
    this.#absentMs = options.absentMs ?? 10_000;
    const entries = Math.max(1, options.entries ?? 1_000_000);
    this.#known = new LRUCache({ max: entries });
    this.#nobody = new LRUCache({ max: Math.min(entries, MOST_ABSENT) });
    this.#absent = new LRUCache({ max: Math.min(entries, MOST_ABSENT) });
    this.#since = runtime.clock.wall() - 1000;
    directory.onChange((change) => this.#changed(change));
  }

  get size(): number {
    return this.#known.size + this.#nobody.size + this.#absent.size;
  }

  peek(aor: string): Lookup | undefined {
    if (this.#absent.size > 0) {
      const absent = this.#absent.get(aor);
      if (absent !== undefined) {
        if (absent.until > this.#runtime.clock.wall()) return absent;
        this.#absent.delete(aor);
      }
    }
    const entry = this.#known.get(aor);
    if (entry === undefined) return this.#nobody.get(aor);
    const lookup = entry instanceof Compact ? this.#unpack(aor, entry) : entry;
    if (lookup.state !== "bound") return lookup;
    const { expiresAt } = lookup.binding;
    if (expiresAt === null || expiresAt > this.#runtime.clock.wall()) return lookup;
    this.#known.delete(aor);
    return undefined;
  }

  async lookup(aor: string): Promise<Lookup> {
    return this.peek(aor) ?? this.#fetch(aor).promise;
  }

  forget(aor: string): void {
    this.#known.delete(aor);
  }

  forgetAbsent(): void {
    this.#absentRound++;
    this.#absent.clear();
  }

  #changed(change: Change): void {
    if (change.kind === "reset") {
      this.#known.clear();
      this.#nobody.clear();
      this.forgetAbsent();
      for (const fetch of this.#fetches.values()) fetch.dirty = true;
      this.#fetches.clear();
      return;
    }
    const { aor } = change;
    this.#known.delete(aor);
    this.#nobody.delete(aor);
    this.#absent.delete(aor);
    const fetch = this.#fetches.get(aor);
    if (fetch !== undefined) {
      fetch.dirty = true;
      this.#fetches.delete(aor);
    }
    if (change.kind === "fork-closed" && change.result.result === "all-said-404") this.#confirmAbsent(aor);
  }

  /**
   * He may have registered while they were being asked. By the time the feed tells of the fork every transaction older
   * than its end is over, so a lookup sent now sees such a binding; a younger one is told after this and drops it again.
   */
  #confirmAbsent(aor: string): void {
    if (this.#absentMs <= 0) return;
    const until = this.#runtime.clock.wall() + this.#absentMs;
    const round = this.#absentRound;
    const fetch = this.#fetch(aor);
    fetch.promise.then(
      (lookup) => {
        if (fetch.dirty || round !== this.#absentRound) return;
        if (lookup.state !== "no-record" && lookup.state !== "no-binding") return;
        this.#absent.set(flat(aor), {
          state: "all-said-404",
          epoch: lookup.epoch,
          until,
          ...(lookup.stored ? { stored: true } : {}),
        });
      },
      () => undefined,
    );
  }

  #fetch(aor: string): Fetch {
    const running = this.#fetches.get(aor);
    if (running !== undefined) return running;
    const fetch: Fetch = { promise: this.#directory.lookup(aor), dirty: false };
    this.#fetches.set(aor, fetch);
    const over = () => {
      if (this.#fetches.get(aor) === fetch) this.#fetches.delete(aor);
    };
    fetch.promise.then((lookup) => {
      over();
      if (!fetch.dirty) this.#store(flat(aor), lookup);
    }, over);
    return fetch;
  }

  #store(aor: string, lookup: Lookup): void {
    if (lookup.state === "no-record") {
      this.#known.delete(aor);
      this.#nobody.set(aor, lookup);
    } else {
      this.#nobody.delete(aor);
      this.#known.set(aor, this.#pack(lookup));
    }
  }

  #pack(lookup: Lookup): Compact | Lookup {
    if (lookup.state !== "bound" || lookup.user !== null || lookup.stored) return lookup;
    const { server, origin, epoch, expiresAt } = lookup.binding;
    const name = `${origin} ${server}`;
    let place = this.#places.get(name);
    if (place === undefined) {
      place = { server, origin };
      this.#places.set(name, place);
    }
    return new Compact(
      place,
      epoch,
      expiresAt === null ? -1 : Math.max(0, Math.floor((expiresAt - this.#since) / 1000)),
    );
  }

  #unpack(aor: string, { place, epoch, expires }: Compact): Lookup & { state: "bound" } {
    const expiresAt = expires < 0 ? null : this.#since + expires * 1000;
    return {
      state: "bound",
      epoch,
      user: null,
      binding: { aor, server: place.server, origin: place.origin, epoch, expiresAt },
    };
  }
}

/** A copy of its own: a string cut out of a message would keep the whole message in memory. */
function flat(text: string): string {
  return Buffer.from(text, "utf8").toString("utf8");
}
