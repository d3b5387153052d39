import { bytesOf, trimEnd } from "./bytes.ts";
import { Editor } from "./edit.ts";
import { MalformedHeader, ParseError } from "./errors.ts";
import { type HeaderIndex, HeadFault, scanHead } from "./header-index.ts";
import { H, headerId, headerName } from "./header-names.ts";
import { eachElement, elementEnd, splitList } from "./headers/list.ts";
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
  #others: Others | undefined;

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
    return this.#other("maxForwards", H.MaxForwards, parseMaxForwards);
  }

  /** Seconds. */
  get expires(): number | undefined {
    return this.#other("expires", H.Expires, parseExpires);
  }

  /** Octets. */
  get contentLength(): number | undefined {
    return this.#other("contentLength", H.ContentLength, parseContentLength);
  }

  get routes(): readonly NameAddr[] {
    return this.#addresses("routes", H.Route);
  }

  get recordRoutes(): readonly NameAddr[] {
    return this.#addresses("recordRoutes", H.RecordRoute);
  }

  get contacts(): readonly NameAddr[] | "*" {
    const line = this.index.find(H.Contact);
    if (line < 0 || this.index.rawValue(line) !== "*") return this.#addresses("contacts", H.Contact);
    if (this.index.find(H.Contact, line + 1) >= 0)
      throw new MalformedHeader("Contact", "'*' stands beside other values");
    return "*";
  }

  /** P-Asserted-Identity (RFC 3325). */
  get identities(): readonly NameAddr[] {
    return this.#addresses("identities", H.PAssertedIdentity);
  }

  get event(): EventValue | undefined {
    return this.#other("event", H.Event, parseEvent);
  }

  get subscriptionState(): SubscriptionStateValue | undefined {
    return this.#other("subscriptionState", H.SubscriptionState, parseSubscriptionState);
  }

  abstract edit(): Editor<SipMessage>;

  /** For this folder: the outcome of an edit. */
  abstract derive(raw: string, index: HeaderIndex, requestUri: string | undefined): SipMessage;

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

  #other<K extends keyof Others>(key: K, id: number, parse: Parse<NonNullable<Others[K]>>): Others[K] | undefined {
    const line = this.index.find(id);
    if (line < 0) return undefined;
    this.#others ??= {};
    this.#others[key] ??= this.#read(line, parse);
    return this.#others[key];
  }

  #addresses(key: "routes" | "recordRoutes" | "contacts" | "identities", id: number): readonly NameAddr[] {
    if (this.index.find(id) < 0) return NO_ADDRESSES;
    this.#others ??= {};
    const name = headerName(id);
    this.#others[key] ??= this.#list(id, (text, start, end) => parseNameAddr(name, text, start, end));
    return this.#others[key];
  }

  /** The elements of all lines of a list header. */
  #list<T>(id: number, parse: Parse<T>): T[] {
    const found: T[] = [];
    const index = this.index;
    for (let line = index.find(id); line >= 0; line = index.find(id, line + 1)) {
      const folded = index.isFolded(line);
      const text = folded ? index.value(line) : this.raw;
      const start = folded ? 0 : index.valueStart(line);
      eachElement(text, start, folded ? text.length : index.valueEnd(line, start), (from, to) =>
        found.push(parse(text, from, to)),
      );
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

/** Values of headers that many messages lack, once they were asked for. */
interface Others {
  maxForwards?: number;
  expires?: number;
  contentLength?: number;
  event?: EventValue;
  subscriptionState?: SubscriptionStateValue;
  routes?: readonly NameAddr[];
  recordRoutes?: readonly NameAddr[];
  contacts?: readonly NameAddr[];
  identities?: readonly NameAddr[];
}

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
    this.#uri ??= parseUri(this.requestUri);
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

  override derive(raw: string, index: HeaderIndex, requestUri: string | undefined): SipRequest {
    const exact = this.isRequestLineExact || requestUri !== undefined;
    return new SipRequest(raw, this.method, requestUri ?? this.requestUri, exact ? "SIP/2.0" : this.version, index);
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

  override derive(raw: string, index: HeaderIndex): SipResponse {
    return new SipResponse(raw, this.status, this.reason, index);
  }
}

function missing(id: number): MalformedHeader {
  return new MalformedHeader(headerName(id), "it is missing");
}

function startLineEnd(raw: string): number {
  const lf = raw.indexOf("\n");
  return lf < 0 ? raw.length : lf - 1;
}

function indexOf(raw: string): HeaderIndex {
  const index = scanHead(raw, startLineEnd(raw) + 2);
  if (index instanceof HeadFault) throw new ParseError(index.code, index.reason);
  return index;
}
