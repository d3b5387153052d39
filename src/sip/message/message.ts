import { bytesOf, COMMA, skipSpace, trimEnd } from "./bytes.ts";
import { Editor } from "./edit.ts";
import { MalformedHeader, ParseError } from "./errors.ts";
import { type HeaderIndex, HeadFault, scanHead } from "./header-index.ts";
import { H, headerId, headerName } from "./header-names.ts";
import { elementEnd, splitList } from "./headers/list.ts";
import { type NameAddr, parseNameAddr } from "./headers/name-addr.ts";
import {
  type CSeq,
  type EventValue,
  parseCallId,
  parseContentLength,
  parseCSeq,
  parseEvent,
  parseExpires,
  parseMaxForwards,
  parseSubscriptionState,
  type SubscriptionStateValue,
} from "./headers/scalars.ts";
import { parseVia, type Via } from "./headers/via.ts";
import { readRequestLine } from "./start-line.ts";
import { parseUri, type Uri } from "./uri.ts";

export type { NameAddr } from "./headers/name-addr.ts";
export { Params } from "./headers/params.ts";
export type { CSeq, EventValue, SubscriptionStateValue } from "./headers/scalars.ts";
export type { Via } from "./headers/via.ts";

/**
 * An immutable SIP message: `raw` is a latin1 string, one character a byte, with an index of its header lines. Typed accessors
 * parse on first use and remember; they throw MalformedHeader where the value is against the grammar, and where a mandatory
 * header is missing. Strings handed out may share memory with `raw`: what is kept for long holds the whole message.
 */
export abstract class SipMessage {
  readonly raw: string;
  #index: HeaderIndex | undefined;
  #via: Via | undefined;
  #vias: readonly Via[] | undefined;
  #from: NameAddr | undefined;
  #to: NameAddr | undefined;
  #callId: string | undefined;
  #cseq: CSeq | undefined;
  #maxForwards: number | undefined;
  #expires: number | undefined;
  #contentLength: number | undefined;
  #event: EventValue | undefined;
  #subscriptionState: SubscriptionStateValue | undefined;
  #routes: readonly NameAddr[] | undefined;
  #recordRoutes: readonly NameAddr[] | undefined;
  #contacts: readonly NameAddr[] | undefined;
  #identities: readonly NameAddr[] | undefined;

  constructor(raw: string, index: HeaderIndex | undefined) {
    this.raw = raw;
    this.#index = index;
  }

  /** For this folder: where the header lines stand. Scanned on first use. */
  get index(): HeaderIndex {
    this.#index ??= indexOf(this.raw);
    return this.#index;
  }

  /** Everything after the empty line, latin1. */
  get body(): string {
    return this.raw.slice(this.index.bodyStart);
  }

  get headerCount(): number {
    return this.index.count;
  }

  has(name: string): boolean {
    return this.index.line(headerId(name), name) >= 0;
  }

  /** The value of the first line of this header, unfolded and trimmed. Any case and compact forms match. */
  header(name: string): string | undefined {
    const line = this.index.line(headerId(name), name);
    return line < 0 ? undefined : this.index.value(line);
  }

  /** The value of every line of this header, in order. */
  headers(name: string): string[] {
    const id = headerId(name);
    const found: string[] = [];
    for (let line = this.index.line(id, name); line >= 0; line = this.index.line(id, name, line + 1)) {
      found.push(this.index.value(line));
    }
    return found;
  }

  /** The elements of a comma-separated header over all its lines, trimmed; empty ones are left out. */
  values(name: string): string[] {
    const values: string[] = [];
    for (const text of this.headers(name))
      for (const value of splitList(text, true)) if (value !== "") values.push(value);
    return values;
  }

  /** The topmost Via. */
  get via(): Via {
    if (this.#via === undefined) {
      const line = this.index.find(H.Via);
      if (line < 0) throw missing(H.Via);
      this.#via = this.#read(line, parseFirstVia);
    }
    return this.#via;
  }

  /** Whether there is a Via below the topmost. It is read only where both stand on one line. */
  get hasLowerVia(): boolean {
    const index = this.index;
    const first = index.find(H.Via);
    if (index.find(H.Via, first + 1) >= 0) return true;
    return first >= 0 && index.holds(first, COMMA) && this.vias.length > 1;
  }

