import { describe, expect, it } from "vitest";
import { type Framed, StreamFramer } from "../../../src/sip/message/frame.ts";
import { altered, OK, SUBSCRIBE } from "./samples.ts";

const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1");

function push(framer: StreamFramer, text: string, size: number): Framed[] {
  const framed: Framed[] = [];
  for (let at = 0; at < text.length; at += size) framed.push(...framer.push(bytes(text.slice(at, at + size))));
  return framed;
}

const messages = (framed: Framed[]): string[] => framed.flatMap((each) => (each.kind === "message" ? [each.raw] : []));
const kinds = (framed: Framed[]): string[] => framed.map(({ kind }) => kind);

describe("StreamFramer", () => {
  const stream = `${SUBSCRIBE}\r\n\r\n${OK}${SUBSCRIBE}\r\n${OK}`;

  it.each(Array.from({ length: 40 }, (_, i) => i + 1).concat([64, 100, 333, 5000]))(
    "RFC 3261 18.3: whole messages out of pieces of %i octets",
    (size) => {
      const framer = new StreamFramer();
      const framed = push(framer, stream, size);
      expect(messages(framed)).toEqual([SUBSCRIBE, OK, SUBSCRIBE, OK]);
      expect(kinds(framed)).not.toContain("error");
      expect(kinds(framed).filter((kind) => kind === "ping")).toHaveLength(1);
      expect(framer.pending).toBe(0);
    },
  );

  it("every single cut of two messages", () => {
    const two = SUBSCRIBE + OK;
    for (let cut = 1; cut < two.length; cut++) {
      const framer = new StreamFramer();
      expect(messages([...framer.push(bytes(two.slice(0, cut))), ...framer.push(bytes(two.slice(cut)))])).toEqual([
        SUBSCRIBE,
        OK,
      ]);
    }
  });

  it("the caller may reuse its buffer", () => {
    const framer = new StreamFramer();
    const chunk = bytes(SUBSCRIBE.slice(0, 100));
    framer.push(chunk);
    chunk.fill(0);
    expect(messages(framer.push(bytes(SUBSCRIBE.slice(100))))).toEqual([SUBSCRIBE]);
  });

  it("RFC 5626 4.4.1: CRLFCRLF is a ping, also in pieces; one CRLF is a pong", () => {
    expect(kinds(new StreamFramer().push(bytes("\r\n\r\n")))).toEqual(["ping"]);
    expect(kinds(new StreamFramer().push(bytes("\r\n\r\n\r\n\r\n")))).toEqual(["ping", "ping"]);
    expect(kinds(new StreamFramer().push(bytes("\r\n")))).toEqual(["pong"]);
    for (const size of [1, 2, 3]) expect(kinds(push(new StreamFramer(), "\r\n\r\n", size)).at(-1)).toBe("ping");
    const framer = new StreamFramer();
    expect(kinds(framer.push(bytes(`\r\n${OK}`)))).toEqual(["pong", "message"]);
    expect(kinds(framer.push(bytes("\r\n")))).toEqual(["pong"]);
  });

  it("RFC 3261 18.3: without Content-Length the stream ends, with an answer for a request and none for a response", () => {
    const framer = new StreamFramer();
    const raw = altered("l:").raw;
    const [error] = framer.push(bytes(raw));
    expect(error).toMatchObject({
      kind: "error",
      error: {
        code: "content-length",
        status: 400,
        partial: { method: "SUBSCRIBE", callId: "9987@client.example.com" },
      },
    });
    expect(framer.push(bytes(OK))).toEqual([]);
    const [silent] = new StreamFramer().push(bytes(OK.replace("Content-Length", "X-Length")));
    expect(silent).toMatchObject({ kind: "error", error: { status: undefined, partial: undefined } });
  });

  it.each([
    "Content-Length: -1",
    "Content-Length: x",
    "Content-Length: 4\r\nl: 5",
    "Content-Length:",
    "l: 99999999999999999999",
  ])("%j ends the stream", (line) => {
    expect(kinds(new StreamFramer().push(bytes(altered("l:", line).raw)))).toEqual(["error"]);
  });

  it("Content-Length is found folded, in any case and compact", () => {
    for (const line of ["content-length :\r\n 4", "L:4", "CONTENT-LENGTH: 04"]) {
      const { raw } = altered("l:", line);
      expect(messages(new StreamFramer().push(bytes(raw)))).toEqual([raw]);
    }
  });

  it("a message over the limit is refused when its head is there, before its body is held", () => {
    const framer = new StreamFramer(2000);
    const head = SUBSCRIBE.replace("l: 4", "l: 5000").slice(0, -4);
    const framed = framer.push(bytes(head));
    expect(framed).toMatchObject([
      { kind: "error", error: { code: "too-large", status: 513, partial: { method: "SUBSCRIBE" } } },
    ]);
    expect(framer.pending).toBe(0);
  });

  it("a head without end is refused at the limit", () => {
    const framer = new StreamFramer(2000);
    const framed = push(framer, `OPTIONS sip:a@b SIP/2.0\r\n${"X: y\r\n".repeat(1000)}`, 7);
    expect(kinds(framed)).toEqual(["error"]);
    expect(framer.pending).toBe(0);
  });

  it("64 kB pass", () => {
    const body = "b".repeat(65_536 - SUBSCRIBE.replace("l: 4", "l: 65000").length + 4);
    const raw = SUBSCRIBE.replace("l: 4", `l: ${body.length}`).slice(0, -4) + body;
    expect(raw).toHaveLength(65_536);
    expect(messages(push(new StreamFramer(), raw + raw, 1000))).toEqual([raw, raw]);
  });

  it("noise does no harm", () => {
    for (const noise of ["\0".repeat(100), "\r\r\r", "GET / HTTP/1.1\r\n\r\n", "\r\n\0\r\n\r\n", "a\r\n\r\n"]) {
      expect(["", "error", "pong,error"]).toContain(kinds(new StreamFramer().push(bytes(noise))).join());
    }
  });
});
