/**
 * Text helpers for latin1 strings that stand for bytes. JavaScript's own `trim`, `toLowerCase` and `\s` are not safe here: they
 * take the bytes of UTF-8 sequences (0xA0, 0xC0-0xDE) for spaces and capital letters.
 */

export const TAB = 9;
export const LF = 10;
export const CR = 13;
export const SP = 32;
export const QUOTE = 34;
export const OPEN = 40;
export const CLOSE = 41;
export const COMMA = 44;
export const SLASH = 47;
export const COLON = 58;
export const SEMICOLON = 59;
export const LESS = 60;
export const EQUALS = 61;
export const GREATER = 62;
export const QUESTION = 63;
export const AT = 64;
export const BACKSLASH = 92;

/** 1 for the characters of `token` (RFC 3261 25.1). */
export const TOKEN: Uint8Array = new Uint8Array(65_536);
for (const c of "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~") TOKEN[c.charCodeAt(0)] = 1;

export function isToken(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (TOKEN[text.charCodeAt(i)] !== 1) return false;
  return text.length > 0;
}

/** SP, HTAB, or a part of a fold. */
export function isSpace(c: number): boolean {
  return c === SP || c === TAB || c === CR || c === LF;
}

/** The first position from `at` on, below `end`, that is no space. */
export function skipSpace(text: string, at: number, end: number): number {
  while (at < end && isSpace(text.charCodeAt(at))) at++;
  return at;
}

/** The end of `text` without the spaces before `end`. */
export function trimEnd(text: string, start: number, end: number): number {
  while (end > start && isSpace(text.charCodeAt(end - 1))) end--;
  return end;
}

export function trimmed(text: string, start = 0, end: number = text.length): string {
  const from = skipSpace(text, start, end);
  return text.slice(from, trimEnd(text, from, end));
}

/** Folds become one space (RFC 3261 7.3.1). */
export function unfold(text: string): string {
  if (text.indexOf("\n") < 0) return text;
  const lines = text.split("\n");
  for (let i = 0; i < lines.length; i++) lines[i] = trimmed(lines[i]!);
  return trimmed(lines.join(" "));
}

/** A-Z become a-z, all else stays. */
export function lowerAscii(text: string): string {
  let upper = false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c >= 65 && c <= 90) upper = true;
    else if (c > 127) return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  }
  return upper ? text.toLowerCase() : text;
}

/** Whether `text` from `start` to `end` is `lower`, which must be in lower case; A-Z match a-z. */
export function matchesAt(text: string, start: number, end: number, lower: string): boolean {
  if (end - start !== lower.length) return false;
  for (let i = 0; i < lower.length; i++) {
    let c = text.charCodeAt(start + i);
    if (c >= 65 && c <= 90) c += 32;
    if (c !== lower.charCodeAt(i)) return false;
  }
  return true;
}

export function equalsIgnoringCase(a: string, b: string): boolean {
  return a === b || (a.length === b.length && lowerAscii(a) === lowerAscii(b));
}

/** The position of the quote that closes the one at `open`, or -1. A backslash takes the next character with it. */
export function closingQuote(text: string, open: number, end: number = text.length): number {
  for (let i = open + 1; i < end; i++) {
    const c = text.charCodeAt(i);
    if (c === BACKSLASH) i++;
    else if (c === QUOTE) return i;
  }
  return -1;
}

/** The content of a quoted-string, given without its quotes. */
export function unescapeQuoted(content: string): string {
  return content.indexOf("\\") < 0 ? content : content.replace(/\\([\s\S])/g, "$1");
}

/** `text` as a quoted-string (RFC 3261 25.1). */
export function quote(text: string): string {
  return `"${text.replace(/["\\]/g, "\\$&")}"`;
}

/** 1*DIGIT up to `max`; -1 where it is anything else. Leading zeros are allowed (RFC 4475 3.1.1.1). */
export function parseDigits(text: string, max: number): number {
  if (text.length === 0) return -1;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
    if (value > max) return -1;
  }
  return value;
}

/** What people read, from a latin1 string whose bytes are UTF-8. Bytes that are not become U+FFFD. */
export function decodeUtf8(bytes: string): string {
  return Buffer.from(bytes, "latin1").toString("utf8");
}

/** The UTF-8 bytes of `text` as a latin1 string, for bodies and header values. */
export function encodeUtf8(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}