  get vias(): readonly Via[] {
    if (this.#vias === undefined) {
      this.#vias = this.#list(H.Via, parseVia);
      this.#via ??= this.#vias[0];
    }
    return this.#vias;
  }

  get from(): NameAddr {
    this.#from ??= this.#mandatory(H.From, parseFrom);
    return this.#from;
  }

  get to(): NameAddr {
    this.#to ??= this.#mandatory(H.To, parseTo);
    return this.#to;
  }

  get callId(): string {
    this.#callId ??= this.#mandatory(H.CallId, parseCallId);
    return this.#callId;
  }

  get cseq(): CSeq {
    this.#cseq ??= this.#mandatory(H.CSeq, parseCSeq);
    return this.#cseq;
  }

  get maxForwards(): number | undefined {
    this.#maxForwards ??= this.#optional(H.MaxForwards, parseMaxForwards);
    return this.#maxForwards;
  }

  /** Seconds. */
  get expires(): number | undefined {
    this.#expires ??= this.#optional(H.Expires, parseExpires);
    return this.#expires;
  }

  /** Octets. */
  get contentLength(): number | undefined {
    this.#contentLength ??= this.#optional(H.ContentLength, parseContentLength);
    return this.#contentLength;
  }

  get routes(): readonly NameAddr[] {
    this.#routes ??= this.#addresses(H.Route);
    return this.#routes;
  }

  get recordRoutes(): readonly NameAddr[] {
    this.#recordRoutes ??= this.#addresses(H.RecordRoute);
    return this.#recordRoutes;
  }

  get contacts(): readonly NameAddr[] | "*" {
    if (this.#contacts !== undefined) return this.#contacts;
    const line = this.index.find(H.Contact);
    if (line < 0 || this.index.rawValue(line) !== "*") {
      this.#contacts = this.#addresses(H.Contact);
      return this.#contacts;
    }
    if (this.index.find(H.Contact, line + 1) >= 0)
      throw new MalformedHeader("Contact", "'*' stands beside other values");
    return "*";
  }

  /** P-Asserted-Identity (RFC 3325). */
  get identities(): readonly NameAddr[] {
    this.#identities ??= this.#addresses(H.PAssertedIdentity);
    return this.#identities;
  }

  get event(): EventValue | undefined {
    this.#event ??= this.#optional(H.Event, parseEvent);
    return this.#event;
  }

  get subscriptionState(): SubscriptionStateValue | undefined {
    this.#subscriptionState ??= this.#optional(H.SubscriptionState, parseSubscriptionState);
    return this.#subscriptionState;
  }

  abstract edit(): Editor<SipMessage>;

  /** For this folder: the outcome of an edit. */
  abstract derive(raw: string, requestUri: string | undefined): SipMessage;

  /** The value of a line, read where it stands; unfolded first where it is folded. */
  #read<T>(line: number, parse: Parse<T>): T {
    const index = this.index;
    if (index.isFolded(line)) {
      const text = index.value(line);
      return parse(text, 0, text.length);
    }
    const start = index.valueStart(line);
    return parse(this.raw, start, index.valueEnd(line, start));
  }

  #mandatory<T>(id: number, parse: Parse<T>): T {
    const line = this.index.find(id);
    if (line < 0) throw missing(id);
    return this.#read(line, parse);
  }

  #optional<T>(id: number, parse: Parse<T>): T | undefined {
    const line = this.index.find(id);
    return line < 0 ? undefined : this.#read(line, parse);
  }

  #addresses(id: number): readonly NameAddr[] {
    if (this.index.find(id) < 0) return NO_ADDRESSES;
    const name = headerName(id);
    return this.#list(id, (text, start, end) => parseNameAddr(name, text, start, end));
  }

  /** The elements of all lines of a list header. */
  #list<T>(id: number, parse: Parse<T>): T[] {
    const found: T[] = [];
    const index = this.index;
    for (let line = index.find(id); line >= 0; line = index.find(id, line + 1)) {
      const folded = index.isFolded(line);
      const text = folded ? index.value(line) : this.raw;
      const end = folded ? text.length : index.valueEnd(line, index.colon(line) + 1);
      let start = folded ? 0 : index.colon(line) + 1;
      for (;;) {
        // Asked for anew each time: `parse` may read other texts.
        const bytes = bytesOf(text);
        const comma = elementEnd(bytes, start, end, false);
        const from = skipSpace(bytes, start, comma);
        found.push(parse(text, from, trimEnd(bytes, from, comma)));
        if (comma === end) break;
        start = comma + 1;
      }
    }
    return found;
  }
}

