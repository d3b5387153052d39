import { DirectoryUnavailable } from "../base/errors.ts";
import type { Change, Directory, NamedUser } from "../directory/directory.ts";
import { fullIdentity, type RecordNames } from "../federation/identity.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";
import type { Telemetry } from "../telemetry/events.ts";

type Names = NamedUser["identities"];

const PAGE = 1_000;
/** Users known at most; of the rest only the names on the way out are known, where their records are read. */
const MOST_NAMED = 1_000_000;
/** Records looked at again by themselves; where more have changed, all are read. */
const MOST_CHANGED = 10_000;
const AT_ONCE = 256;
const AGAIN_MS = 1_000;

/**
 * The identities in users' records, both ways: from a server's name for a user nothing else leads to his record. Read
 * whole at the start, in order of the AoR; then what the feed tells of is read again. A moment old, as every cache.
 */
export class NamedUsers implements RecordNames {
  readonly #directory: Pick<Directory, "namedUsers" | "lookup" | "onChange">;
  readonly #runtime: Pick<Runtime, "timers">;
  readonly #telemetry: Telemetry;
  readonly #unsubscribe: () => void;
  #names = new Map<string, Names>();
  /** Server and full AoR there -> AoRs, of which the least counts: every proxy takes the same. */
  #users = new Map<string, readonly string[]>();
  #changed = new Set<string>();
  /** Everything is to be read. */
  #stale = true;
  #reading = false;
  #again: Timer | null = null;
  #running = false;

  constructor(
    directory: Pick<Directory, "namedUsers" | "lookup" | "onChange">,
    runtime: Pick<Runtime, "timers">,
    telemetry: Telemetry,
  ) {
    this.#directory = directory;
    this.#runtime = runtime;
    this.#telemetry = telemetry;
    this.#unsubscribe = directory.onChange((change) => this.#heard(change));
  }

  /** Resolves when they are known, or the database is away: then they are read as soon as it is back. */
  start(): Promise<void> {
    this.#running = true;
    return this.#read();
  }

  stop(): void {
    this.#running = false;
    this.#unsubscribe();
    this.#again?.cancel();
    this.#again = null;
  }

  get size(): number {
    return this.#names.size;
  }

  identitiesOf(aor: string): Names | undefined {
    return this.#names.get(aor);
  }

  whoIs(server: string, identity: string): string | undefined {
    return this.#users.get(keyOf(server, identity))?.[0];
  }

  #heard(change: Change): void {
    if (change.kind === "reset") this.#stale = true;
    else if (change.kind !== "user") return;
    else if (this.#changed.size < MOST_CHANGED) this.#changed.add(change.aor);
    else this.#stale = true;
    if (this.#running) void this.#read();
  }

  async #read(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    try {
      while (this.#running && (this.#stale || this.#changed.size > 0)) {
        if (this.#stale) await this.#readAll();
        else await this.#readChanged();
      }
    } catch (error) {
      this.#later(error as Error);
    } finally {
      this.#reading = false;
    }
  }

  #later(error: Error): void {
    // The database says for itself that it is away.
    if (!(error instanceof DirectoryUnavailable)) {
      this.#telemetry.emit("warning", { what: "users' names could not be read", detail: error.stack ?? error.message });
    }
    if (!this.#running) return;
    this.#again?.cancel();
    this.#again = this.#runtime.timers.after(AGAIN_MS, () => void this.#read());
  }

  /** What changes meanwhile is read again after it. */
  async #readAll(): Promise<void> {
    this.#stale = false;
    this.#changed = new Set();
    const found: NamedUser[] = [];
    try {
      for (let after = ""; found.length < MOST_NAMED; after = found.at(-1)!.aor) {
        const page = await this.#directory.namedUsers(after, PAGE);
        found.push(...page);
        if (page.length < PAGE) break;
      }
    } catch (error) {
      this.#stale = true;
      throw error;
    }
    this.#names = new Map();
    this.#users = new Map();
    for (const { aor, identities } of found) this.#set(aor, identities);
  }

  async #readChanged(): Promise<void> {
    const aors = [...this.#changed].slice(0, AT_ONCE);
    for (const aor of aors) this.#changed.delete(aor);
    try {
      const known = await Promise.all(aors.map((aor) => this.#directory.lookup(aor)));
      for (const [i, lookup] of known.entries()) {
        this.#set(aors[i]!, "user" in lookup ? (lookup.user?.identities ?? {}) : {});
      }
    } catch (error) {
      for (const aor of aors) this.#changed.add(aor);
      throw error;
    }
  }

  #set(aor: string, identities: Names): void {
    for (const key of keysOf(aor, this.#names.get(aor))) {
      const left = (this.#users.get(key) ?? []).filter((each) => each !== aor);
      if (left.length === 0) this.#users.delete(key);
      else this.#users.set(key, left);
    }
    const isNamed = Object.keys(identities).length > 0;
    if (!isNamed || (this.#names.size >= MOST_NAMED && !this.#names.has(aor))) {
      this.#names.delete(aor);
      return;
    }
    this.#names.set(aor, identities);
    for (const key of keysOf(aor, identities)) this.#users.set(key, [...(this.#users.get(key) ?? []), aor].sort());
  }
}

function keysOf(aor: string, identities: Names = {}): string[] {
  return Object.entries(identities).map(([server, text]) => keyOf(server, fullIdentity(text, aor)));
}

function keyOf(server: string, identity: string): string {
  return `${server} ${identity}`;
}
