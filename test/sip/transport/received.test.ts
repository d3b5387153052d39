import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { SipRequest } from "../../../src/sip/message/message.ts";
import { parseMessage } from "../../../src/sip/message/parse.ts";
import { markedRaw, markedVia } from "../../../src/sip/transport/received.ts";
import { request } from "./fixture.ts";

/** What the general way makes of a request's top Via. */
function general(raw: string, host: string, port: number): { received: string | undefined; rport: unknown } {
  const parsed = parseMessage(raw) as SipRequest;
  const value = markedVia(parsed.values("Via")[0]!, parsed.via, "udp", host, port) ?? parsed.via.raw;
  const { via } = parsed.edit().replaceFirstValue("Via", value).build();
  return { received: via.received, rport: via.rport };
}

const hosts = fc.constantFrom(
  "192.0.2.4",
  "127.0.0.1",
  "192.0.2.40",
  "host.example",
  "1.2.3.4.5",
  "[2001:db8::1]",
  "a",
);
const ports = fc.constantFrom("", ":5060", ":65535", ":1");
const random = fc.array(
  fc.constantFrom(
    ";rport",
    ";rport=5",
    ";branch=z9hG4bKx",
    ";received=203.0.113.5",
    ";alias",
    ';x="a;rport"',
    " ;rport",
    ";RPORT",
    ";maddr=192.0.2.9",
  ),
  { maxLength: 4 },
);

const params = fc.oneof(fc.constantFrom([";branch=z9hG4bKx"], [";branch=z9hG4bKx", ";rport"]), random);

describe("the short way and the general way to mark a Via", () => {
  it("say the same, whatever the Via looks like", () => {
    let taken = 0;
    fc.assert(
      fc.property(hosts, ports, params, fc.constantFrom("Via: ", "v: ", "Via:", "VIA: "), (host, port, rest, name) => {
        const raw = request({ via: `SIP/2.0/UDP ${host}${port}${rest.join("")}` }).replace("Via: ", name);
        const short = markedRaw(raw, "192.0.2.4", 40_001);
        if (short === undefined) return;
        taken++;
        const { via } = parseMessage(short) as SipRequest;
        expect({ received: via.received, rport: via.rport }).toEqual(general(raw, "192.0.2.4", 40_001));
        expect(short.replace(/(;rport)?=40001;received=192\.0\.2\.4|;received=192\.0\.2\.4/, "$1")).toBe(raw);
      }),
      { numRuns: 2_000, seed: 1 },
    );
    expect(taken).toBeGreaterThan(50);
  });

  it("the short way is taken for what load generators, proxies and phones usually send", () => {
    for (const via of [
      "SIP/2.0/UDP 127.0.0.1:5180;branch=z9hG4bK0000000100000002;rport",
      "SIP/2.0/UDP 192.0.2.4:5060;branch=z9hG4bK-524287-1---a.b",
      "SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK776asdhds;rport",
    ]) {
      expect(markedRaw(request({ via }), "192.0.2.4", 5060)).toBeDefined();
    }
  });

  it.each([
    ["folded", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\n ;rport"],
    ["two on one line", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1,SIP/2.0/UDP 192.0.2.8;branch=z9hG4bK2"],
    ["with a `received` of the sender's own", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1;received=192.0.2.4"],
    ["over WebSocket", "SIP/2.0/WS 192.0.2.9;branch=z9hG4bK1"],
  ])("the short way leaves a Via %s to the general one", (_, via) => {
    expect(markedRaw(request({ via }), "192.0.2.4", 5060)).toBeUndefined();
  });

  it("is linear in the length of the Via", () => {
    const long = request({ via: `SIP/2.0/UDP 192.0.2.9;branch=${"z".repeat(60_000)};x` });
    expect(markedRaw(long, "192.0.2.4", 5060)).toBeUndefined();
    const many = `SIP/2.0/UDP 192.0.2.9${';x="'.repeat(15_000)}`;
    const via = { host: "192.0.2.9", rport: true, received: undefined } as never;
    expect(markedVia(many, via, "udp", "192.0.2.9", 1)).toMatch(/;received=192\.0\.2\.9;rport=1$/);
  });
});
