import { describe, expect, it } from "vitest";
import { SipResponse } from "../../../src/sip/message/message.ts";
import { parseMessage } from "../../../src/sip/message/parse.ts";

const OURS = "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKours;rport";
const THEIRS = "SIP/2.0/TCP client.example.com;branch=z9hG4bKtheirs";

function answer(...vias: string[]): SipResponse {
  const head = ["SIP/2.0 200 OK", "Server: x", ...vias, "To: <sip:a@b>;tag=1", "CSeq: 1 MESSAGE", "Content-Length: 2"];
  const message = parseMessage(`${head.join("\r\n")}\r\n\r\nhi`);
  if (!(message instanceof SipResponse)) throw new Error("no response");
  return message;
}

describe("RFC 3261 16.7 step 3: our Via is taken off, and what has no other goes no further", () => {
  it.each([
    ["two lines", [`Via: ${OURS}`, `Via: ${THEIRS}`], true],
    ["one line", [`Via: ${OURS}, ${THEIRS}`], true],
    ["one folded line", [`Via: ${OURS},\r\n ${THEIRS}`], true],
    ["compact names", [`v: ${OURS}`, `v: ${THEIRS}`], true],
    ["only ours", [`Via: ${OURS}`], false],
    ["only ours, with a comma in quotes", [`Via: ${OURS};x="a,b"`], false],
  ])("%s", (_, vias, lower) => {
    const response = answer(...vias);
    expect(response.hasLowerVia).toBe(lower);
    const rest = response.withoutTopVia();
    expect([rest.status, rest.reason, rest.body, rest.header("To")]).toEqual([200, "OK", "hi", "<sip:a@b>;tag=1"]);
    expect(rest.values("Via")).toEqual(lower ? [THEIRS] : []);
    expect(parseMessage(rest.raw).headerCount).toBe(rest.headerCount);
  });

  it("every octet besides comes out as it came in", () => {
    const response = answer(`Via: ${OURS}`, `vIA :  ${THEIRS}`);
    expect(response.withoutTopVia().raw).toBe(response.raw.replace(`Via: ${OURS}\r\n`, ""));
  });
});