/** Reads the value that stands in a text from `start` to `end`. */
type Parse<T> = (text: string, start: number, end: number) => T;

const parseFrom: Parse<NameAddr> = (text, start, end) => parseNameAddr("From", text, start, end);
const parseTo: Parse<NameAddr> = (text, start, end) => parseNameAddr("To", text, start, end);
const parseFirstVia: Parse<Via> = (text, start, end) => {
  const bytes = bytesOf(text);
  return parseVia(text, start, trimEnd(bytes, start, elementEnd(bytes, start, end, false)));
};

const NO_ADDRESSES: readonly NameAddr[] = [];

export class SipRequest extends SipMessage {
  readonly method: string;
  readonly requestUri: string;
  /** `SIP/2.0`, or what the peer wrote. */
  readonly version: string;
  #uri: Uri | undefined;

  constructor(raw: string, method: string, requestUri: string, version: string, index?: HeaderIndex) {
    super(raw, index);
    this.method = method;
    this.requestUri = requestUri;
    this.version = version;
  }

  /** The Request-URI. Throws MalformedUri. */
  get uri(): Uri {
    if (this.#uri === undefined) {
      // Read where it stands, so that the bytes of the message need not make room for its own.
      const start = this.method.length + 1;
      const end = start + this.requestUri.length;
      this.#uri = this.isRequestLineExact ? parseUri(this.raw, start, end) : parseUri(this.requestUri);
    }
    return this.#uri;
  }

  /** True where the Request-Line is `Method SP Request-URI SP SIP/2.0`, without more spaces. */
  get isRequestLineExact(): boolean {
    return this.version === "SIP/2.0" && this.index.headStart === this.method.length + this.requestUri.length + 11;
  }

  override edit(): Editor<SipRequest> {
    return new Editor<SipRequest>(this, this);
  }

  /** The request that `raw` is. Its head is read on first use. Throws ParseError. */
  withRaw(raw: string): SipRequest {
    const line = readRequestLine(raw, startLineEnd(raw));
    if (typeof line === "string") throw new ParseError("start-line", line);
    return new SipRequest(raw, line.method, line.requestUri, line.version);
  }

  override derive(raw: string, requestUri: string | undefined): SipRequest {
    const exact = this.isRequestLineExact || requestUri !== undefined;
    return new SipRequest(raw, this.method, requestUri ?? this.requestUri, exact ? "SIP/2.0" : this.version);
  }
}

export class SipResponse extends SipMessage {
  readonly status: number;
  readonly reason: string;

  constructor(raw: string, status: number, reason: string, index?: HeaderIndex) {
    super(raw, index);
    this.status = status;
    this.reason = reason;
  }

  override edit(): Editor<SipResponse> {
    return new Editor<SipResponse>(this, undefined);
  }

  /** The same without its topmost Via value. */
  withoutTopVia(): SipResponse {
    const { index, raw } = this;
    const line = index.find(H.Via);
    if (line < 0 || index.holds(line, COMMA)) return this.edit().removeFirstValue("Via").build();
    // A line of its own: what is left is indexed when somebody asks, which is rare for what only goes on.
    const rest = raw.slice(0, index.start(line)) + raw.slice(index.start(line + 1));
    return new SipResponse(rest, this.status, this.reason);
  }

  override derive(raw: string): SipResponse {
    return new SipResponse(raw, this.status, this.reason);
  }
}

function missing(id: number): MalformedHeader {
  return new MalformedHeader(headerName(id), "it is missing");
}

function startLineEnd(raw: string): number {
  const lf = raw.indexOf("\n");
  return lf < 0 ? raw.length : lf - 1;
}

/** Of a message made here, which may have more lines than one that is let in. */
function indexOf(raw: string): HeaderIndex {
  const index = scanHead(raw, startLineEnd(raw) + 2, Number.POSITIVE_INFINITY);
  if (index instanceof HeadFault) throw new ParseError(index.code, index.reason);
  return index;
}
