/**
 * Who owns what (concurrency.md 7): the port. Every running process of a proxy is one *owner* with one lease; rows that
 * need an owner name it, and carry a fencing epoch of their own that rises with every change of hands. A lease that
 * lapsed is first declared over, by whoever notices; then the rows are taken, each under its own lock. An owner whose
 * lease was declared over can write nothing any more under that name and begins anew under another.
 */
export interface Leases {
  /**
   * Begins a lease under a new name, never used before.
   * @param contact URI under which others reach this proxy, for requests in dialogs of which it is the owner.
   */
  open(contact: string, leaseMs: number): Promise<string>;
  /** `over`: somebody has declared it over, or nothing is known of it. */
  renew(owner: string, leaseMs: number): Promise<"renewed" | "over">;
  /** Gives up, for good: what it owns may be taken at once. */
  close(owner: string): Promise<void>;
  /**
   * Declares over every lease that has lapsed by the database's clock, for good; says of which owners something is left
   * to take, however long they have been over. Only for a proxy that has itself renewed without a gap for a whole lease:
   * after an outage of the database everybody's has lapsed.
   */
  endLapsed(): Promise<readonly string[]>;
  /** The contact of an owner whose lease runs; null: there is none. */
  contactOf(owner: string): Promise<string | null>;
}
