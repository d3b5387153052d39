/** Where progress is drawn: standard error, where it is a terminal. */
export interface Screen {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

const WIDTH = 30;

/** One line that is drawn over and over; nothing where nobody looks. */
export class ProgressLine {
  readonly #screen: Screen;
  readonly #shown: boolean;

  constructor(screen: Screen, json: boolean) {
    this.#screen = screen;
    this.#shown = screen.isTTY === true && !json;
  }

  /** @param part of the whole, from 0 to 1. */
  draw(part: number, text: string): void {
    if (!this.#shown) return;
    const share = Math.max(0, Math.min(1, part));
    const full = Math.round(share * WIDTH);
    const bar = "#".repeat(full) + ".".repeat(WIDTH - full);
    this.#screen.write(`\r\u001B[K[${bar}] ${Math.floor(share * 100)} %  ${text}`);
  }

  clear(): void {
    if (this.#shown) this.#screen.write("\r\u001B[K");
  }
}

/** Text of others on one line of a terminal: it may hold line ends, and what a terminal would act on. */
export function oneLine(text: string): string {
  return text.replaceAll(/[\x00-\x1f\x7f-\x9f]/g, "?");
}

export function users(count: number): string {
  return `${count} ${count === 1 ? "user" : "users"}`;
}
