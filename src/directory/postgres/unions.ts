import { DirectoryUnavailable } from "../../base/errors.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { GroupCommit } from "../group-commit.ts";
import { judgeEntry, noteReturn } from "../judge-entry.ts";
import { Lanes } from "../lanes.ts";
import { isAor } from "../rows.ts";
import type { StoredSubscription } from "../subscriptions.ts";
import { enteredBefore, fateOf, grantRows, nameOf } from "../union-rows.ts";
import type { Credit, EnterOutcome, Entry, Fate, Grant, Pair, UnionStore, Visited } from "../unions.ts";
import { ARRIVED, GRANT, REVOKE, SPEND, SPENT } from "./credits.ts";
import { askOfEnter, ENTER, type EnterAsk, NOTE_RETURN, valuesOfReturn } from "./enter.ts";
import { LOCK_PAIR_OF_SUBSCRIPTION, LOCK_PAIRS } from "./lock-pair.ts";
import { isConnectionFailure, type Pool, type Run } from "./pool.ts";
import { LEAVE, VISIT } from "./visit.ts";
import { ENTRY_STATES, type EntryRow, VISITED, type VisitedRow, visitedOf } from "./visited-rows.ts";

/** Visits at a time: each is four round trips on a connection of its own. */
const LANES = 4;
const MOST_WAITING = 10_000;

interface GrantAsk {
  /** Stored name of the granting. */
  readonly id: string;
  readonly rows: readonly object[];
}

interface SettleAsk {
  readonly verb: typeof ARRIVED | typeof REVOKE;
  readonly id: string;
  readonly server: string;
  readonly one: 1;
}

/** Visited rows and credits on PostgreSQL. Who comes in, and what is granted, at one moment shares its statements. */
export class PostgresUnions implements UnionStore {
  readonly #pool: Pool;
  readonly #lanes = new Lanes(LANES, MOST_WAITING);
  readonly #entries: GroupCommit<EnterAsk, EnterOutcome>;
  readonly #grants: GroupCommit<GrantAsk, undefined>;
  readonly #settlements: GroupCommit<SettleAsk, undefined>;

  constructor(runtime: Runtime, pool: Pool) {
    this.#pool = pool;
    const grouped = {
      maxBatch: 64,
      lanes: 2,
      maxWaiting: 100_000,
      splits: (error: unknown) => !isConnectionFailure((error as Error).cause),
      soon: (run: () => void) => runtime.timers.soon(run),
    };
    this.#entries = new GroupCommit({
      ...grouped,
      key: ({ subscription: { aor, watcher, event } }) => `${aor}\n${watcher}\n${event}`,
      run: (batch) => this.#pool.transaction((run) => enterAll(run, batch)),
    });
    this.#grants = new GroupCommit({ ...grouped, key: (ask) => ask.id, run: (batch) => this.#grantAll(batch) });
    this.#settlements = new GroupCommit({
      ...grouped,
      key: ({ id, server }) => `${id} ${server}`,
      run: (batch) => this.#settleAll(batch),
    });
  }

  async enter(owner: string, subscription: Omit<StoredSubscription, "fence">, entry: Entry): Promise<EnterOutcome> {
    const { aor, watcher } = subscription;
    // One that cannot be stored must not spoil the statements it would share.
    if (!isAor(aor) || !isAor(watcher)) throw new DirectoryUnavailable("A name that cannot be a key watches nobody.");
    return this.#entries.submit({ owner, subscription, entry });
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
    if (rows.length === 0) return;
    const name = nameOf(id);
    await this.#grants.submit({ id: name, rows: rows.map((row) => ({ ...row, id: name, until })) });
  }

  arrived(id: string, server: string): Promise<void> {
    return this.#settlements.submit({ verb: ARRIVED, id: nameOf(id), server, one: 1 });
  }

  revoke(id: string, server: string): Promise<void> {
    return this.#settlements.submit({ verb: REVOKE, id: nameOf(id), server, one: 1 });
  }

  async spend({ aor, watcher, event, digest, server }: Credit, by: string): Promise<boolean> {
    if (!isAor(aor) || !isAor(watcher)) return false;
    return (await this.#pool.run(SPEND, [aor, watcher, server, event, digest, nameOf(by)])).length > 0;
  }

  async fate({ aor, watcher, event, digest, server }: Credit, by: string): Promise<Fate> {
    if (!isAor(aor) || !isAor(watcher)) return "gone";
    const values = [aor, watcher, server, event, digest, nameOf(by)];
    const rows = await this.#pool.run<{ under_way: boolean }>(SPENT, values);
    return fateOf(rows.map((row) => row.under_way));
  }

  async #grantAll(batch: readonly GrantAsk[]): Promise<undefined[]> {
    await this.#pool.run(GRANT, [JSON.stringify(batch.flatMap((ask) => ask.rows))]);
    return batch.map(() => undefined);
  }

  async #settleAll(batch: readonly SettleAsk[]): Promise<undefined[]> {
    for (const verb of [ARRIVED, REVOKE]) {
      const asked = batch.filter((ask) => ask.verb === verb).map(({ verb: _, ...ask }) => ask);
      if (asked.length > 0) await this.#pool.run(verb, [JSON.stringify(asked)]);
    }
    return batch.map(() => undefined);
  }

  #transaction<T>(work: (run: Run) => Promise<T>): Promise<T> {
    return this.#lanes.run(() => this.#pool.transaction(work));
  }
}

/** A batch of entries, each of another pair, in one transaction. */
async function enterAll(run: Run, batch: readonly EnterAsk[]): Promise<EnterOutcome[]> {
  const of = (column: (subscription: EnterAsk["subscription"]) => string) =>
    batch.map((ask) => column(ask.subscription));
  const pairs = [of(({ aor }) => aor), of(({ watcher }) => watcher), of(({ event }) => event)];
  await run(LOCK_PAIRS, pairs);
  const read = await run<EntryRow>(ENTRY_STATES, [...pairs, of(({ id }) => id)]);
  const states = batch.map((): EntryRow[] => []);
  for (const row of read) states[row.n - 1]!.push(row);
  const outcomes: EnterOutcome[] = [];
  const comers: object[] = [];
  for (const [i, ask] of batch.entries()) {
    const { id } = ask.subscription;
    const state = states[i]!;
    const { slot_server, epoch, known } = state[0]!;
    const slot = { server: slot_server, epoch };
    const rows = state.filter((row): row is VisitedRow & EntryRow => row.chain !== null).map(visitedOf);
    const judged = known ? enteredBefore(id, rows) : judgeEntry(id, ask.entry, rows);
    const noted = known ? [] : noteReturn(ask.entry, rows, judged.chain === id);
    if (noted.length > 0) await run(NOTE_RETURN, valuesOfReturn(ask.subscription, noted));
    if (judged.outcome === "entered" && !known) comers.push(askOfEnter(ask, judged));
    outcomes.push(judged.outcome === "loop" ? judged : { ...judged, slot });
  }
  if (comers.length === 0) return outcomes;
  const put = new Set((await run<{ id: string }>(ENTER, [JSON.stringify(comers)])).map((row) => row.id));
  const came = new Set((comers as Array<{ id: string }>).map((row) => row.id));
  return outcomes.map((outcome, i) => {
    const { id } = batch[i]!.subscription;
    return came.has(id) && !put.has(id) ? { outcome: "over" } : outcome;
  });
}
