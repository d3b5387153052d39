import { DirectoryUnavailable } from "../../base/errors.ts";
import { judgeEntry, noteReturn } from "../judge-entry.ts";
import { Lanes } from "../lanes.ts";
import { isAor } from "../rows.ts";
import type { StoredSubscription } from "../subscriptions.ts";
import { enteredBefore, grantRows, nameOf } from "../union-rows.ts";
import type { Credit, EnterOutcome, Entry, Grant, Pair, UnionStore, Visited } from "../unions.ts";
import { GRANT, SPEND } from "./credits.ts";
import { ENTER, NOTE_RETURN, valuesOfEnter, valuesOfReturn } from "./enter.ts";
import { LOCK_PAIR, LOCK_PAIR_OF_SUBSCRIPTION } from "./lock-pair.ts";
import type { Pool, Run } from "./pool.ts";
import { LEAVE, VISIT } from "./visit.ts";
import { ENTRY_STATE, type EntryRow, VISITED, type VisitedRow, visitedOf } from "./visited-rows.ts";

/** Transactions at a time: each is five round trips on a connection of its own. */
const LANES = 4;
const MOST_WAITING = 10_000;

/** Visited rows and credits on PostgreSQL. */
export class PostgresUnions implements UnionStore {
  readonly #pool: Pool;
  readonly #lanes = new Lanes(LANES, MOST_WAITING);

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  async enter(owner: string, subscription: Omit<StoredSubscription, "fence">, entry: Entry): Promise<EnterOutcome> {
    const { id, aor, watcher, event } = subscription;
    if (!isAor(aor) || !isAor(watcher)) throw new DirectoryUnavailable("A name that cannot be a key watches nobody.");
    return this.#transaction(async (run) => {
      await run(LOCK_PAIR, [aor, watcher, event]);
      const state = await run<EntryRow>(ENTRY_STATE, [aor, watcher, event, id]);
      const { slot_server, epoch, known } = state[0]!;
      const slot = { server: slot_server, epoch };
      const rows = state.filter((row): row is VisitedRow & EntryRow => row.chain !== null).map(visitedOf);
      if (known) return { ...enteredBefore(id, rows), slot };
      const judged = judgeEntry(id, entry, rows);
      const noted = noteReturn(entry, rows, judged.chain === id);
      if (noted.length > 0) await run(NOTE_RETURN, valuesOfReturn(subscription, noted));
      if (judged.outcome === "loop") return judged;
      const { chain, servers } = judged;
      const put = await run(ENTER, valuesOfEnter(owner, subscription, entry, chain, servers));
      return put.length === 0 ? { outcome: "over" } : { ...judged, slot };
    });
  }

  visit(
    owner: string,
    holder: string,
    fence: number,
    server: string,
    evidence: string | null,
  ): Promise<"taken" | "visited" | "lost"> {
    return this.#transaction(async (run) => {
      const locked = await run(LOCK_PAIR_OF_SUBSCRIPTION, [holder]);
      if (locked.length === 0) return "lost";
      const [row] = await run<{ held: boolean; taken: boolean }>(VISIT, [holder, owner, fence, server, evidence]);
      if (row?.held !== true) return "lost";
      return row.taken ? "taken" : "visited";
    });
  }

  async leave(owner: string, holder: string, fence: number, server: string): Promise<void> {
    await this.#pool.run(LEAVE, [holder, owner, fence, server]);
  }

  async visited({ aor, watcher, event }: Pair): Promise<readonly Visited[]> {
    if (!isAor(aor) || !isAor(watcher)) return [];
    return (await this.#pool.run<VisitedRow>(VISITED, [aor, watcher, event])).map(visitedOf);
  }

  async grant(id: string, credits: readonly Grant[], until: number): Promise<void> {
    const rows = grantRows(credits);
    if (rows.length > 0) await this.#pool.run(GRANT, [nameOf(id), JSON.stringify(rows), until]);
  }

  async spend({ aor, watcher, event, digest, server }: Credit, by: string): Promise<boolean> {
    if (!isAor(aor) || !isAor(watcher)) return false;
    return (await this.#pool.run(SPEND, [aor, watcher, server, event, digest, nameOf(by)])).length > 0;
  }

  #transaction<T>(work: (run: Run) => Promise<T>): Promise<T> {
    return this.#lanes.run(() => this.#pool.transaction(work));
  }
}
