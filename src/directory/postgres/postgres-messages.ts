import { Lanes } from "../lanes.ts";
import {
  type EndOutcome,
  type ListedMessage,
  type MessageEnd,
  type MessageQuery,
  type MessageStore,
  MOST_MESSAGES,
  type QueueRef,
  type StoreAsk,
  type StoredMessage,
  type StoreOutcome,
  type TakenQueue,
  type TraceEntry,
} from "../messages.ts";
import { isAor } from "../rows.ts";
import { DEFER_QUEUE } from "./defer-queue.ts";
import { END_MESSAGE, type EndRow } from "./end-message.ts";
import { COUNT_MESSAGES, type ListRow, listedOf, listMessages, TRACE_MESSAGE, traceOf } from "./list-messages.ts";
import { LOCK_SLOT, LOCK_SLOT_OF_MESSAGE } from "./lock-slot.ts";
import { type MessageRow, messageOf } from "./message-row.ts";
import type { Pool, Run } from "./pool.ts";
import { outcomeOfStore, STORE_MESSAGE, type StoreRow, valuesOfStore } from "./store-message.ts";
import { OVERDUE_MESSAGES, SWEEP_MESSAGES } from "./sweep-messages.ts";
import { ASKING, TAKE_QUEUES, type TakenRow } from "./take-queues.ts";
import { WAKE_BOUND, WAKE_QUEUES } from "./wake-queues.ts";

/** Transactions at a time: each is four round trips on a connection of its own. */
const LANES = 4;
const MOST_WAITING = 10_000;

/** Stored messages on PostgreSQL. */
export class PostgresMessages implements MessageStore {
  readonly #pool: Pool;
  readonly #proxy: string;
  readonly #tell: (aor: string) => void;
  readonly #lanes = new Lanes(LANES, MOST_WAITING);

  /** @param tell of a slot's flag that changed. */
  constructor(pool: Pool, proxy: string, tell: (aor: string) => void) {
    this.#pool = pool;
    this.#proxy = proxy;
    this.#tell = tell;
  }

  async store(ask: StoreAsk): Promise<StoreOutcome> {
    const { recipient } = ask.message;
    if (!isAor(recipient)) return { outcome: "empty" };
    const row = await this.#transaction(async (run) => {
      await run(LOCK_SLOT, [recipient]);
      return (await run<StoreRow>(STORE_MESSAGE, valuesOfStore(ask, this.#proxy)))[0]!;
    });
    if (row.first) this.#tell(recipient);
    return outcomeOfStore(ask, row);
  }

  async take(limit: number, holdMs: number): Promise<readonly TakenQueue[]> {
    const rows = await this.#pool.run<TakenRow>(TAKE_QUEUES, [limit, this.#proxy, holdMs]);
    return rows.map((row) => ({
      recipient: row.recipient,
      sender: row.sender,
      fence: row.fence,
      message: messageOf(row),
      server: row.server,
    }));
  }

  async asking({ recipient, sender, fence }: QueueRef, servers: readonly string[]): Promise<boolean> {
    return (await this.#pool.run(ASKING, [recipient, sender, fence, servers])).length > 0;
  }

  async end(id: string, end: MessageEnd, queue: QueueRef | null, holdMs: number): Promise<EndOutcome> {
    const found = await this.#transaction(async (run) => {
      const [slot] = await run<{ aor: string }>(LOCK_SLOT_OF_MESSAGE, [id]);
      if (slot === undefined) return null;
      const [row] = await run<EndRow>(END_MESSAGE, [id, end.state, end.detail, queue?.fence ?? null, holdMs]);
      return { aor: slot.aor, row: row! };
    });
    if (found === null) return { ended: false, next: null };
    const { aor, row } = found;
    if (row.last) this.#tell(aor);
    return { ended: row.ended, next: row.id === null ? null : messageOf(row) };
  }

  async defer({ recipient, sender, fence }: QueueRef, delayMs: number, detail: string | null): Promise<boolean> {
    return (await this.#pool.run(DEFER_QUEUE, [recipient, sender, fence, delayMs, detail])).length > 0;
  }

  async wake(recipients: readonly string[]): Promise<number> {
    const [row] = await this.#pool.run<{ woken: number }>(WAKE_QUEUES, [recipients.filter(isAor)]);
    return row!.woken;
  }

  async wakeBound(server: string | null, limit: number, spreadMs: number): Promise<number> {
    const [row] = await this.#pool.run<{ woken: number }>(WAKE_BOUND, [server, limit, spreadMs]);
    return row!.woken;
  }

  async overdue(limit: number): Promise<readonly StoredMessage[]> {
    return (await this.#pool.run<MessageRow>(OVERDUE_MESSAGES, [limit])).map(messageOf);
  }

  async sweep(keptMs: number, limit: number): Promise<number> {
    const [row] = await this.#pool.run<{ gone: number }>(SWEEP_MESSAGES, [keptMs, limit]);
    return row!.gone;
  }

  async list(query: MessageQuery): Promise<readonly ListedMessage[]> {
    const { recipient = null, sender = null, state = null, after = -1 } = query;
    const limit = Math.max(0, Math.min(query.limit, MOST_MESSAGES));
    return (await this.#pool.run<ListRow>(listMessages(query), [recipient, sender, state, after, limit])).map(listedOf);
  }

  async trace(id: string): Promise<readonly TraceEntry[]> {
    return (await this.#pool.run<TraceEntry>(TRACE_MESSAGE, [id])).map(traceOf);
  }

  #transaction<T>(work: (run: Run) => Promise<T>): Promise<T> {
    return this.#lanes.run(() => this.#pool.transaction(work));
  }

  async count(): Promise<{ messages: number; queues: number; octets: number }> {
    const [row] = await this.#pool.run<{ messages: number; queues: number; octets: number }>(COUNT_MESSAGES, []);
    return { ...row! };
  }
}
