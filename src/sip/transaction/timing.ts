/** RFC 3261 table 4, all in milliseconds. */
export interface Timing {
  readonly t1: number;
  readonly t2: number;
  readonly t4: number;
  /** 64*T1: Timers B, F, H, J, L and M. */
  readonly transaction: number;
  /** 17.1.1.2: Timer D is "at least 32 seconds", for the peer's T1 is not known. */
  readonly d: number;
  /** When a client's Timer E is reset to T2 (RFC 4320 4.1): 3.5 s with the default values. */
  readonly nonInvite100: number;
  /** When an INVITE nobody has answered yet gets its 100; within the 200 ms of 17.2.1 even where a tick comes late. */
  readonly invite100: number;
}

export function timing(t1 = 500, t2 = 4000, t4 = 5000): Timing {
  const transaction = 64 * t1;
  let nonInvite100 = 0;
  for (let interval = t1; interval < t2; interval = 2 * interval) nonInvite100 += interval;
  return {
    t1,
    t2,
    t4,
    transaction,
    d: Math.max(32_000, transaction),
    nonInvite100: Math.min(nonInvite100, transaction),
    invite100: 150,
  };
}
