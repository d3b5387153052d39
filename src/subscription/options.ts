import type { BackOff } from "../sip/dialog/usage.ts";

/** What the subscription layer needs to know; services.ts makes it from what the program was told. */
export interface SubscriptionOptions {
  /** How long a lease of this process lasts without renewal, milliseconds. */
  readonly leaseMs: number;
  /** Of watchers' subscriptions, seconds: granted where none is asked for (RFC 3856 6.4), refused below (423), cut down to. */
  readonly expires: { readonly default: number; readonly least: number; readonly most: number };
  /** Subscriptions this process keeps at most: of one watcher, of one user, from one origin, of all. */
  readonly caps: {
    readonly perWatcher: number;
    readonly perUser: number;
    readonly perOrigin: number;
    readonly inAll: number;
  };
  /** Retry-After of a 480 or 500, seconds. */
  readonly retryAfterS: number;
  readonly legs: {
    /** Asked of servers, seconds. */
    readonly expires: number;
    readonly backOff: BackOff;
    /**
     * SUBSCRIBEs of legs under way at most, to each server; what is more waits its turn. As many as are answered within T1
     * by servers and a proxy that are busy with all of it: with 2,000 everything was sent again (bench/move.ts).
     */
    readonly asking: number;
    /** How long a fetch waits for the server's document, milliseconds. */
    readonly fetchMs: number;
  };
  readonly notify: {
    /** Of NOTIFYs that were not answered. */
    readonly backOff: BackOff;
    /**
     * Least distance of two NOTIFYs to a watcher, milliseconds; the last state wins (RFC 6446). By default the servers'
     * own pace is kept: each of them is a notifier that RFC 3856 6.10 asks not to tell more than once in five seconds.
     */
    readonly minIntervalMs: number;
  };
  /** How long a SUBSCRIBE waits for its verdict, milliseconds: within the time for a decision. */
  readonly verdictMs: number;
  /** Rows looked at again a second by the background sweep, and after a break of the feed. */
  readonly sweep: { readonly everyMs: number; readonly page: number };
  /** Rows of dead owners taken with one statement. */
  readonly takeBatch: number;
  /** For tests only: rules of concurrency.md that are left out. What they prevent is then to be seen. */
  readonly unsafe?: {
    /** A new subscription is found by the feed only once its insert was answered. */
    readonly indexedLate?: boolean;
    /** What is sent does not depend on the lease. */
    readonly withoutLease?: boolean;
    /** Documents of legs for an older epoch are shown. */
    readonly showsSuperseded?: boolean;
    /** A server that denies a watcher after he was shown something is taken for one that ended. */
    readonly ignoresDenials?: boolean;
    /** Composed documents do not say from which server an element is. */
    readonly dropsMarks?: boolean;
  };
}

export const SUBSCRIPTION_OPTIONS: SubscriptionOptions = {
  leaseMs: 15_000,
  expires: { default: 3600, least: 30, most: 3600 },
  caps: { perWatcher: 2_000, perUser: 100_000, perOrigin: 1_000_000, inAll: 1_500_000 },
  retryAfterS: 10,
  legs: { expires: 3600, backOff: { firstMs: 2_000, mostMs: 300_000 }, asking: 200, fetchMs: 4_000 },
  notify: { backOff: { firstMs: 1_000, mostMs: 60_000 }, minIntervalMs: 0 },
  verdictMs: 5_000,
  sweep: { everyMs: 1_000, page: 500 },
  takeBatch: 250,
};
