import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";

/**
 * Linear time, shown by counting and not by a clock: every byte that the codec reads from its work buffer, every byte copied into
 * it, and every character that a string method may walk over counts as one step.
 */
const count = vi.hoisted(() => ({ steps: 0, last: "" }));

vi.mock("../../../src/sip/message/bytes.ts", async (original) => {
  const real = await original<typeof import("../../../src/sip/message/bytes.ts")>();
  const counting = (bytes: Uint8Array): Uint8Array =>
    new Proxy(bytes, {
      get(target, key) {
        count.steps++;
        return Reflect.get(target, key, target);
      },
    });
  return {
    ...real,
    bytesOf(text: string): Uint8Array {
      if (text !== count.last) count.steps += text.length;
      count.last = text;
      return counting(real.bytesOf(text));
    },
  };
});

const { buildResponse } = await import("../../../src/sip/message/build.ts");
const { parseMessage, validateRequest, ParseError } = await import("../../../src/sip/message/parse.ts");
const { equalUris, parseUri } = await import("../../../src/sip/message/uri.ts");
const { StreamFramer } = await import("../../../src/sip/message/frame.ts");

const WALKS = [
  "indexOf",
  "lastIndexOf",
  "split",
  "replace",
  "replaceAll",
  "toLowerCase",
  "toUpperCase",
  "match",
  "search",
  "trim",
] as const;
const originals = new Map<string, unknown>();
const proto = String.prototype as unknown as Record<string, (...args: unknown[]) => unknown>;

beforeAll(() => {
  for (const name of WALKS) {
    const original = proto[name]!;
    originals.set(name, original);
    proto[name] = function (this: string, ...args: unknown[]): unknown {
      const result = original.apply(this, args);
      const from = typeof args[1] === "number" ? args[1] : 0;
      count.steps +=
        name === "indexOf" ? ((result as number) < 0 ? this.length : (result as number)) - from + 1 : this.length;
      return result;
    };
  }
  const charCodeAt = proto["charCodeAt"]!;
  originals.set("charCodeAt", charCodeAt);
  proto["charCodeAt"] = function (this: string, ...args: unknown[]): unknown {
    count.steps++;
    return charCodeAt.apply(this, args);
  };
});

afterAll(() => {
  for (const [name, original] of originals) proto[name] = original as (...args: unknown[]) => unknown;
});

function attempt(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
  }
}

/** The steps of reading a message, asking it everything, validating, editing and answering it. */
function stepsOf(raw: string): number {
  count.steps = 0;
  count.last = "";
  let m: ReturnType<typeof parseMessage>;
  try {
    m = parseMessage(raw);
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    if (error.partial !== undefined) buildResponse(error.partial, 400);
    return count.steps;
  }
  const keys = [
    "via",
    "vias",
    "from",
    "to",
    "callId",
    "cseq",
    "maxForwards",
    "expires",
    "contentLength",
    "routes",
    "contacts",
    "event",
  ] as const;
  for (const key of keys) attempt(() => m[key]);
  for (const name of ["Via", "Route", "Contact", "User-Agent", "X-Other"]) attempt(() => m.values(name));
  if ("method" in m) {
    const request = m;
    validateRequest(request);
    attempt(() => equalUris(request.uri, parseUri(`${request.requestUri}`)));
    buildResponse(request, 400);
  }
  const edited = m
    .edit()
    .removeFirstValue("Route")
    .removeFirstValue("Via")
    .prepend("Via", "SIP/2.0/UDP x")
    .set("X-Other", "1")
    .remove("X-Y")
    .build();
  attempt(() => edited.via);
  return count.steps;
}

const base = [
  "INVITE sip:a@b SIP/2.0",
  "Via: SIP/2.0/UDP c;branch=z9hG4bK1",
  "From: <sip:a@b>;tag=1",
  "To: <sip:a@b>",
  "Call-ID: 1",
  "CSeq: 1 INVITE",
];
const withLine = (line: string): string => `${[...base, line].join("\r\n")}\r\n\r\n`;
const instead = (name: string, line: string): string =>
  `${base.map((each) => (each.startsWith(name) ? line : each)).join("\r\n")}\r\n\r\n`;
const fill = (unit: string, size: number): string => unit.repeat(Math.floor(size / unit.length));

