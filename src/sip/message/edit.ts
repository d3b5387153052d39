import { bytesOf, matchesAt, skipSpace, trimEnd } from "./bytes.ts";
import { MalformedHeader } from "./errors.ts";
import type { HeaderIndex } from "./header-index.ts";
import { H, headerId, headerName } from "./header-names.ts";
import { elementEnd } from "./headers/list.ts";
import type { SipMessage, SipRequest } from "./message.ts";
import { isToken, lowerAscii } from "./text.ts";

/** A line that is not the message's: its text with its end, and where its colon stands. */
interface NewLine {
  readonly id: number;
  readonly text: string;
  readonly colon: number;
}

/**
 * Collects changes to a message; `build` returns the new one. Bytes that no change names come out as they came in. Changes
 * apply in the order they are made and see those before them. The editor is used once.
 */
export class Editor<M extends SipMessage = SipMessage> {
  readonly #message: M;
  readonly #request: SipRequest | undefined;
  readonly #index: HeaderIndex;
  /** The lines of the new head: those of the message by their numbers. */
  readonly #lines: (number | NewLine)[] = [];
  #requestUri: string | undefined;
  #body: string | undefined;

  /** For SipMessage.edit. `request` is the message where it is one. */
  constructor(message: M, request: SipRequest | undefined) {
    this.#message = message;
    this.#request = request;
    this.#index = message.index;
    for (let line = 0; line < this.#index.count; line++) this.#lines.push(line);
  }

  setRequestUri(uri: string): this {
    if (this.#request === undefined) throw new MalformedHeader("Request-URI", "a response has none");
    if (uri === "" || /[\s<>]/.test(uri))
      throw new MalformedHeader("Request-URI", "it is empty or holds spaces or brackets");
    this.#requestUri = uri;
    return this;
  }

  /** A new line before the first of this header. The first Via goes on top, any other first below the Vias. */
  prepend(name: string, value: string): this {
    const id = headerId(name);
    let at = this.#find(id, name, 0);
    if (at < 0) at = id === H.Via ? 0 : this.#findLast(H.Via, "Via") + 1;
    this.#insert(at, id, name, value);
    return this;
  }

  /** A new line after the last of this header, or at the end of the head. */
  append(name: string, value: string): this {
    const id = headerId(name);
    const last = this.#findLast(id, name);
    this.#insert(last < 0 ? this.#lines.length : last + 1, id, name, value);
    return this;
  }

  /** The value of the first line is replaced, further lines go; a line is appended where there was none. */
  set(name: string, value: string): this {
    const id = headerId(name);
    const at = this.#find(id, name, 0);
    if (at < 0) return this.append(name, value);
    this.#removeFrom(id, name, at + 1);
    this.#replace(at, `${checked(name, value)}\r\n`);
    return this;
  }

  remove(name: string): this {
    this.#removeFrom(headerId(name), name, 0);
    return this;
  }

  /** Takes the first element off a list header: the whole line where it was the only one in it. */
  removeFirstValue(name: string): this {
    const at = this.#find(headerId(name), name, 0);
    if (at < 0) return this;
    const rest = this.#afterFirstValue(at, true);
    if (rest === "") this.#lines.splice(at, 1);
    else this.#replace(at, rest);
    return this;
  }

  /** Replaces the first element of a list header; a line is prepended where there was none. */
  replaceFirstValue(name: string, value: string): this {
    const at = this.#find(headerId(name), name, 0);
    if (at < 0) return this.prepend(name, value);
    this.#replace(at, checked(name, value) + this.#afterFirstValue(at, false));
    return this;
  }

  /** A new body (latin1, see encodeUtf8) with its Content-Length; "" also takes Content-Type away unless one is given. */
  body(text: string, contentType?: string): this {
    this.#body = text;
    if (contentType !== undefined) this.set("Content-Type", contentType);
    else if (text === "") this.remove("Content-Type");
    return this.set("Content-Length", String(text.length));
  }

  /** The new message is indexed when somebody asks: most are only sent. */
  build(): M {
    const index = this.#index;
    const raw = this.#message.raw;
    const lines = this.#lines;
    let out = this.#startLine();
    // The bytes of `raw` from runStart to runEnd are due to be copied next.
    let runStart = 0;
    let runEnd = out === "" ? index.headStart : 0;
    for (let i = 0; i < lines.length; i++) {
      const line = lines[i]!;
      if (typeof line === "number") {
        const start = index.start(line);
        if (start !== runEnd) {
          if (runEnd > runStart) out += raw.slice(runStart, runEnd);
          runStart = start;
        }
        runEnd = index.start(line + 1);
      } else {
        out += runEnd > runStart ? raw.slice(runStart, runEnd) + line.text : line.text;
        runStart = runEnd;
      }
    }
    if (runEnd > runStart) {
      if (runEnd === index.headEnd && this.#body === undefined) runEnd = raw.length;
      out += raw.slice(runStart, runEnd);
    }
    if (runEnd !== raw.length || runStart === runEnd) {
      out += this.#body === undefined ? raw.slice(index.headEnd) : `\r\n${this.#body}`;
    }
    return this.#message.derive(out, this.#requestUri) as M;
  }

  /** The new start line, or "" where the old one stays. RFC 4475 3.1.2.9: no extra spaces are passed on. */
  #startLine(): string {
    const request = this.#request;
    if (request === undefined || (this.#requestUri === undefined && request.isRequestLineExact)) return "";
    return `${request.method} ${this.#requestUri ?? request.requestUri} SIP/2.0\r\n`;
  }

  #is(line: number | NewLine, id: number, lower: Uint8Array): boolean {
    if ((typeof line === "number" ? this.#index.id(line) : line.id) !== id) return false;
    if (id !== H.Other) return true;
    const { text, start, colon } = this.#placeOf(line);
    const bytes = bytesOf(text);
    return matchesAt(bytes, start, trimEnd(bytes, start, colon), lower);
  }

  #placeOf(line: number | NewLine): { text: string; start: number; colon: number; end: number } {
    if (typeof line !== "number") return { text: line.text, start: 0, colon: line.colon, end: line.text.length };
    const index = this.#index;
    return { text: index.raw, start: index.start(line), colon: index.colon(line), end: index.start(line + 1) };
  }

  #find(id: number, name: string, from: number): number {
    const lower = id === H.Other ? Buffer.from(lowerAscii(name), "latin1") : NONE;
    for (let at = from; at < this.#lines.length; at++) if (this.#is(this.#lines[at]!, id, lower)) return at;
    return -1;
  }

  #findLast(id: number, name: string): number {
    const lower = id === H.Other ? Buffer.from(lowerAscii(name), "latin1") : NONE;
    for (let at = this.#lines.length - 1; at >= 0; at--) if (this.#is(this.#lines[at]!, id, lower)) return at;
    return -1;
  }

  #removeFrom(id: number, name: string, from: number): void {
    for (let at = this.#find(id, name, from); at >= 0; at = this.#find(id, name, at)) this.#lines.splice(at, 1);
  }

  #insert(at: number, id: number, name: string, value: string): void {
    const spelled = id === H.Other ? name : headerName(id);
    if (id === H.Other && !isToken(name)) throw new MalformedHeader(name, "the name is no token");
    const added: NewLine = { id, text: `${spelled}: ${checked(name, value)}\r\n`, colon: spelled.length };
    const lines = this.#lines;
    lines.push(added);
    for (let i = lines.length - 1; i > at; i--) lines[i] = lines[i - 1]!;
    lines[at] = added;
  }

  /** Puts a line with another value where one stands, its name spelled as it was. `rest`: value and line end. */
  #replace(at: number, rest: string): void {
    const line = this.#lines[at]!;
    const { text, start, colon } = this.#placeOf(line);
    const id = typeof line === "number" ? this.#index.id(line) : line.id;
    this.#lines[at] = { id, text: `${text.slice(start, colon)}: ${rest}`, colon: colon - start };
  }

  /** What follows the first element of the line, with the line's end: without its comma, or with it; "" where `strip` leaves none. */
  #afterFirstValue(at: number, strip: boolean): string {
    const { text, colon, end } = this.#placeOf(this.#lines[at]!);
    const bytes = bytesOf(text);
    const comma = elementEnd(bytes, colon + 1, end, false);
    if (!strip) return comma === end ? "\r\n" : text.slice(comma, end);
    return comma === end ? "" : text.slice(skipSpace(bytes, comma + 1, end), end);
  }
}

const NONE = new Uint8Array(0);

/** A value must not bring lines of its own. */
function checked(name: string, value: string): string {
  if (value.indexOf("\n") >= 0 || value.indexOf("\r") >= 0)
    throw new MalformedHeader(name, "a value holds no line ends");
  return value;
}
