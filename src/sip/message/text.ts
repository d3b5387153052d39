import { bytesOf, isTokenAt, skipSpace, trimEnd } from "./bytes.ts";

/**
 * Text helpers for latin1 strings that stand for bytes. JavaScript's own `trim`, `toLowerCase` and `\s` are not safe here: they
 * take the bytes of UTF-8 sequences (0xA0, 0xC0-0xDE) for spaces and capital letters.
 */

export function isToken(text: string): boolean {
  return isTokenAt(bytesOf(text), 0, text.length);
}

export function trimmed(text: string, start = 0, end: number = text.length): string {
  const bytes = bytesOf(text);
  const from = skipSpace(bytes, start, end);
  return text.slice(from, trimEnd(bytes, from, end));
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
  let capitals = false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c >= 65 && c <= 90) capitals = true;
    else if (c > 127) return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  }
  return capitals ? text.toLowerCase() : text;
}

/** The piece of `text` from `start` to `end`, which must be ASCII, in lower case. */
export function lowerAt(text: string, start: number, end: number): string {
  const bytes = bytesOf(text);
  let at = start;
  while (at < end && !(bytes[at]! >= 65 && bytes[at]! <= 90)) at++;
  return at === end ? text.slice(start, end) : text.slice(start, end).toLowerCase();
}

export function equalsIgnoringCase(a: string, b: string): boolean {
  return a === b || (a.length === b.length && lowerAscii(a) === lowerAscii(b));
}

/** The content of a quoted-string, given without its quotes. */
export function unescapeQuoted(content: string): string {
  return content.indexOf("\\") < 0 ? content : content.replace(/\\([\s\S])/g, "$1");
}

/** `text` as a quoted-string (RFC 3261 25.1). */
export function quote(text: string): string {
  return `"${text.replace(/["\\]/g, "\\$&")}"`;
}

/** 1*DIGIT up to `max`; -1 where it is anything else. */
export function parseDigits(text: string, max: number): number {
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
    if (value > max) return -1;
  }
  return text.length > 0 ? value : -1;
}

/** What people read, from a latin1 string whose bytes are UTF-8. Bytes that are not become U+FFFD. */
export function decodeUtf8(bytes: string): string {
  return Buffer.from(bytes, "latin1").toString("utf8");
}

/** The UTF-8 bytes of `text` as a latin1 string, for bodies and header values. */
export function encodeUtf8(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}
