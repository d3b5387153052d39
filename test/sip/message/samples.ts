import type { SipRequest, SipResponse } from "../../../src/sip/message/message.ts";
import { parseMessage } from "../../../src/sip/message/parse.ts";

export const lines = (...all: string[]): string => `${all.join("\r\n")}\r\n`;

export const SUBSCRIBE = lines(
  "SUBSCRIBE sip:bob@example.com SIP/2.0",
  "Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKnashds7;rport",
  "v: SIP/2.0/TCP [2001:DB8::1]:5062;branch=z9hG4bKinner;received=192.0.2.99, SIP/2.0/WS first.invalid;branch=z9hG4bKfirst",
  "Max-Forwards: 70",
  'From: "Al \\"x\\" ice" <sip:alice@Example.COM;transport=tcp>;tag=314;x=y',
  "t: <sip:bob@example.com>",
  "i: 9987@client.example.com",
  "CSEQ: 17 SUBSCRIBE",
  "Route: <sip:p1.example.com;lr>,",
  " <sip:p2.example.com;lr>",
  "ROUTE: <sip:p3.example.com;lr>",
  "m: <sip:alice@192.0.2.7:5060>;expires=60",
  "o: presence;id=7",
  "Expires: 3600",
  "P-Asserted-Identity: <sip:alice@example.com>, <tel:+1-201-555-0123>",
  "X-Unknown:  a , b ",
  "l: 4",
  "",
  "body",
).slice(0, -2);

export const OK = lines(
  "SIP/2.0 200 All right",
  "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKours;received=192.0.2.1;rport=5070",
  "Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKnashds7",
  "From: <sip:alice@example.com>;tag=314",
  "To: <sip:bob@example.com>;tag=159",
  "Call-ID: 9987@client.example.com",
  "CSeq: 17 SUBSCRIBE",
  "Content-Length: 0",
  "",
);

export function request(raw: string): SipRequest {
  const m = parseMessage(raw);
  if (!("method" in m)) throw new Error("a request was meant");
  return m;
}

export function response(raw: string): SipResponse {
  const m = parseMessage(raw);
  if (!("status" in m)) throw new Error("a response was meant");
  return m;
}

/** SUBSCRIBE with one line replaced, or taken out. */
export function altered(start: string, replacement?: string): SipRequest {
  const all = SUBSCRIBE.split("\r\n");
  const at = all.findIndex((line) => line.startsWith(start));
  if (at < 0) throw new Error(`no line begins with ${start}`);
  all.splice(at, 1, ...(replacement === undefined ? [] : [replacement]));
  return request(all.join("\r\n"));
}
