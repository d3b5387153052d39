import { MalformedHeader, MalformedUri } from "../errors.ts";
import {
  closingQuote,
  GREATER,
  LESS,
  QUESTION,
  QUOTE,
  SEMICOLON,
  skipSpace,
  TAB,
  TOKEN,
  trimEnd,
  unescapeQuoted,
} from "../text.ts";
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

/** Reads one value, unfolded and trimmed. Throws MalformedHeader in the name of `header`. */
export function parseNameAddr(header: string, text: string): NameAddr {
  let display: string | undefined;
  let open: number;
  if (text.charCodeAt(0) === QUOTE) {
    const close = closingQuote(text, 0);
    if (close < 0) throw new MalformedHeader(header, "the quoted display name does not end");
    display = unescapeQuoted(text.slice(1, close));
    open = skipSpace(text, close + 1, text.length);
    if (text.charCodeAt(open) !== LESS) throw new MalformedHeader(header, "a display name is followed by <");
  } else {
    open = 0;
    while (isDisplay(text.charCodeAt(open))) open++;
    if (text.charCodeAt(open) !== LESS) return parseAddrSpec(header, text);
    if (open > 0) display = text.slice(0, trimEnd(text, 0, open));
  }
  const close = text.indexOf(">", open);
  if (close < 0) throw new MalformedHeader(header, "< is not closed by >");
  return make(header, text, display, text.slice(open + 1, close), close + 1);
}

/** Characters of an unquoted display name: tokens and spaces. COMPAT many clients: UTF-8 bytes too. */
function isDisplay(c: number): boolean {
  return TOKEN[c] === 1 || c === 32 || c === TAB || c >= 128;
}

function parseAddrSpec(header: string, text: string): NameAddr {
  let end = 0;
  for (; end < text.length; end++) {
    const c = text.charCodeAt(end);
    if (c === SEMICOLON) break;
    // RFC 3261 20.10: a URI with a comma, question mark or semicolon must stand in brackets.
    if (c === QUESTION || c === 44) throw new MalformedHeader(header, `a URI with '${text[end]}' must stand in <>`);
    if (c === LESS || c === GREATER || c === QUOTE) {
      throw new MalformedHeader(header, "the display name holds characters that must be quoted");
    }
  }
  return make(header, text, undefined, text.slice(0, trimEnd(text, 0, end)), end);
}

function make(header: string, raw: string, display: string | undefined, uriText: string, paramsAt: number): NameAddr {
  const params = parseParams(raw, paramsAt);
  if (params instanceof ParamsFault) throw new MalformedHeader(header, params.reason);
  let uri: Uri;
  try {
    uri = parseUri(uriText);
  } catch (error) {
    if (error instanceof MalformedUri) throw new MalformedHeader(header, error.message, { cause: error });
    throw error;
  }
  return { display, uri, tag: params.get("tag"), params, raw };
}
