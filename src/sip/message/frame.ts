import { COLON, CR, digitsAt, LF, SP, skipSpace, TAB, TOKEN, trimEnd } from "./bytes.ts";
import { ParseError } from "./errors.ts";
import { MAX_MESSAGE } from "./header-index.ts";
import { H, headerIdAt } from "./header-names.ts";
import { parseMessage } from "./parse.ts";

export type Framed =
  /** One whole message, for parseMessage. */
  | { readonly kind: "message"; readonly raw: string }
  /** CRLFCRLF between messages: answer CRLF (RFC 5626 4.4.1). */
  | { readonly kind: "ping" }
  /** A single CRLF between messages: the answer to a ping, if one was sent. */
  | { readonly kind: "pong" }
  /** The stream cannot be read on: answer `error.partial` with `error.status` where both are there, then close (RFC 3261 18.3). */
  | { readonly kind: "error"; readonly error: ParseError };

/** Cuts a TCP or TLS stream into messages by Content-Length (RFC 3261 18.3). Holds at most one message. */
export class StreamFramer {
  readonly #limit: number;
  /** The octets not yet given out are #bytes[#start..#end]. #owned: #bytes is ours to write into. */
  #bytes: Buffer = EMPTY;
  #start = 0;
  #end = 0;
  #owned = false;
  /** No end of a head begins before this position. */
  #searched = 0;
  /** Octets of the message at #start, once its head is there. */
  #length = 0;
  #halfPing = false;
  #broken = false;

  constructor(limit: number = MAX_MESSAGE) {
    this.#limit = limit;
  }

  /** Octets held back: the beginning of a message. */
  get pending(): number {
    return this.#end - this.#start;
  }

  /** `bytes` is looked at during the call only. After an `error` nothing more comes. */
  push(bytes: Uint8Array): Framed[] {
    const framed: Framed[] = [];
    if (this.#broken) return framed;
    this.#take(bytes);
    while (this.#step(framed));
    this.#keep();
    return framed;
  }

  #take(bytes: Uint8Array): void {
    if (this.#start === this.#end) {
      this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      this.#owned = false;
      this.#start = 0;
      this.#searched = 0;
      this.#end = bytes.byteLength;
      return;
    }
    const size = this.#end - this.#start + bytes.byteLength;
    if (!this.#owned || this.#end + bytes.byteLength > this.#bytes.length) {
      const room = Buffer.allocUnsafe(Math.max(2 * size, 4096));
      this.#bytes.copy(room, 0, this.#start, this.#end);
      this.#searched -= this.#start;
      this.#end -= this.#start;
      this.#start = 0;
      this.#bytes = room;
      this.#owned = true;
    }
    this.#bytes.set(bytes, this.#end);
    this.#end += bytes.byteLength;
  }

  /** What is left of the caller's bytes becomes ours. */
  #keep(): void {
    if (this.#start === this.#end || this.#broken) {
      this.#bytes = EMPTY;
      this.#start = 0;
      this.#end = 0;
      this.#searched = 0;
    } else if (!this.#owned) {
      const size = this.#end - this.#start;
      const room = Buffer.allocUnsafe(Math.max(2 * size, 4096));
      this.#bytes.copy(room, 0, this.#start, this.#end);
      this.#searched -= this.#start;
      this.#start = 0;
      this.#end = size;
      this.#bytes = room;
      this.#owned = true;
    }
  }

