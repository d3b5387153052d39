/** What answers mean for a subscription: shared by both ends. */

/** A final response, or what takes the place of one: nobody answered (Timer F), or there was no way to send. */
export type Answer = number | "timeout" | "unreachable";

/**
 * RFC 6665 4.1.2.2 and 4.2.2: these "MUST" end the subscription, of a refresh as of a NOTIFY; with them 502, which ends the dialog by
 * RFC 5057 5.1. Everything else is a complaint about one transaction (408 is not 481).
 */
const ENDING: ReadonlySet<number> = new Set([404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 502, 604]);

export function endsUsage(answer: Answer): boolean {
  return typeof answer === "number" && ENDING.has(answer);
}

/** Refusals of what the request says: the same request would be refused again. */
const FINAL_5XX: ReadonlySet<number> = new Set([501, 502, 505, 513, 555, 580]);

/** Whether the same again may well be answered better later (RFC 5057 5.1, notes 4, 13, 15 and 16). */
export function isPassing(answer: Answer): boolean {
  if (typeof answer === "string") return true;
  if (answer === 408 || answer === 491) return true;
  return answer >= 500 && answer < 600 && !FINAL_5XX.has(answer);
}

export interface BackOff {
  /** Milliseconds before the first try again; each further one waits twice as long. */
  readonly firstMs: number;
  readonly mostMs: number;
}

/** @param failures in a row, this one counted. `retryAfter`: seconds, as the peer asked; it beats the rule where it is longer. */
export function backOffMs(rule: BackOff, failures: number, retryAfter: number | undefined): number {
  const own = Math.min(rule.mostMs, rule.firstMs * 2 ** Math.min(failures - 1, 20));
  return Math.max(own, (retryAfter ?? 0) * 1000);
}
