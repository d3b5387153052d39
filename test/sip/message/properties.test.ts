import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CodomainError } from "../../../src/base/errors.ts";
import { buildRequest, buildResponse } from "../../../src/sip/message/build.ts";
import { type Framed, StreamFramer } from "../../../src/sip/message/frame.ts";
import { ParseError, parseMessage, validateRequest, validateResponse } from "../../../src/sip/message/parse.ts";
import { aorOf, equalUris, parseUri } from "../../../src/sip/message/uri.ts";
import { tortures } from "../../torture/expectation.ts";
import { hasShared } from "../../torture/shared.ts";
import { OK, SUBSCRIBE } from "./samples.ts";

const SEED = 4475;

const from = (alphabet: string, minLength: number, maxLength: number): fc.Arbitrary<string> =>
  fc.array(fc.constantFrom(...alphabet), { minLength, maxLength }).map((all) => all.join(""));

const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const token = from(`${LETTERS}-.!%*_+\`'~`, 1, 12);
const name = fc.oneof(
  fc.constantFrom(
    "Via",
    "v",
    "From",
    "TO",
    "i",
    "CSeq",
    "Route",
    "record-route",
    "Contact",
    "m",
    "Max-Forwards",
    "Subject",
  ),
  token,
);
/** One line of a value: bytes but for line ends, trimmed as a parser trims. */
const piece = from(`${LETTERS} \t,;:<>"()\\@=/\xc3\xa0\x80\xff\x01`, 0, 20).map((text) =>
  text.replace(/^[ \t]+|[ \t]+$/g, ""),
);
const body = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString("latin1"));

interface Line {
  readonly name: string;
  readonly gap: string;
  readonly pieces: readonly string[];
}

const line: fc.Arbitrary<Line> = fc.record({
  name,
  gap: fc.constantFrom("", " ", "\t", "  "),
  pieces: fc.array(piece, { minLength: 1, maxLength: 3 }),
});

const print = (each: Line): string => `${each.name}${each.gap}: ${each.pieces.join("\r\n  ")}\r\n`;
const textOf = (each: Line): string => each.pieces.join(" ").replace(/^ +| +$/g, "");

