import { bytesOf, closingQuote, EQUALS, isSpace, QUOTE, SEMICOLON, skipSpace } from "../bytes.ts";
import { lowerAscii, unescapeQuoted } from "../text.ts";

/** Parameters of a header value or URI: order kept, names compared without case (RFC 3261 7.3.1). Immutable. */
export class Params {
  static readonly NONE: Params = new Params([], []);

  readonly #names: readonly string[];
  readonly #values: readonly (string | undefined)[];

  /** `names` in lower case. */
  constructor(names: readonly string[], values: readonly (string | undefined)[]) {
    this.#names = names;
    this.#values = values;
  }

  get size(): number {
    return this.#names.length;
  }

  has(name: string): boolean {
    return this.#find(name) >= 0;
  }

  /** The value, unquoted (of a URI: unescaped); "" for a parameter without one; undefined where the parameter is absent. */
  get(name: string): string | undefined {
    const i = this.#find(name);
    return i < 0 ? undefined : (this.#values[i] ?? "");
  }

  /** The same for a name that is in lower case. */
  getLower(name: string): string | undefined {
    const i = this.#names.indexOf(name);
    return i < 0 ? undefined : (this.#values[i] ?? "");
  }

  /** [name in lower case, value or undefined], in the order they stand. */
  *[Symbol.iterator](): IterableIterator<readonly [string, string | undefined]> {
    for (let i = 0; i < this.#names.length; i++) yield [this.#names[i]!, this.#values[i]];
  }

  #find(name: string): number {
    if (this.#names.length === 0) return -1;
    const i = this.#names.indexOf(name);
    return i >= 0 ? i : this.#names.indexOf(lowerAscii(name));
  }
}

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
  const names: string[] = [];
  const values: (string | undefined)[] = [];
  let capitals = false;
  while (at < end) {
    if (bytes[at] !== SEMICOLON) return new ParamsFault(`unexpected '${text.slice(at, Math.min(at + 16, end))}'`);
    at = skipSpace(bytes, at + 1, end);
    const nameStart = at;
    for (; at < end; at++) {
      const c = bytes[at]!;
      if (c === SEMICOLON || c === EQUALS || c === QUOTE || isSpace(c)) break;
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
        at = valueEnd(bytes, at, end);
        value = text.slice(valueStart, at);
      }
      at = skipSpace(bytes, at, end);
    }
    if (nameEnd > nameStart) {
      names.push(text.slice(nameStart, nameEnd));
      values.push(value);
    }
  }
  if (names.length === 0) return Params.NONE;
  if (capitals) for (let i = 0; i < names.length; i++) names[i] = lowerAscii(names[i]!);
  return new Params(names, values);
}

function valueEnd(bytes: Uint8Array, at: number, end: number): number {
  for (; at < end; at++) {
    const c = bytes[at]!;
    if (c === SEMICOLON || c === QUOTE || isSpace(c)) break;
  }
  return at;
}
