import { bytesOf, COLON, CR, LF, matchesAt, SP, skipSpace, TAB, TOKEN, trimEnd } from "./bytes.ts";
import { H, headerIdAt } from "./header-names.ts";
import { lowerAscii, unfold } from "./text.ts";

/** Limits of one message (RFC 3261 sets none; a proxy must). Octets, and header field lines. */
export const MAX_MESSAGE = 65_536;
export const MAX_HEADERS = 256;

/** Numbers a header line takes in `cells`: where it starts; where its colon is, doubled, plus 1 if it is folded; its header id. */
export const STRIDE = 3;

/** The id of a line that is no header line; stands only in what a HeadFault could read. */
export const JUNK = -1;

/**
 * Where the header lines of `raw` stand. `cells` holds STRIDE numbers a line and last the start of the empty line; a line ends
 * where the next begins, its folds and its CRLF included.
 */
export class HeaderIndex {
  readonly raw: string;
  readonly cells: readonly number[];
  readonly count: number;
  readonly bodyStart: number;
  /** Bit id % 32 is set for every id that stands in `cells`: most that is asked for is not there. */
  readonly #ids: number;

  constructor(raw: string, cells: readonly number[], bodyStart: number) {
    let ids = 0;
    for (let i = 2; i < cells.length; i += STRIDE) ids |= 1 << cells[i]!;
    this.#ids = ids;
    this.raw = raw;
    this.cells = cells;
    this.count = (cells.length - 1) / STRIDE;
    this.bodyStart = bodyStart;
  }

  start(line: number): number {
    return this.cells[line * STRIDE]!;
  }

  colon(line: number): number {
    return this.cells[line * STRIDE + 1]! >> 1;
  }

  isFolded(line: number): boolean {
    return (this.cells[line * STRIDE + 1]! & 1) === 1;
  }

  id(line: number): number {
    return this.cells[line * STRIDE + 2]!;
  }

  /** Start of the first header line. */
  get headStart(): number {
    return this.cells[0]!;
  }

  /** Start of the empty line. */
  get headEnd(): number {
    return this.cells[this.cells.length - 1]!;
  }

  /** The first line from `from` on with this header id, or -1. */
  find(id: number, from = 0): number {
    if ((this.#ids & (1 << id)) === 0) return -1;
    const cells = this.cells;
    for (let i = from * STRIDE + 2; i < cells.length; i += STRIDE) if (cells[i] === id) return (i - 2) / STRIDE;
    return -1;
  }

  /** The same for a header the codec has no number for. `lower`: its name in lower case. */
  findOther(lower: Uint8Array, from = 0): number {
    const bytes = bytesOf(this.raw);
    for (let line = this.find(H.Other, from); line >= 0; line = this.find(H.Other, line + 1)) {
      const start = this.start(line);
      if (matchesAt(bytes, start, trimEnd(bytes, start, this.colon(line)), lower)) return line;
    }
    return -1;
  }

  /** The first line from `from` on of the header with this id, or name where the id is 0; or -1. */
  line(id: number, name: string, from = 0): number {
    if (id !== H.Other || this.find(id, from) < 0) return this.find(id, from);
    return this.findOther(Buffer.from(lowerAscii(name), "latin1"), from);
  }

  /** Where the value of a line begins, spaces left out. */
  valueStart(line: number): number {
    return skipSpace(bytesOf(this.raw), this.colon(line) + 1, this.start(line + 1));
  }

  /** Where the value ends that begins at `start`, spaces and line end left out. */
  valueEnd(line: number, start: number): number {
    return trimEnd(bytesOf(this.raw), start, this.start(line + 1));
  }

  /** Whether the value of a line holds this octet. */
  holds(line: number, octet: number): boolean {
    const bytes = bytesOf(this.raw);
    const end = this.start(line + 1);
    for (let at = this.colon(line) + 1; at < end; at++) if (bytes[at] === octet) return true;
    return false;
  }

  /** The value of a line as it stands there: trimmed, not unfolded. */
  rawValue(line: number): string {
    const start = this.valueStart(line);
    return this.raw.slice(start, this.valueEnd(line, start));
  }

  value(line: number): string {
    return unfold(this.rawValue(line));
  }
}

/** Why a head could not be indexed, and what of it could be. */
export class HeadFault {
  readonly code: string;
  readonly reason: string;
  readonly readable: HeaderIndex;

  constructor(code: string, reason: string, readable: HeaderIndex) {
    this.code = code;
    this.reason = reason;
    this.readable = readable;
  }
}

/** Where a scan writes before it knows how much there is: copying it is cheaper than growing an array. */
const found: number[] = new Array<number>(MAX_HEADERS * STRIDE + 1).fill(0);

/**
 * Reads the header lines of `raw` from `at` on, which must be the start of the first, up to the empty line; more than `most`
 * are a fault. One pass; every character is looked at a bounded number of times.
 */
export function scanHead(raw: string, at: number, most: number = MAX_HEADERS): HeaderIndex | HeadFault {
  const bytes = bytesOf(raw);
  let filled = 0;
  let fault: [code: string, reason: string] | undefined;
  for (let count = 0; bytes[at] !== CR || bytes[at + 1] !== LF; count++) {
    if (at >= raw.length) fault ??= ["truncated", "the head of the message does not end in an empty line"];
    if (count === most) fault ??= ["too-many-headers", `more than ${most} header fields`];
    if (at >= raw.length || count === most) break;
    let end = at;
    let folded = -1;
    do {
      folded++;
      const lf = raw.indexOf("\n", end);
      if (lf < 0) fault ??= ["truncated", "a header line does not end in CRLF"];
      else if (bytes[lf - 1] !== CR) fault ??= ["bare-lf", "a line ends in LF without CR"];
      end = lf < 0 ? raw.length : lf + 1;
    } while (bytes[end] === SP || bytes[end] === TAB);
    let colon = at;
    while (TOKEN[bytes[colon]!] === 1) colon++;
    const nameEnd = colon;
    while (bytes[colon] === SP || bytes[colon] === TAB) colon++;
    const isHeader = nameEnd > at && bytes[colon] === COLON;
    if (!isHeader) fault ??= ["header-line", "a header line is not of the form 'name: value'"];
    found[filled] = at;
    found[filled + 1] = colon * 2 + (folded > 0 ? 1 : 0);
    found[filled + 2] = isHeader ? headerIdAt(bytes, at, nameEnd) : JUNK;
    filled += STRIDE;
    at = end;
  }
  found[filled] = at;
  const index = new HeaderIndex(raw, found.slice(0, filled + 1), fault === undefined ? at + 2 : raw.length);
  return fault === undefined ? index : new HeadFault(fault[0], fault[1], index);
}