describe("properties", () => {
  it("parse(print(m)) = m: start line, every header line in order, body, and the bytes", () => {
    fc.assert(
      fc.property(token, fc.array(line, { maxLength: 12 }), body, (method, head, content) => {
        const lines = head.filter((each) => !/^(content-length|l)$/i.test(each.name));
        const raw = `${method} sip:a@b SIP/2.0\r\n${lines.map(print).join("")}\r\n${content}`;
        const m = parseMessage(raw);
        if (!("method" in m)) throw new Error("it was a request");
        expect([m.method, m.requestUri, m.body, m.headerCount]).toEqual([method, "sip:a@b", content, lines.length]);
        expect(lines.map((_, at) => m.index.value(at))).toEqual(lines.map(textOf));
        for (const each of lines) expect(m.headers(each.name)).toContain(textOf(each));
        expect(m.edit().build().raw).toBe(raw);
      }),
      { seed: SEED, numRuns: 500 },
    );
  });

  it("what buildRequest builds, the parser reads", () => {
    const pair = fc.tuple(token, piece);
    fc.assert(
      fc.property(token, fc.array(pair, { maxLength: 8 }), body, (method, pairs, content) => {
        const headers = pairs.filter(([each]) => !/^(content-length|l)$/i.test(each));
        const m = buildRequest({ method, uri: "sip:a@b", headers, body: content });
        const read = parseMessage(m.raw);
        expect(read.index).toEqual(m.index);
        expect([read.body, read.contentLength, read.headerCount]).toEqual([
          content,
          content.length,
          headers.length + 1,
        ]);
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  it("any edits give what the same edits of a plain list of lines give", () => {
    const header = fc.constantFrom("Via", "Route", "Subject", "X-Own");
    const edit = fc.record({
      verb: fc.constantFrom("prepend", "append", "set", "remove", "removeFirstValue"),
      header,
      value: token,
    });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(header, fc.array(token, { minLength: 1, maxLength: 3 })), { maxLength: 8 }),
        fc.array(edit, { maxLength: 8 }),
        (head, edits) => {
          let model = head.map(([each, values]) => [each, values] as [string, string[]]);
          const raw = `OPTIONS sip:a@b SIP/2.0\r\n${head.map(([each, values]) => `${each}: ${values.join(", ")}\r\n`).join("")}\r\nbody`;
          const editor = parseMessage(raw).edit();
          for (const { verb, header: each, value } of edits) {
            const at = model.findIndex(([other]) => other === each);
            const last = model.findLastIndex(([other]) => other === each);
            if (verb === "prepend") {
              editor.prepend(each, value);
              const below = model.findLastIndex(([other]) => other === "Via") + 1;
              model.splice(at >= 0 ? at : each === "Via" ? 0 : below, 0, [each, [value]]);
            } else if (verb === "append") {
              editor.append(each, value);
              model.splice(last >= 0 ? last + 1 : model.length, 0, [each, [value]]);
            } else if (verb === "set") {
              editor.set(each, value);
              if (at < 0) model.push([each, [value]]);
              else
                model = model
                  .filter(([other], i) => other !== each || i === at)
                  .map(([other, values], i) => (i === at ? [other, [value]] : [other, values]));
            } else if (verb === "remove") {
              editor.remove(each);
              model = model.filter(([other]) => other !== each);
            } else {
              editor.removeFirstValue(each);
              if (at >= 0)
                model = model.flatMap(
                  ([other, values], i) =>
                    (i !== at ? [[other, values]] : values.length > 1 ? [[other, values.slice(1)]] : []) as [
                      string,
                      string[],
                    ][],
                );
            }
          }
          const built = editor.build();
          expect(built.raw).toBe(
            `OPTIONS sip:a@b SIP/2.0\r\n${model.map(([each, values]) => `${each}: ${values.join(", ")}\r\n`).join("")}\r\nbody`,
          );
        },
      ),
      { seed: SEED, numRuns: 500 },
    );
  });

  it("RFC 3261 19.1.4: a URI equals itself in another spelling; its address of record is canonical", () => {
    const user = from(`${LETTERS}-_.!~*'&=+$,;?/`, 1, 12);
    fc.assert(
      fc.property(
        user,
        from("abcdefXYZ.", 1, 8),
        fc.option(fc.integer({ min: 1, max: 65535 }), { nil: undefined }),
        fc.nat(),
        (who, host, port, pick) => {
          const text = `sip:${who}@${host}${port === undefined ? "" : `:${port}`}`;
          const at = pick % who.length;
          const unreserved = /[A-Za-z0-9\-_.!~*']/.test(who[at]!);
          const written = `%${who.charCodeAt(at).toString(16)}`;
          const other = `sip:${who.slice(0, at)}${written}${who.slice(at + 1)}@${host.toUpperCase()}${text.slice(5 + who.length + host.length)}`;
          expect(equalUris(parseUri(text), parseUri(other))).toBe(unreserved);
          expect(aorOf(parseUri(other))).toBe(aorOf(parseUri(text)));
        },
      ),
      { seed: SEED, numRuns: 500 },
    );
  });
});

/** Everything a message can be asked; each answers or throws an error of ours. Returns how many answered. */
function interrogate(raw: string): void {
  let m: ReturnType<typeof parseMessage>;
  try {
    m = parseMessage(raw);
  } catch (error) {
    expect(error).toBeInstanceOf(ParseError);
    const { status, partial } = error as ParseError;
    if (status !== undefined && partial !== undefined) parseMessage(buildResponse(partial, status).raw);
    return;
  }
  const questions: Array<() => unknown> = [
    () => m.via,
    () => m.vias,
    () => m.from,
    () => m.to,
    () => m.callId,
    () => m.cseq,
    () => m.maxForwards,
    () => m.expires,
    () => m.contentLength,
    () => m.routes,
    () => m.recordRoutes,
    () => m.contacts,
    () => m.event,
    () => m.subscriptionState,
    () => m.identities,
    () => m.body,
    () => m.values("Via"),
    () => m.values("User-Agent"),
    () => ("method" in m ? m.uri : 0),
  ];
  for (const question of questions) {
    try {
      question();
    } catch (error) {
      expect(error).toBeInstanceOf(CodomainError);
    }
  }
  const edited = m
    .edit()
    .removeFirstValue("Via")
    .prepend("Via", "SIP/2.0/UDP x;branch=z9hG4bKy")
    .set("Max-Forwards", "1")
    .build();
  expect([edited.via.host, edited.maxForwards]).toEqual(["x", 1]);
  if ("method" in m) {
    const fault = validateRequest(m, { schemes: ["sip"], hops: true, proxyRequire: [] });
    if (fault === null) expect(m.from.uri).toBeDefined();
    const response = parseMessage(buildResponse(m, fault?.status ?? 200).raw);
    expect("status" in response).toBe(true);
  } else {
    validateResponse(m);
  }
}

describe("mutations of real messages", () => {
  const real = [SUBSCRIBE, OK, ...(hasShared("data/rfc4475/expect.json") ? tortures().map(({ raw }) => raw) : [])];
  const mutation = fc.record({
    at: fc.nat(4000),
    length: fc.integer({ min: 0, max: 6 }),
    put: fc.oneof(
      from('\r\n \t:;,<>"\\()@/=?%\0\xff[]*0', 0, 4),
      fc.constantFrom("\r\n", "\r\n ", "\r\n\r\n", "SIP/2.0", "Via: ", "l: 5\r\n", "%00", "\n"),
    ),
  });
  const mutated = fc
    .tuple(fc.constantFrom(...real), fc.array(mutation, { minLength: 1, maxLength: 6 }))
    .map(([raw, mutations]) =>
      mutations.reduce((text, { at, length, put }) => {
        const where = at % (text.length + 1);
        return text.slice(0, where) + put + text.slice(where + length);
      }, raw),
    );

  it("end in a message or a typed error, whatever is asked", () => {
    fc.assert(fc.property(mutated, interrogate), { seed: SEED, numRuns: 1500 });
  });

  it("do no harm to a stream in any pieces: frames, one error at most, at its end, and no more held than the limit", () => {
    const limit = 4096;
    fc.assert(
      fc.property(
        fc.array(mutated, { minLength: 1, maxLength: 4 }),
        fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 20 }),
        (messages, sizes) => {
          const whole = messages.join("");
          const atOnce = new StreamFramer(limit).push(Buffer.from(whole, "latin1"));
          const framer = new StreamFramer(limit);
          const pieces: Framed[] = [];
          for (let at = 0, i = 0; at < whole.length; i++) {
            const size = sizes[i % sizes.length]!;
            pieces.push(...framer.push(Buffer.from(whole.slice(at, at + size), "latin1")));
            expect(framer.pending).toBeLessThanOrEqual(limit);
            at += size;
          }
          const raws = (framed: Framed[]): string[] =>
            framed.flatMap((each) => (each.kind === "message" ? [each.raw] : []));
          expect(raws(pieces)).toEqual(raws(atOnce));
          const errors = pieces.filter(({ kind }) => kind === "error");
          expect(errors.length).toBeLessThanOrEqual(1);
          if (errors.length === 1) expect(pieces.at(-1)).toBe(errors[0]);
        },
      ),
      { seed: SEED, numRuns: 500 },
    );
  });

  it("plain noise too", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => interrogate(Buffer.from(bytes).toString("latin1"))),
      { seed: SEED, numRuns: 1000 },
    );
  });
});
