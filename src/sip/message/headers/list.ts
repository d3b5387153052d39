import { BACKSLASH, CLOSE, COMMA, closingQuote, GREATER, LESS, OPEN, QUOTE, skipSpace, trimEnd } from "../text.ts";

/**
 * The end of the list element that begins at `start`: the position of its comma, or `end`. Quoted strings, `<...>` and, with
 * `comments`, `(...)` are passed over whole; what does not close lasts to the end (of a comment: is no comment).
 */
export function elementEnd(text: string, start: number, end: number, comments: boolean): number {
  for (let at = start; at < end; at++) {
    const c = text.charCodeAt(at);
    if (c === COMMA) return at;
    if (c === QUOTE) {
      at = closingQuote(text, at, end);
      if (at < 0) return end;
    } else if (c === LESS) {
      while (at < end && text.charCodeAt(at) !== GREATER) at++;
    } else if (c === OPEN && comments) {
      const close = commentEnd(text, at, end);
      if (close < 0) comments = false;
      else at = close;
    }
  }
  return end;
}

function commentEnd(text: string, open: number, end: number): number {
  let depth = 0;
  for (let at = open; at < end; at++) {
    const c = text.charCodeAt(at);
    if (c === BACKSLASH) at++;
    else if (c === OPEN) depth++;
    else if (c === CLOSE && --depth === 0) return at;
  }
  return -1;
}

/** The elements of a comma-separated list, trimmed. Empty elements are kept as "": who reads the list judges them. */
export function splitList(text: string, comments: boolean): string[] {
  const elements: string[] = [];
  for (let start = 0; ; ) {
    const end = elementEnd(text, start, text.length, comments);
    const from = skipSpace(text, start, end);
    elements.push(text.slice(from, trimEnd(text, from, end)));
    if (end === text.length) return elements;
    start = end + 1;
  }
}
