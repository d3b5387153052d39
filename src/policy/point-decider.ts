import { LRUCache } from "lru-cache";
import type { Runtime } from "../runtime/runtime.ts";
import type { AuthzenClient } from "./authzen-client.ts";
import type { Decider } from "./decider.ts";
import { permissionsText } from "./explain-rules.ts";
import type { AuthzenOptions } from "./options.ts";
import { EVERYTHING } from "./permissions.ts";
import type { PointAnswer } from "./point-answer.ts";
import { evaluationOf, questionKey } from "./point-question.ts";
import type { Contact, Question, SenderVerdict, WatcherVerdict } from "./policy.ts";
import { unknownSender, unknownWatcher, watcherVerdict } from "./verdicts.ts";

/** So soon a point that could not be asked is asked again, milliseconds. */
const AGAIN = 5000;

interface Entry {
  readonly aor: string;
  readonly answer: PointAnswer;
  /** Milliseconds since 1970: believed, and standing in where nobody can be asked, until then. */
  readonly freshUntil: number;
  readonly staleUntil: number;
}

interface Flight {
  readonly aor: string;
  readonly promise: Promise<Entry | string>;
  dirty: boolean;
}

/**
 * Way `pdp`: a decision point is asked. What it has said is remembered for a while, by question; the same question asked by
 * many at once is asked once. A change that is told drops what is remembered; what was asked before it is answered to those
 * who wait, and not kept.
 */
export class PointDecider implements Decider {
  readonly #runtime: Runtime;
  readonly #client: AuthzenClient;
  readonly #options: AuthzenOptions;
  readonly #known: LRUCache<string, Entry>;
  /** Keys of what is known of each user. */
  readonly #ofUser = new Map<string, Set<string>>();
  readonly #flights = new Map<string, Flight>();

  constructor(runtime: Runtime, client: AuthzenClient, options: AuthzenOptions) {
    this.#runtime = runtime;
    this.#client = client;
    this.#options = options;
    this.#known = new LRUCache({
      maxSize: options.entries,
      sizeCalculation: () => 1,
      dispose: (entry, key) => this.#disposed(entry.aor, key),
    });
  }

  watcher(question: Question): WatcherVerdict | Promise<WatcherVerdict> {
    const answer = this.#answer(question, null);
    const verdict = (entry: Entry | string): WatcherVerdict => this.#watcher(entry);
    return answer instanceof Promise ? answer.then(verdict) : verdict(answer);
  }

  sender(question: Question, method: Contact): SenderVerdict | Promise<SenderVerdict> {
    const answer = this.#answer(question, method);
    const verdict = (entry: Entry | string): SenderVerdict => this.#sender(entry);
    return answer instanceof Promise ? answer.then(verdict) : verdict(answer);
  }

  async explain(question: Question, method: Contact | null): Promise<readonly string[]> {
    const key = questionKey(question, method);
    const remembered = this.#fresh(key) !== undefined;
    const entry = await this.#answer(question, method);
    const evaluation = JSON.stringify(evaluationOf(question, method, this.#now));
    if (typeof entry === "string") return [`asked: ${evaluation}`, `not answered: ${entry}`];
    const { decision, handling, permissions } = entry.answer;
    const shown = method === null && handling === "allow" ? `, shown: ${permissionsText(permissions)}` : "";
    const until = new Date(entry.freshUntil).toISOString();
    return [
      `${remembered ? "remembered" : "asked"}: ${evaluation}`,
      `answered: ${decision}${method === null ? `, ${handling}` : ""}${shown}; believed until ${until}`,
    ];
  }

  changed(aor: string | null): void {
    for (const [key, flight] of this.#flights) {
      if (aor !== null && flight.aor !== aor) continue;
      flight.dirty = true;
      this.#flights.delete(key);
    }
    if (aor === null) this.#known.clear();
    else for (const key of [...(this.#ofUser.get(aor) ?? [])]) this.#known.delete(key);
  }

  stop(): void {
    this.#client.stop();
    this.changed(null);
  }

  get #now(): number {
    return this.#runtime.clock.wall();
  }

  /** A text: why there is no answer. */
  #answer(question: Question, method: Contact | null): Entry | Promise<Entry | string> {
    const key = questionKey(question, method);
    const known = this.#fresh(key);
    if (known !== undefined) return known;
    const running = this.#flights.get(key);
    if (running !== undefined) return running.promise;
    const flight: Flight = { aor: question.aor, promise: this.#ask(question, method), dirty: false };
    this.#flights.set(key, flight);
    void flight.promise.then((entry) => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
      if (typeof entry !== "string" && !flight.dirty) this.#keep(key, entry);
    });
    return flight.promise.then((entry) => (typeof entry === "string" ? (this.#standIn(key) ?? entry) : entry));
  }

  #fresh(key: string): Entry | undefined {
    const entry = this.#known.get(key);
    return entry !== undefined && this.#now < entry.freshUntil ? entry : undefined;
  }

  #standIn(key: string): Entry | undefined {
    const entry = this.#known.peek(key);
    if (entry === undefined || this.#now >= entry.staleUntil) return undefined;
    return { ...entry, freshUntil: this.#now + AGAIN };
  }

  async #ask(question: Question, method: Contact | null): Promise<Entry | string> {
    const { cacheMs, staleMs } = this.#options;
    try {
      const answer = await this.#client.ask(evaluationOf(question, method, this.#now));
      const freshUntil = this.#now + Math.min(cacheMs, answer.ttlMs ?? cacheMs);
      return { aor: question.aor, answer, freshUntil, staleUntil: freshUntil + staleMs };
    } catch (error) {
      return (error as Error).message;
    }
  }

  #keep(key: string, entry: Entry): void {
    if (entry.staleUntil <= this.#now) return;
    this.#known.set(key, entry);
    const keys = this.#ofUser.get(entry.aor) ?? new Set();
    this.#ofUser.set(entry.aor, keys.add(key));
  }

  #disposed(aor: string, key: string): void {
    const keys = this.#ofUser.get(aor);
    if (keys?.delete(key) === true && keys.size === 0) this.#ofUser.delete(aor);
  }

  #watcher(entry: Entry | string): WatcherVerdict {
    const until = this.#now + AGAIN;
    if (typeof entry !== "string") {
      const { handling, permissions, rule, bySphere } = entry.answer;
      return watcherVerdict(handling, permissions, { until: entry.freshUntil, bySphere, rule: this.#named(rule) });
    }
    const { unavailable } = this.#options;
    const rule = this.#named(entry);
    if (unavailable === "block") return unknownWatcher(rule, until);
    return watcherVerdict(unavailable, EVERYTHING, { until, bySphere: false, rule });
  }

  #sender(entry: Entry | string): SenderVerdict {
    if (typeof entry !== "string") {
      return { allowed: entry.answer.decision, rule: this.#named(entry.answer.rule), known: true };
    }
    const rule = this.#named(entry);
    return this.#options.unavailable === "allow" ? { allowed: true, rule, known: true } : unknownSender(rule);
  }

  #named(detail: string): string {
    return `pdp ${this.#options.url}${detail === "" ? "" : `: ${detail}`}`;
  }
}
