/**
 * What servers of users who are on several are being asked this moment, through this proxy: the same from a server that is
 * being asked is its way of saying that it has no such user (models.md, "Default routes point at us"). Each entry lives as
 * long as a branch.
 */
export class OpenSpreads {
  readonly #open = new Map<string, number>();

  get size(): number {
    return this.#open.size;
  }

  /** @param key of server, pair and text. */
  begin(key: string): void {
    this.#open.set(key, (this.#open.get(key) ?? 0) + 1);
  }

  end(key: string): void {
    const left = (this.#open.get(key) ?? 0) - 1;
    if (left > 0) this.#open.set(key, left);
    else this.#open.delete(key);
  }

  has(key: string): boolean {
    return this.#open.has(key);
  }
}
