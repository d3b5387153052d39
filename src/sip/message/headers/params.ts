import { bytesOf, closingQuote, EQUALS, matchesAt, QUOTE, SEMICOLON, skipSpace, tableOf } from "../bytes.ts";
import { lowerAscii, unescapeQuoted } from "../text.ts";

const MANY = 16;

/** Parameters of a header value or URI: order kept, names compared without case (RFC 3261 7.3.1). Immutable. */
export class Params {
  static readonly NONE: Params = new Params([]);

  /** Name, value, name, value, … */
  readonly #cells: readonly (string | undefined)[];
  #places: Map<string, number> | undefined;

  /** `cells`: name in lower case, value, and so on in turn. */
  constructor(cells: readonly (string | undefined)[]) {
    this.#cells = cells;
  }

  get size(): number {
    return this.#cells.length / 2;
  }

  has(name: string): boolean {
    return this.#find(lowerAscii(name)) >= 0;
  }

  /** The value, unquoted (of a URI: unescaped); "" for a parameter without one; undefined where the parameter is absent. */
  get(name: string): string | undefined {
    return this.getLower(lowerAscii(name));
  }

  /** The same for a name that is in lower case. */
  getLower(name: string): string | undefined {
    const at = this.#find(name);
    return at < 0 ? undefined : (this.#cells[at + 1] ?? "");
  }

  /** [name in lower case, value or undefined], in the order they stand. */
  *[Symbol.iterator](): IterableIterator<readonly [string, string | undefined]> {
    for (let at = 0; at < this.#cells.length; at += 2) yield [this.#cells[at]!, this.#cells[at + 1]];
  }

  #find(lower: string): number {
    const cells = this.#cells;
    if (cells.length > 2 * MANY) return this.#lookup(lower);
    for (let at = 0; at < cells.length; at += 2) if (cells[at] === lower) return at;
    return -1;
  }

  /** Lists that no honest peer sends must not make comparisons quadratic. */
  #lookup(lower: string): number {
    if (this.#places === undefined) {
      this.#places = new Map();
      for (let at = this.#cells.length - 2; at >= 0; at -= 2) this.#places.set(this.#cells[at]!, at);
    }
    return this.#places.get(lower) ?? -1;
  }
}

const NAME_STOPS = tableOf(';=" \t\r\n');
const VALUE_STOPS = tableOf(';" \t\r\n');

/** Names that nearly every message holds, by length: one string for all, cheaper than a piece of each message. */
const USUAL: Array<{ readonly name: string; readonly bytes: Uint8Array } | undefined> = [];
for (const name of ["lr", "tag", "rport", "branch", "received"]) {
  USUAL[name.length] = { name, bytes: Buffer.from(name, "latin1") };
}

function nameAt(text: string, bytes: Uint8Array, start: number, end: number): string {
  const usual = USUAL[end - start];
  return usual !== undefined && matchesAt(bytes, start, end, usual.bytes) ? usual.name : text.slice(start, end);
}

/** Where a list is written before it is known how long it is. */
const found: (string | undefined)[] = [];

/** Why a text is no parameter list. */
export class ParamsFault {
  readonly reason: string;

  constructor(reason: string) {
    this.reason = reason;
  }
}

/**
 * `*( SEMI generic-param )` in `text` from `at` to `end` (RFC 3261 25.1). Empty parameters (`;;`) are passed over. A value may
 * hold anything but spaces, quotes and semicolons: peers send more than tokens and nothing here depends on it.
 */
export function parseParams(text: string, at: number, end: number = text.length): Params | ParamsFault {
  const bytes = bytesOf(text);
  at = skipSpace(bytes, at, end);
  if (at === end) return Params.NONE;
  let filled = 0;
  let capitals = false;
  while (at < end) {
    if (bytes[at] !== SEMICOLON) return new ParamsFault(`unexpected '${text.slice(at, Math.min(at + 16, end))}'`);
    at = skipSpace(bytes, at + 1, end);
    const nameStart = at;
    for (; at < end; at++) {
      const c = bytes[at]!;
      if (NAME_STOPS[c] === 1) break;
      if (c >= 65 && c <= 90) capitals = true;
    }
    const nameEnd = at;
    at = skipSpace(bytes, at, end);
    let value: string | undefined;
    if (at < end && bytes[at] === EQUALS) {
      if (nameEnd === nameStart) return new ParamsFault("a parameter without a name");
      at = skipSpace(bytes, at + 1, end);
      const valueStart = at;
      if (at < end && bytes[at] === QUOTE) {
        const close = closingQuote(bytes, at, end);
        if (close < 0) return new ParamsFault("a quoted string does not end");
        value = unescapeQuoted(text.slice(at + 1, close));
        at = close + 1;
      } else {
        while (at < end && VALUE_STOPS[bytes[at]!] === 0) at++;
        value = text.slice(valueStart, at);
      }
      at = skipSpace(bytes, at, end);
    }
    if (nameEnd > nameStart) {
      found[filled] = nameAt(text, bytes, nameStart, nameEnd);
      found[filled + 1] = value;
      filled += 2;
    }
  }
  if (filled === 0) return Params.NONE;
  const cells = found.slice(0, filled);
  if (filled > 2 * MANY) found.length = 0;
  if (capitals) for (let i = 0; i < cells.length; i += 2) cells[i] = lowerAscii(cells[i]!);
  return new Params(cells);
}
