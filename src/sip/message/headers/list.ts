import {
  BACKSLASH,
  bytesOf,
  CLOSE,
  COMMA,
  closingQuote,
  GREATER,
  LESS,
  OPEN,
  QUOTE,
  skipSpace,
  tableOf,
  trimEnd,
} from "../bytes.ts";

const STOPS = tableOf(',"<(');

/**
 * The end of the list element that begins at `start`: the position of its comma, or `end`. Quoted strings, `<...>` and, with
 * `comments`, `(...)` are passed over whole; what does not close lasts to the end.
 */
export function elementEnd(bytes: Uint8Array, start: number, end: number, comments: boolean): number {
  for (let at = start; at < end; at++) {
    const c = bytes[at]!;
    if (STOPS[c] === 0) continue;
    if (c === COMMA) return at;
    if (c === QUOTE) {
      at = closingQuote(bytes, at, end);
      if (at < 0) return end;
    } else if (c === LESS) {
      while (at < end && bytes[at]! !== GREATER) at++;
    } else if (c === OPEN && comments) {
      at = commentEnd(bytes, at, end);
      if (at < 0) return end;
    }
  }
  return end;
}

function commentEnd(bytes: Uint8Array, open: number, end: number): number {
  let depth = 0;
  for (let at = open; at < end; at++) {
    const c = bytes[at]!;
    if (c === BACKSLASH) at++;
    else if (c === OPEN) depth++;
    else if (c === CLOSE && --depth === 0) return at;
  }
  return -1;
}

/** Whether a parenthesis stays open: then none of them is taken for a comment, for they may stand in a URI as they are. */
function hasOpenComment(bytes: Uint8Array, end: number): boolean {
  for (let at = 0; at < end; at++) {
    const c = bytes[at]!;
    if (c === QUOTE) {
      at = closingQuote(bytes, at, end);
      if (at < 0) return false;
    } else if (c === LESS) {
      while (at < end && bytes[at] !== GREATER) at++;
    } else if (c === OPEN) {
      at = commentEnd(bytes, at, end);
      if (at < 0) return true;
    }
  }
  return false;
}

/** The elements of a comma-separated list, trimmed. Empty elements are kept as "": who reads the list judges them. */
export function splitList(text: string, comments: boolean): string[] {
  const bytes = bytesOf(text);
  if (comments && text.indexOf("(") >= 0) comments = !hasOpenComment(bytes, text.length);
  const elements: string[] = [];
  for (let start = 0; ; ) {
    const end = elementEnd(bytes, start, text.length, comments);
    const from = skipSpace(bytes, start, end);
    elements.push(text.slice(from, trimEnd(bytes, from, end)));
    if (end === text.length) return elements;
    start = end + 1;
  }
}
