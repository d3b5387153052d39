import { describe, expect, it } from "vitest";
import { encodeHep, type HepCapture } from "../../src/telemetry/hep.ts";

const CAPTURE: HepCapture = {
  sourceHost: "192.0.2.1",
  sourcePort: 5060,
  destinationHost: "198.51.100.254",
  destinationPort: 65535,
  protocol: 17,
  timeMs: 1_700_000_000_250.5,
  agentId: 2001,
  payload: "SIP\xe4",
};

/** Type -> value, in hexadecimal; checks the lengths on the way. */
function chunks(packet: Uint8Array): Map<number, string> {
  const bytes = Buffer.from(packet);
  expect(bytes.toString("latin1", 0, 4)).toBe("HEP3");
  expect(bytes.readUInt16BE(4)).toBe(bytes.length);
  const found = new Map<number, string>();
  let at = 6;
  while (at < bytes.length) {
    expect(bytes.readUInt16BE(at)).toBe(0);
    const length = bytes.readUInt16BE(at + 4);
    found.set(bytes.readUInt16BE(at + 2), bytes.toString("hex", at + 6, at + length));
    at += length;
  }
  expect(at).toBe(bytes.length);
  return found;
}

describe("a HEP3 packet", () => {
  it("is this one, octet by octet", () => {
    const expected = [
      "48455033 007c",
      "0000 0001 0007 02",
      "0000 0002 0007 11",
      "0000 0003 000a c0000201",
      "0000 0004 000a c63364fe",
      "0000 0007 0008 13c4",
      "0000 0008 0008 ffff",
      "0000 0009 000a 6553f100",
      "0000 000a 000a 0003d284",
      "0000 000b 0007 01",
      "0000 000c 000a 000007d1",
      "0000 000e 000c 736563726574",
      "0000 0011 0009 632d31",
      "0000 000f 000a 534950e4",
    ];
    const packet = encodeHep({ ...CAPTURE, key: "secret", correlationId: "c-1" });
    expect(Buffer.from(packet).toString("hex")).toBe(expected.join("").replaceAll(" ", ""));
  });

  it("has no chunk for what is not known", () => {
    expect([...chunks(encodeHep(CAPTURE)).keys()]).toEqual([1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 15]);
  });

  it.each([
    ["::1", "00000000000000000000000000000001"],
    ["::", "00000000000000000000000000000000"],
    ["2001:db8::ff00:42:8329", "20010db8000000000000ff0000428329"],
    ["1:2:3:4:5:6:7:8", "00010002000300040005000600070008"],
    ["fe80::1%eth0", "fe800000000000000000000000000001"],
    ["::ffff:192.0.2.1", "00000000000000000000ffffc0000201"],
  ])("carries the IPv6 address %s in chunks 5 and 6", (host, octets) => {
    const found = chunks(encodeHep({ ...CAPTURE, sourceHost: host, destinationHost: "192.0.2.1" }));
    expect([found.get(1), found.get(5), found.get(6)]).toEqual(["0a", octets, "00000000000000000000ffffc0000201"]);
    expect([found.has(3), found.has(4)]).toEqual([false, false]);
  });

  it.each(["example.com", "1.2.3", "1.2.3.256", "1:2:3", "::1::2", "::g", "1:2:3:4:5:6:7:8::9"])(
    "refuses %s, which is no IP address",
    (host) => {
      expect(() => encodeHep({ ...CAPTURE, sourceHost: host })).toThrow(RangeError);
    },
  );

  it("fits a datagram: what is too long loses its end", () => {
    const packet = encodeHep({ ...CAPTURE, payload: "x".repeat(70_000) });
    expect(packet.length).toBe(65_507);
    expect(chunks(packet).get(15)).toMatch(/^(78)+$/);
  });
});
