import {
  bytesOf,
  COMMA,
  closingQuote,
  GREATER,
  LESS,
  QUESTION,
  QUOTE,
  SEMICOLON,
  SP,
  skipSpace,
  TAB,
  TOKEN,
  trimEnd,
} from "../bytes.ts";
import { MalformedHeader, MalformedUri } from "../errors.ts";
import { unescapeQuoted } from "../text.ts";
import { parseUri, type Uri } from "../uri.ts";
import { type Params, ParamsFault, parseParams } from "./params.ts";

/** `( name-addr / addr-spec ) *( SEMI param )`: From, To, Contact, Route, Record-Route, P-Asserted-Identity (RFC 3261 20.10). */
export interface NameAddr {
  /** Unquoted; undefined where there is none. */
  readonly display: string | undefined;
  readonly uri: Uri;
  readonly tag: string | undefined;
  /** Of the header, not of the URI. */
  readonly params: Params;
  readonly raw: string;
}

/** Reads the one value that stands in `text` from `start` to `end`, unfolded and trimmed. Throws MalformedHeader in the name of `header`. */
export function parseNameAddr(header: string, text: string, start = 0, end: number = text.length): NameAddr {
  const bytes = bytesOf(text);
  let display: string | undefined;
  let open = start;
  if (bytes[start] === QUOTE) {
    const close = closingQuote(bytes, start, end);
    if (close < 0) throw new MalformedHeader(header, "the quoted display name does not end");
    display = unescapeQuoted(text.slice(start + 1, close));
    open = skipSpace(bytes, close + 1, end);
    if (open === end || bytes[open] !== LESS) throw new MalformedHeader(header, "a display name is followed by <");
  } else {
    while (open < end && isDisplay(bytes[open]!)) open++;
    if (open === end || bytes[open] !== LESS) return parseAddrSpec(header, text, start, end);
    if (open > start) display = text.slice(start, trimEnd(bytes, start, open));
  }
  const close = text.indexOf(">", open);
  if (close < 0 || close >= end) throw new MalformedHeader(header, "< is not closed by >");
  const uri = readUri(header, text, open + 1, close);
  return make(header, text, start, end, display, uri, close + 1);
}

/** Characters of an unquoted display name: tokens and spaces. COMPAT many clients: UTF-8 bytes too. */
function isDisplay(c: number): boolean {
  return TOKEN[c] === 1 || c === SP || c === TAB || c >= 128;
}

function parseAddrSpec(header: string, text: string, start: number, end: number): NameAddr {
  const bytes = bytesOf(text);
  let at = start;
  for (; at < end; at++) {
    const c = bytes[at]!;
    if (c === SEMICOLON) break;
    // RFC 3261 20.10: a URI with a comma, question mark or semicolon must stand in brackets.
    if (c === QUESTION || c === COMMA) throw new MalformedHeader(header, `a URI with '${text[at]}' must stand in <>`);
    if (c === LESS || c === GREATER || c === QUOTE) {
      throw new MalformedHeader(header, "the display name holds characters that must be quoted");
    }
  }
  const uri = readUri(header, text, start, trimEnd(bytes, start, at));
  return make(header, text, start, end, undefined, uri, at);
}

function readUri(header: string, text: string, start: number, end: number): Uri {
  try {
    return parseUri(text, start, end);
  } catch (error) {
    if (error instanceof MalformedUri) throw new MalformedHeader(header, error.message, { cause: error });
    throw error;
  }
}

function make(
  header: string,
  text: string,
  start: number,
  end: number,
  display: string | undefined,
  uri: Uri,
  paramsAt: number,
): NameAddr {
  const params = parseParams(text, paramsAt, end);
  if (params instanceof ParamsFault) throw new MalformedHeader(header, params.reason);
  return { display, uri, tag: params.getLower("tag"), params, raw: text.slice(start, end) };
}
