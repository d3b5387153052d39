/** What happened, in order: what a failing seed prints. */
export class Story {
  readonly #now: () => number;
  readonly #lines: Array<{ readonly at: number; readonly user: string; readonly what: string }> = [];
  readonly #faults: Array<{ readonly user: string; readonly what: string }> = [];

  constructor(now: () => number) {
    this.#now = now;
  }

  /** @param user whom it is about; "" for everybody. */
  tell(user: string, what: string): void {
    this.#lines.push({ at: this.#now(), user, what });
  }

  /** Something that must never happen did. */
  wrong(user: string, what: string): void {
    this.#faults.push({ user, what: `${this.#now().toFixed(1)} ${what}` });
    this.tell(user, `!!! ${what}`);
  }

  get faults(): readonly string[] {
    return this.#faults.map(({ user, what }) => (user === "" ? what : `${user}: ${what}`));
  }

  /** Of the user whom the first fault is about. */
  print(): string {
    const user = this.#faults[0]?.user ?? "";
    const told = this.#lines.filter((line) => user === "" || line.user === user || line.user === "");
    return told.map(({ at, what }) => `${at.toFixed(1).padStart(9)} ${what}`).join("\n");
  }
}
