import { ownText } from "./documents.ts";

/** Accept values of watchers: few different ones, each kept once. Bounded: one more than that is a copy of its own. */
export class Accepts {
  readonly #known = new Map<string, string>();

  share(value: string): string {
    const known = this.#known.get(value);
    if (known !== undefined) return known;
    const own = ownText(value.slice(0, MOST_CHARACTERS));
    if (this.#known.size < MOST_KNOWN) this.#known.set(own, own);
    return own;
  }
}

const MOST_KNOWN = 1000;
const MOST_CHARACTERS = 500;

/**
 * What a leg may be sent: what the watcher reads, but for documents that only tell differences (RFC 5263), which mean
 * nothing once the latest state wins and the server behind can change.
 */
export function acceptForLeg(values: readonly string[], event: string): string {
  const whole = values.filter((value) => !/^application\/pidf-diff\+xml\b/i.test(value));
  if (whole.length > 0) return whole.join(", ");
  return event === "presence" ? "application/pidf+xml" : "";
}
