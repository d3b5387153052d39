import { describe, expect, it } from "vitest";
import { StreamFramer } from "../../src/sip/message/frame.ts";
import { ParseError, parseMessage } from "../../src/sip/message/parse.ts";
import { tortures } from "./expectation.ts";
import { hasShared, sharedBytes } from "./shared.ts";
import { judge } from "./verdict.ts";

describe.skipIf(!hasShared("data/rfc4475/expect.json"))("RFC 4475 torture messages (skipped without ../shared)", () => {
  const all = hasShared("data/rfc4475/expect.json") ? tortures() : [];

  it("are 49, and one mended", () => {
    expect(all).toHaveLength(50);
  });

  for (const torture of all) {
    const { name, section, parser, proxy } = torture.expectation;
    it(`${section} ${name}: parser ${parser}, proxy ${proxy.action} ${proxy.acceptable_status.join("/")}`, () => {
      expect(judge(torture).wrong).toEqual([]);
    });

    it(`${section} ${name}: comes out of parser and editor byte for byte`, () => {
      let message: ReturnType<typeof parseMessage>;
      try {
        message = parseMessage(torture.raw);
      } catch (error) {
        expect(error).toBeInstanceOf(ParseError);
        return;
      }
      expect(torture.raw.startsWith(message.raw)).toBe(true);
      if (message.headerCount > 0 && (!("method" in message) || message.isRequestLineExact)) {
        expect(message.edit().build().raw).toBe(message.raw);
      }
    });
  }

  it("the 50th file of the archive, without version and CRLF, is refused with 400", () => {
    expect(() => parseMessage(sharedBytes("data/rfc4475/extra/test.dat"))).toThrowError(
      expect.objectContaining({ status: 400 }),
    );
  });

  it("3.1.1.8 dblreq on a stream: the octets behind the REGISTER are a message of their own", () => {
    const raw = all.find(({ expectation }) => expectation.name === "dblreq")!.raw;
    const [first, ...rest] = new StreamFramer().push(Buffer.from(raw, "latin1"));
    expect(first).toEqual({ kind: "message", raw: parseMessage(raw).raw });
    expect(rest.find(({ kind }) => kind === "message")).toMatchObject({ raw: expect.stringMatching(/^INVITE /) });
  });

  for (const name of ["ncl", "mcl01", "inv2543"]) {
    it(`${name} on a stream ends the stream: its length is not known`, () => {
      const raw = all.find(({ expectation }) => expectation.name === name)!.raw;
      const framed = new StreamFramer().push(Buffer.from(raw, "latin1"));
      expect(framed).toEqual([{ kind: "error", error: expect.objectContaining({ status: 400 }) }]);
    });
  }

  it("3.1.2.2 clerr on a stream waits for more", () => {
    const raw = all.find(({ expectation }) => expectation.name === "clerr")!.raw;
    const framer = new StreamFramer();
    expect(framer.push(Buffer.from(raw, "latin1"))).toEqual([]);
    expect(framer.pending).toBe(raw.length);
  });
});
