import type { Directory } from "../../src/directory/directory.ts";

/** Two proxies on one database, and its clock in the test's hands. */
export interface Harness {
  readonly east: Directory;
  readonly west: Directory;
  /** Milliseconds since 1970 by the database's clock. */
  now(): number;
  /** Lets this much time pass for everything that is stored. */
  advance(ms: number): Promise<void>;
  /** Awaits an answer, moving virtual time where there is such a thing. */
  run<T>(promise: Promise<T>): Promise<T>;
  /** Waits until `met` holds, for what the feed brings. */
  eventually(met: () => boolean): Promise<void>;
  close(): Promise<void>;
}
