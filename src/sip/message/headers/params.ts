import { closingQuote, EQUALS, isSpace, lowerAscii, QUOTE, SEMICOLON, skipSpace, unescapeQuoted } from "../text.ts";

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
    return this.#names.includes(lowerAscii(name));
  }

  /** The value, unquoted (of a URI: unescaped); "" for a parameter without one; undefined where the parameter is absent. */
  get(name: string): string | undefined {
    const i = this.#names.indexOf(lowerAscii(name));
    return i < 0 ? undefined : (this.#values[i] ?? "");
  }

  /** [name in lower case, value or undefined], in the order they stand. */
  *[Symbol.iterator](): IterableIterator<readonly [string, string | undefined]> {
    for (let i = 0; i < this.#names.length; i++) yield [this.#names[i]!, this.#values[i]];
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
 * `*( SEMI generic-param )` from `at` to the end of `text` (RFC 3261 25.1). Empty parameters (`;;`) are passed over. A value may
 * hold anything but spaces, quotes and semicolons: peers send more than tokens and nothing here depends on it.
 */
export function parseParams(text: string, at: number): Params | ParamsFault {
  const end = text.length;
  at = skipSpace(text, at, end);
  if (at === end) return Params.NONE;
  const names: string[] = [];
  const values: (string | undefined)[] = [];
  while (at < end) {
    if (text.charCodeAt(at) !== SEMICOLON) return new ParamsFault(`unexpected '${text.slice(at, at + 16)}'`);
    at = skipSpace(text, at + 1, end);
    const nameStart = at;
    at = wordEnd(text, at, end);
    const name = lowerAscii(text.slice(nameStart, at));
    at = skipSpace(text, at, end);
    let value: string | undefined;
    if (at < end && text.charCodeAt(at) === EQUALS) {
      at = skipSpace(text, at + 1, end);
      if (text.charCodeAt(at) === QUOTE) {
        const close = closingQuote(text, at);
        if (close < 0) return new ParamsFault("a quoted string does not end");
        value = unescapeQuoted(text.slice(at + 1, close));
        at = close + 1;
      } else {
        const valueStart = at;
        at = valueEnd(text, at, end);
        value = text.slice(valueStart, at);
      }
      at = skipSpace(text, at, end);
      if (name === "") return new ParamsFault("a parameter without a name");
    }
    if (name !== "") {
      names.push(name);
      values.push(value);
    }
  }
  return names.length === 0 ? Params.NONE : new Params(names, values);
}

function wordEnd(text: string, at: number, end: number): number {
  for (; at < end; at++) {
    const c = text.charCodeAt(at);
    if (c === SEMICOLON || c === EQUALS || c === QUOTE || isSpace(c)) break;
  }
  return at;
}

function valueEnd(text: string, at: number, end: number): number {
  for (; at < end; at++) {
    const c = text.charCodeAt(at);
    if (c === SEMICOLON || c === QUOTE || isSpace(c)) break;
  }
  return at;
}
