import { currentBinding, type Slot } from "./judge.ts";
import type { MemoryStore } from "./memory-store.ts";
import type { Statement, Transaction } from "./memory-transaction.ts";
import {
  type EndOutcome,
  IDLE_MS,
  type ListedMessage,
  type MessageEnd,
  type MessageQuery,
  type MessageState,
  type MessageStore,
  MOST_MESSAGES,
  messageKey,
  type NewMessage,
  type QueueRef,
  type StoreAsk,
  type StoredMessage,
  type StoreOutcome,
  type TakenQueue,
  TRIES_TRACED,
  type TraceEntry,
} from "./messages.ts";
import { isAor } from "./rows.ts";

interface MessageRow extends NewMessage {
  readonly place: number;
  readonly octets: number;
  readonly state: MessageState;
  readonly tries: number;
  readonly endedAt: number | null;
  readonly trace: readonly TraceEntry[];
}

interface QueueRow {
  readonly recipient: string;
  readonly sender: string;
  readonly count: number;
  readonly octets: number;
  readonly fence: number;
  /** Until `dueAt`. */
  readonly taken: boolean;
  readonly asked: readonly string[];
  readonly dueAt: number;
}

const MESSAGES = "messages";
/** The unique index: key -> id. */
const KEYS = "message-keys";
const QUEUES = "message-queues";
/** The flag in the slot, under the slot's lock. */
const FLAGS = "stored";

/** The twin of `postgres/postgres-messages.ts`. */
export class MemoryMessages implements MessageStore {
  readonly #store: MemoryStore;
  readonly #guard: <T>(answer: Promise<T>) => Promise<T>;
  readonly #tell: (aor: string) => void;

  /** @param tell of a slot's flag that changed, to this proxy at once. */
  constructor(store: MemoryStore, guard: <T>(answer: Promise<T>) => Promise<T>, tell: (aor: string) => void) {
    this.#store = store;
    this.#guard = guard;
    this.#tell = tell;
  }

  async store(ask: StoreAsk): Promise<StoreOutcome> {
    const { recipient } = ask.message;
    if (!isAor(recipient)) return { outcome: "empty" };
    const { outcome, first } = await this.#underLock(recipient, (s) => this.#judge(s, ask));
    if (first) this.#tell(recipient);
    return outcome;
  }

  async #judge(s: Statement, ask: StoreAsk): Promise<{ outcome: StoreOutcome; first: boolean }> {
    const { message, limits, underWay } = ask;
    const { recipient, sender } = message;
    const now = this.#now();
    const not = (outcome: StoreOutcome) => ({ outcome, first: false });
    const queue = await s.lock<QueueRow>(QUEUES, queueKey(message));
    const busy = queue?.taken === true && queue.dueAt > now;
    if (busy && message.origin !== null && queue.asked.includes(message.origin)) return not({ outcome: "returned" });
    const key = messageKey(message);
    const known = s.read<string>(KEYS, key);
    if (known !== undefined) {
      const mine = known === message.id && underWay !== null && busy && queue.asked.includes(underWay.server);
      return not({ outcome: "known", queue: mine ? { recipient, sender, fence: queue.fence } : null });
    }
    if (queue === undefined && ask.behindOthers) return not({ outcome: "empty" });
    const queues = s.scan<QueueRow>(QUEUES).map(([, each]) => each);
    const his = queues.filter((each) => each.recipient === recipient);
    const octets = message.request.length;
    if (sum(his, (each) => each.count) >= limits.perRecipient) return not({ outcome: "full", what: "recipient" });
    if (sum(his, (each) => each.octets) + octets > limits.octetsPerRecipient) {
      return not({ outcome: "full", what: "recipient" });
    }
    const senders = queues.filter((each) => each.sender === sender);
    if (sum(senders, (each) => each.count) >= limits.perSender) return not({ outcome: "full", what: "sender" });

