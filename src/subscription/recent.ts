import type { Clock } from "../runtime/runtime.ts";

/** SUBSCRIBEs of the last 64*T1, for merged requests (RFC 3261 8.2.2.2). Bounded: the oldest go first. */
export class RecentRequests {
  readonly #clock: Clock;
  readonly #seen = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True: the same request (From tag, Call-ID, CSeq) has come before, in another transaction. */
  isMerged(fromTag: string, callId: string, cseq: number): boolean {
    const now = this.#clock.now();
    for (const [key, at] of this.#seen) {
      if (at + KEPT_MS > now && this.#seen.size < MOST) break;
      this.#seen.delete(key);
    }
    const key = `${cseq} ${fromTag} ${callId}`;
    if (this.#seen.has(key)) return true;
    this.#seen.set(key, now);
    return false;
  }
}

const KEPT_MS = 32_000;
const MOST = 200_000;