/** Shapes made to be walked over again and again, each of about `size` octets. */
const SHAPES: Readonly<Record<string, (size: number) => string>> = {
  "parameters of a Via": (size) => instead("Via", `Via: SIP/2.0/UDP c${fill(";a=b", size)}`),
  "one name over and over": (size) => instead("To", `To: <sip:a@b>${fill(";tag", size)}`),
  "empty parameters": (size) => instead("Via", `Via: SIP/2.0/UDP c${fill(";", size)}`),
  "Vias on one line": (size) => instead("Via", `Via: ${fill("SIP/2.0/UDP c;branch=1,", size)}SIP/2.0/UDP d`),
  commas: (size) => instead("Via", `Via: ${fill(",", size)}`),
  slashes: (size) => instead("Via", `Via: SIP${fill("/", size)}`),
  "routes on one line": (size) => withLine(`Route: ${fill("<sip:a@b;lr>,", size)}<sip:c>`),
  "routes without parameters after one with": (size) =>
    withLine(`Route: <sip:x;lr>,${fill("<sip:a@b>,", size)}<sip:c>`),
  "routes on folded lines": (size) => withLine(`Route: ${fill("<sip:a@b;lr>,\r\n ", size)}<sip:c>`),
  "open brackets": (size) => instead("From", `From: ${fill("<", size)}`),
  "open quotes": (size) => instead("From", `From: ${fill('"a ', size)}`),
  backslashes: (size) => instead("From", `From: "${fill("\\", size)}`),
  "open parentheses": (size) => withLine(`User-Agent: ${fill("(", size)}`),
  "parentheses and commas": (size) => withLine(`User-Agent: ${fill("(,", size)}`),
  "spaces before nothing": (size) => withLine(`X-Other:${fill(" ", size)}x`),
  "spaces in the To": (size) => instead("To", `To: <sip:a@b>${fill(" ;", size)}`),
  folds: (size) => withLine(`X-Other: a${fill("\r\n ", size)}b`),
  "folds with nothing": (size) => withLine(`X-Other:${fill("\r\n \t", size)}`),
  "a long name": (size) => withLine(`${fill("x", size)}: y`),
  "a long line without colon": (size) => withLine(fill("x", size)),
  "digits of a CSeq": (size) => instead("CSeq", `CSeq: ${fill("0", size)}1 INVITE`),
  "at signs": (size) => instead("INVITE", `INVITE sip:${fill("a@", size)}b SIP/2.0`),
  "escapes in a URI": (size) => instead("INVITE", `INVITE sip:${fill("%41", size)}@b SIP/2.0`),
  "parameters of a URI": (size) =>
    instead("INVITE", `INVITE sip:a@b${Array.from({ length: size / 8 }, (_, i) => `;p${i}=x`).join("")} SIP/2.0`),
  "parameters of a tel URI": (size) =>
    instead("INVITE", `INVITE tel:+1${Array.from({ length: size / 8 }, (_, i) => `;p${i}=x`).join("")} SIP/2.0`),
  "headers of a URI": (size) => instead("INVITE", `INVITE sip:a@b?${fill("a=b&", size)}c SIP/2.0`),
  "spaces in the start line": (size) => instead("INVITE", `INVITE${fill(" ", size)}sip:a@b${fill(" ", size)}SIP/2.0`),
  "IPv6 without end": (size) => instead("Via", `Via: SIP/2.0/UDP [${fill(":", size)}`),
  "no end of the head": (size) => `${base.join("\r\n")}\r\nX: ${fill("y", size)}`,
  "bare LF": (size) => `${base.join("\r\n")}\r\n${fill("X: y\n", size)}\r\n\r\n`,
  "copies of a folded Content-Length": (size) =>
    `${base.join("\r\n")}\r\nl: 0${fill("\r\n ", size)}\r\n${"l: 0\r\n".repeat(200)}\r\n`,
  "an honest body": (size) => withLine(`Content-Length: ${size}`) + fill("b", size),
};

describe("steps grow with the octets, no faster", () => {
  for (const [name, shape] of Object.entries(SHAPES)) {
    it(name, () => {
      const [small, large] = [4_000, 32_000].map((size) => {
        const raw = shape(size);
        return { octets: raw.length, steps: stepsOf(raw) };
      });
      expect(large!.octets).toBeGreaterThan(16_000);
      expect(large!.steps).toBeLessThan(150 * large!.octets);
      // Eight times the octets, at most about eight times the steps.
      expect(large!.steps / small!.steps).toBeLessThan(1.25 * (large!.octets / small!.octets));
    });
  }

  it("a stream in pieces of one octet looks for its head's end once", () => {
    const pieces = (octets: number): number => {
      const raw = Buffer.from(
        `OPTIONS sip:a@b SIP/2.0\r\nX: ${"y".repeat(octets)}\r\nContent-Length: 0\r\n\r\n`,
        "latin1",
      );
      const searched: number[] = [];
      const original = Buffer.prototype.indexOf;
      Buffer.prototype.indexOf = function (this: Buffer, ...args: Parameters<typeof original>): number {
        searched.push(this.length - ((args[1] as number) ?? 0));
        return original.apply(this, args);
      };
      try {
        const framer = new StreamFramer();
        let framed = 0;
        for (let at = 0; at < raw.length; at++) framed += framer.push(raw.subarray(at, at + 1)).length;
        expect(framed).toBe(1);
      } finally {
        Buffer.prototype.indexOf = original;
      }
      return searched.reduce((sum, each) => sum + each, 0);
    };
    expect(pieces(8000) / pieces(1000)).toBeLessThan(10);
  });
});