    const bound = currentBinding(recipient, s.read<Slot>("slots", recipient), now).binding?.server ?? null;
    const trace: TraceEntry[] = [
      { event: "received", at: message.receivedAt, detail: message.origin ?? "" },
      { event: "stored", at: now, detail: ask.why },
    ];
    const place = this.#store.takeAuditId();
    const row: MessageRow = { ...message, place, octets, state: "stored", tries: 0, endedAt: null, trace };
    s.write(MESSAGES, message.id, row);
    s.write(KEYS, key, message.id);
    const first = s.read<boolean>(FLAGS, recipient) !== true;
    if (first) {
      s.write(FLAGS, recipient, true);
      s.tell({ kind: "user", aor: recipient });
    }
    if (queue !== undefined) {
      s.write(QUEUES, queueKey(message), { ...queue, count: queue.count + 1, octets: queue.octets + octets });
      return { outcome: { outcome: "stored", queue: null, bound }, first };
    }
    const fence = this.#store.takeAuditId();
    const made: QueueRow = {
      recipient,
      sender,
      count: 1,
      octets,
      fence,
      taken: underWay !== null,
      asked: underWay === null ? [] : [underWay.server],
      dueAt: now + (underWay?.holdMs ?? ask.delayMs ?? (bound === null ? IDLE_MS : 0)),
    };
    s.write(QUEUES, queueKey(message), made);
    return {
      outcome: { outcome: "stored", queue: underWay === null ? null : { recipient, sender, fence }, bound },
      first,
    };
  }

  async take(limit: number, holdMs: number): Promise<readonly TakenQueue[]> {
    const queues = await this.#take(limit, holdMs);
    for (const { message } of queues) await this.#removeFirst(message.id);
    return queues;
  }

  async #removeFirst(id: string): Promise<void> {
    if (!this.#store.options.unsafeRemovesFirst) return;
    await this.end(id, { state: "delivered", detail: "removed too soon" }, null, 0);
  }

  #take(limit: number, holdMs: number): Promise<readonly TakenQueue[]> {
    return this.#write(async (s) => {
      const now = this.#now();
      const due = s
        .scan<QueueRow>(QUEUES)
        .filter(([, queue]) => queue.dueAt <= now)
        .sort(([, a], [, b]) => a.dueAt - b.dueAt)
        .map(([key]) => key);
      const taken: TakenQueue[] = [];
      for (const key of due) {
        if (taken.length >= limit) break;
        const queue = s.tryLock<QueueRow>(QUEUES, key);
        // The row as it is now, not as it was in the snapshot.
        if (queue === undefined || queue.dueAt > now) continue;
        const head = this.#headOf(s, queue);
        if (head === null) continue;
        const server =
          currentBinding(queue.recipient, s.read<Slot>("slots", queue.recipient), now).binding?.server ?? null;
        const fence = this.#store.takeAuditId();
        const asked = server === null ? [] : [server];
        s.write(QUEUES, key, { ...queue, fence, taken: true, asked, dueAt: now + holdMs });
        taken.push({ recipient: queue.recipient, sender: queue.sender, fence, message: head, server });
      }
      return taken;
    });
  }

  async asking(queue: QueueRef, servers: readonly string[]): Promise<boolean> {
    const head = await this.#write(async (s) => {
      const row = await s.lock<QueueRow>(QUEUES, queueKey(queue));
      if (row === undefined || row.fence !== queue.fence || !row.taken) return null;
      s.write(QUEUES, queueKey(queue), { ...row, asked: servers });
      return { id: this.#headOf(s, row)?.id };
    });
    if (head?.id !== undefined) await this.#removeFirst(head.id);
    return head !== null;
  }

  async end(id: string, end: MessageEnd, queue: QueueRef | null, holdMs: number): Promise<EndOutcome> {
    const recipient = await this.#guard(
      this.#store.ask(async (s) => s.read<MessageRow>(MESSAGES, id)?.recipient ?? null),
    );
    if (recipient === null) return { ended: false, next: null };
    const { outcome, last } = await this.#underLock(recipient, (s) => this.#endLocked(s, id, end, queue, holdMs));
    if (last) this.#tell(recipient);
    return outcome;
  }

  async #endLocked(s: Statement, id: string, end: MessageEnd, ref: QueueRef | null, holdMs: number) {
    const message = s.read<MessageRow>(MESSAGES, id);
    if (message === undefined) return { outcome: { ended: false, next: null }, last: false };
    const now = this.#now();
    const ended = message.state === "stored";
    if (ended) {
      const event = end.state === "delivered" ? "delivered" : "failed";
      const trace = [...message.trace, { event, at: now, detail: end.detail } as const];
      s.write(MESSAGES, id, { ...message, state: end.state, endedAt: now, request: "", trace });
    }
    const queue = await s.lock<QueueRow>(QUEUES, queueKey(message));
    if (queue === undefined) return { outcome: { ended, next: null }, last: false };
    const mine = ref !== null && queue.taken && queue.fence === ref.fence;
    const count = queue.count - (ended ? 1 : 0);
    if (count > 0) {
      const octets = queue.octets - (ended ? message.octets : 0);
      const held = mine ? { dueAt: now + holdMs } : {};
      s.write(QUEUES, queueKey(message), { ...queue, count, octets, ...held });
      return { outcome: { ended, next: mine ? this.#headOf(s, queue) : null }, last: false };
    }
    s.write(QUEUES, queueKey(message), undefined);
    const last = !s
      .scan<QueueRow>(QUEUES)
      .some(([, each]) => each.recipient === message.recipient && each.sender !== message.sender);
    if (last) {
      s.write(FLAGS, message.recipient, undefined);
      s.tell({ kind: "user", aor: message.recipient });
    }
    return { outcome: { ended, next: null }, last };
  }

  defer(queue: QueueRef, delayMs: number, detail: string | null): Promise<boolean> {
    return this.#write(async (s) => {
      const row = await s.lock<QueueRow>(QUEUES, queueKey(queue));
      if (row === undefined || row.fence !== queue.fence || !row.taken) return false;
      s.write(QUEUES, queueKey(queue), { ...row, taken: false, asked: [], dueAt: this.#now() + delayMs });
      const head = this.#headOf(s, queue);
      if (detail === null || head === null) return true;
      const message = s.read<MessageRow>(MESSAGES, head.id)!;
      const entry: TraceEntry = { event: "tried", at: this.#now(), detail };
      const kept = message.tries < TRIES_TRACED ? message.trace : message.trace.slice(0, -1);
      s.write(MESSAGES, head.id, { ...message, tries: message.tries + 1, trace: [...kept, entry] });
      return true;
    });
  }

  wake(recipients: readonly string[]): Promise<number> {
    const wanted = new Set(recipients);
    return this.#wake((queue) => wanted.has(queue.recipient), Number.POSITIVE_INFINITY, 0);
  }

  wakeBound(server: string | null, limit: number, spreadMs: number): Promise<number> {
    return this.#wake(
      (queue, s) => {
        const { binding } = currentBinding(queue.recipient, s.read<Slot>("slots", queue.recipient), this.#now());
        return binding !== null && (server === null || binding.server === server);
      },
      limit,
      spreadMs,
    );
  }

  #wake(wanted: (queue: QueueRow, s: Statement) => boolean, limit: number, spreadMs: number): Promise<number> {
    return this.#write(async (s) => {
      const now = this.#now();
      let woken = 0;
      for (const [key, seen] of s.scan<QueueRow>(QUEUES)) {
        if (woken >= limit || seen.taken || seen.dueAt <= now + spreadMs || !wanted(seen, s)) continue;
        const queue = await s.lock<QueueRow>(QUEUES, key);
        if (queue === undefined || queue.taken) continue;
        const spread = spreadMs === 0 ? 0 : this.#store.runtime.random.integer(spreadMs);
        s.write(QUEUES, key, { ...queue, dueAt: now + spread });
        woken++;
      }
      return woken;
    });
  }

  overdue(limit: number): Promise<readonly StoredMessage[]> {
    return this.#ask((s) => {
      const now = this.#now();
      return s
        .scan<MessageRow>(MESSAGES)
        .map(([, message]) => message)
        .filter((message) => message.state === "stored" && message.expiresAt <= now)
        .filter((message) => {
          const queue = s.read<QueueRow>(QUEUES, queueKey(message));
          return queue?.taken !== true || queue.dueAt <= now;
        })
        .sort((a, b) => a.expiresAt - b.expiresAt || a.place - b.place)
        .slice(0, limit)
        .map(storedOf);
    });
  }

  sweep(keptMs: number, limit: number): Promise<number> {
    return this.#write(async (s) => {
      const before = this.#now() - keptMs;
      const old = s
        .scan<MessageRow>(MESSAGES)
        .filter(([, message]) => message.endedAt !== null && message.endedAt < before)
        .slice(0, limit);
      for (const [id, message] of old) {
        s.write(MESSAGES, id, undefined);
        s.write(KEYS, messageKey(message), undefined);
      }
      return old.length;
    });
  }

  list(query: MessageQuery): Promise<readonly ListedMessage[]> {
    return this.#ask((s) =>
      s
        .scan<MessageRow>(MESSAGES)
        .map(([, message]) => message)
        .filter(({ recipient }) => query.recipient === undefined || recipient === query.recipient)
        .filter(({ sender }) => query.sender === undefined || sender === query.sender)
        .filter(({ state }) => query.state === undefined || state === query.state)
        .filter(({ place }) => query.after === undefined || place > query.after)
        .sort((a, b) => a.place - b.place)
        .slice(0, Math.max(0, Math.min(query.limit, MOST_MESSAGES)))
        .map(listedOf),
    );
  }

  trace(id: string): Promise<readonly TraceEntry[]> {
    return this.#ask((s) => s.read<MessageRow>(MESSAGES, id)?.trace ?? []);
  }

  count(): Promise<{ messages: number; queues: number; octets: number }> {
    return this.#ask((s) => {
      const queues = s.scan<QueueRow>(QUEUES).map(([, queue]) => queue);
      return {
        messages: sum(queues, (each) => each.count),
        queues: queues.length,
        octets: sum(queues, (each) => each.octets),
      };
    });
  }

  #headOf(s: Statement, { recipient, sender }: { recipient: string; sender: string }): StoredMessage | null {
    let head: MessageRow | null = null;
    for (const [, message] of s.scan<MessageRow>(MESSAGES)) {
      if (message.recipient !== recipient || message.sender !== sender || message.state !== "stored") continue;
      if (head === null || message.place < head.place) head = message;
    }
    return head === null ? null : storedOf(head);
  }

  /** The slot is locked in a statement of its own: what the next one reads is as new as the lock. */
  async #underLock<T>(recipient: string, work: (s: Statement) => Promise<T>): Promise<T> {
    const transaction: Transaction = this.#store.begin();
    try {
      return await this.#guard(
        (async () => {
          await transaction.statement((s) => s.lock("slots", recipient));
          const result = await transaction.statement(work);
          await transaction.commit();
          return result;
        })(),
      );
    } finally {
      transaction.rollback();
    }
  }

  #ask<T>(work: (s: Statement) => T): Promise<T> {
    return this.#guard(this.#store.ask(async (s) => work(s)));
  }

  #write<T>(work: (s: Statement) => Promise<T>): Promise<T> {
    return this.#guard(this.#store.autocommit(work));
  }

  #now(): number {
    return this.#store.runtime.clock.wall();
  }
}

/** Whether something is stored for him, read in the statement of a lookup. */
export function isFlagged(s: Statement, aor: string): boolean {
  return s.read<boolean>(FLAGS, aor) === true;
}

function queueKey({ recipient, sender }: { recipient: string; sender: string }): string {
  return `${recipient}\n${sender}`;
}

function sum<T>(rows: readonly T[], of: (row: T) => number): number {
  return rows.reduce((total, row) => total + of(row), 0);
}

function storedOf({ place, octets, state, endedAt, trace, ...message }: MessageRow): StoredMessage {
  return message;
}

function listedOf({ requestUri, fromTag, cseq, request, trace, ...message }: MessageRow): ListedMessage {
  return message;
}
