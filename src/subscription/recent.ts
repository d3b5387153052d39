import type { Clock } from "../runtime/runtime.ts";
import { ownText } from "./documents.ts";

/**
 * SUBSCRIBEs of the last 64*T1, for merged requests (RFC 3261 8.2.2.2). Bounded: the oldest go first. Two maps that take
 * turns, and nothing is taken out of either: a Map from whose front much was deleted steps over every gap at each look.
 */
export class RecentRequests {
  readonly #clock: Clock;
  #older = new Map<string, number>();
  #younger = new Map<string, number>();
  /** When the younger one was begun, monotonic milliseconds. */
  #since: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#since = clock.now();
  }

  /** True: the same request (From tag, Call-ID, CSeq) has come before, in another transaction. */
  isMerged(fromTag: string, callId: string, cseq: number): boolean {
    const now = this.#clock.now();
    if (now - this.#since >= KEPT_MS || this.#younger.size >= MOST / 2) {
      this.#older = this.#younger;
      this.#younger = new Map();
      this.#since = now;
    }
    const key = `${cseq} ${fromTag} ${callId}`;
    if (key.length > LONGEST) return false;
    const before = this.#younger.get(key) ?? this.#older.get(key);
    if (before !== undefined && now - before < KEPT_MS) return true;
    // What was cut from a message would keep all of it.
    this.#younger.set(ownText(key), now);
    return false;
  }
}

const KEPT_MS = 32_000;
const MOST = 200_000;
/** Characters of what is remembered of a request; one that names itself at greater length is taken as new. */
const LONGEST = 512;