  /** Takes one thing off the front; false where more octets are needed. */
  #step(framed: Framed[]): boolean {
    if (this.#length > 0) return this.#finish(framed);
    if (this.#start === this.#end) return false;
    const first = this.#bytes[this.#start]!;
    if (first === CR || first === LF) return this.#keepAlive(framed);
    this.#halfPing = false;
    const headEnd = this.#bytes.subarray(0, this.#end).indexOf(END_OF_HEAD, Math.max(this.#searched, this.#start));
    if (headEnd < 0) {
      this.#searched = Math.max(this.#start, this.#end - 3);
      if (this.#end - this.#start >= this.#limit)
        this.#fail(framed, this.#end, 513, "too-large", "the head of the message is too large");
      return false;
    }
    const bodyStart = headEnd + 4;
    const length = contentLengthIn(this.#bytes, this.#start, bodyStart);
    if (typeof length === "string") {
      this.#fail(framed, bodyStart, 400, "content-length", length);
      return false;
    }
    this.#length = bodyStart - this.#start + length;
    if (this.#length > this.#limit) {
      this.#fail(framed, bodyStart, 513, "too-large", `the message is over ${this.#limit} octets`);
      return false;
    }
    return this.#finish(framed);
  }

  #finish(framed: Framed[]): boolean {
    const end = this.#start + this.#length;
    if (end > this.#end) return false;
    framed.push({ kind: "message", raw: this.#bytes.toString("latin1", this.#start, end) });
    this.#start = end;
    this.#searched = end;
    this.#length = 0;
    return true;
  }

  /** Line ends between messages. Two make a ping, also when they come in two pieces; then the first was taken for a pong. */
  #keepAlive(framed: Framed[]): boolean {
    if (this.#bytes[this.#start] === CR) {
      if (this.#start + 1 === this.#end) return false;
      if (this.#bytes[this.#start + 1] !== LF) {
        this.#fail(framed, this.#start, 400, "bare-cr", "a message does not begin with CR");
        return false;
      }
      this.#start += 2;
    } else {
      this.#start += 1;
    }
    if (this.#halfPing) {
      const last = framed.at(-1);
      if (last?.kind === "pong") framed.pop();
      framed.push(PING);
    } else {
      framed.push(PONG);
    }
    this.#halfPing = !this.#halfPing;
    return true;
  }

  /** `to`: the end of the head, as far as it is there. */
  #fail(framed: Framed[], to: number, status: number, code: string, reason: string): void {
    this.#broken = true;
    framed.push({
      kind: "error",
      error: new ParseError(code, reason, ...answerable(this.#bytes.toString("latin1", this.#start, to), status)),
    });
  }
}

const EMPTY = Buffer.alloc(0);
const END_OF_HEAD = Buffer.from("\r\n\r\n", "latin1");
const PING: Framed = { kind: "ping" };
const PONG: Framed = { kind: "pong" };

/** The status, and the request to answer with it, where `head` is that of a request. */
function answerable(head: string, status: number): [status?: number, partial?: ParseError["partial"]] {
  try {
    const message = parseMessage(head);
    return "method" in message ? [status, message] : [];
  } catch (error) {
    if (error instanceof ParseError && error.partial !== undefined) return [status, error.partial];
    return [];
  }
}

/** The Content-Length of the head from `at` to `end`, which ends in its empty line, or why there is none to go by. One pass. */
function contentLengthIn(bytes: Buffer, at: number, end: number): number | string {
  let found: number | undefined;
  at = bytes.indexOf(LF, at) + 1;
  while (at > 0 && at < end) {
    let next = at;
    do next = bytes.indexOf(LF, next) + 1;
    while (next < end && (bytes[next] === SP || bytes[next] === TAB));
    let nameEnd = at;
    while (TOKEN[bytes[nameEnd]!] === 1) nameEnd++;
    if (headerIdAt(bytes, at, nameEnd) === H.ContentLength) {
      const value = lengthAfter(bytes, nameEnd, next);
      if (value < 0) return "Content-Length: not a number of octets";
      if (found !== undefined && found !== value)
        return "Content-Length: it stands more than once, with different values";
      found = value;
    }
    at = next;
  }
  return found ?? "Content-Length: it is missing, and a stream needs it";
}

function lengthAfter(bytes: Buffer, at: number, end: number): number {
  while (bytes[at] === SP || bytes[at] === TAB) at++;
  if (bytes[at] !== COLON) return -1;
  const start = skipSpace(bytes, at + 1, end);
  return digitsAt(bytes, start, trimEnd(bytes, start, end), 2 ** 48);
}
