import { existsSync, readFileSync } from "node:fs";
import { buildResponse } from "../src/sip/message/build.ts";
import type { SipRequest, SipResponse } from "../src/sip/message/message.ts";
import { parseMessage, validateRequest, validateResponse } from "../src/sip/message/parse.ts";

/** What this benchmark reads where the examples of the RFCs are not beside the checkout. */
const OWN = [
  "SUBSCRIBE sip:bob@example.com SIP/2.0",
  "Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKnashds7;rport",
  "Max-Forwards: 70",
  'From: "Alice" <sip:alice@example.com>;tag=31415',
  "To: <sip:bob@example.com>",
  "Call-ID: 9987@client.example.com",
  "CSeq: 17 SUBSCRIBE",
  "Contact: <sip:alice@192.0.2.7:5060>",
  "Event: presence",
  "Expires: 3600",
  "Accept: application/pidf+xml",
  "Content-Length: 0",
  "",
  "",
].join("\r\n");

const OUR_VIA = "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds";

interface Parser {
  readonly Parser: { parseMessage(data: string, logger: unknown): unknown };
}

/** What the measured work returns is summed, so that none of it can be left out. */
let sink = 0;

function nanoseconds(rounds: number, work: () => number): number {
  for (let i = 0; i < Math.min(rounds, 20_000); i++) sink += work();
  let best = Number.POSITIVE_INFINITY;
  for (let pass = 0; pass < 5; pass++) {
    const start = performance.now();
    for (let i = 0; i < rounds; i++) sink += work();
    best = Math.min(best, ((performance.now() - start) * 1e6) / rounds);
  }
  return best;
}

/** The best of five passes of each, and the ratio to sip.js. `args`: a file with one request to be read instead. */
export async function run(args: string[]): Promise<void> {
  const example = new URL("../../shared/data/sip-examples/rfc3857-001.sip", import.meta.url);
  const file = args[0] ?? (existsSync(example) ? example : undefined);
  const bytes = file === undefined ? Buffer.from(OWN, "latin1") : readFileSync(file);
  const raw = bytes.toString("latin1");
  const request = parseMessage(raw) as SipRequest;
  const upstream = request.edit().prepend("Via", OUR_VIA).build();
  const answer = buildResponse(upstream, 200, "OK", { headers: [["Expires", "3600"]] }).raw;
  const answerBytes = Buffer.from(answer, "latin1");

  const read = (text: string): SipRequest => {
    const m = parseMessage(text) as SipRequest;
    if (validateRequest(m) !== null) throw new Error("the benchmark's request is not valid");
    sink += m.via.sentBy.length + m.callId.length + m.cseq.number + (m.maxForwards ?? 70) + m.routes.length;
    sink += (m.from.tag?.length ?? 0) + (m.to.tag?.length ?? 0) + m.uri.raw.length;
    return m;
  };
  const requestThrough = (): number => {
    const m = read(bytes.toString("latin1"));
    const hops = String((m.maxForwards ?? 70) - 1);
    const sent = m.edit().prepend("Via", OUR_VIA).set("Max-Forwards", hops).build();
    return Buffer.from(sent.raw, "latin1").length;
  };
  const responseThrough = (): number => {
    const m = parseMessage(answerBytes.toString("latin1")) as SipResponse;
    if (validateResponse(m) !== null) throw new Error("the benchmark's response is not valid");
    sink += (m.via.branch?.length ?? 0) + m.cseq.method.length + m.status;
    return Buffer.from(m.edit().removeFirstValue("Via").build().raw, "latin1").length;
  };

  const rows: Array<readonly [string, number]> = [
    ["parse", nanoseconds(200_000, () => parseMessage(raw).raw.length)],
    ["parse, validate, routing accessors", nanoseconds(200_000, () => read(raw).raw.length)],
    ["request: bytes in, checked, Via on, hops down, bytes out", nanoseconds(200_000, requestThrough)],
    ["response: bytes in, checked, Via off, bytes out", nanoseconds(200_000, responseThrough)],
  ];

  const sipjs = (await import("sip.js/lib/core/messages/parser.js")) as Parser;
  const quiet = { error: () => {}, warn: () => {}, log: () => {}, debug: () => {} };
  if (sipjs.Parser.parseMessage(raw, quiet) === undefined)
    throw new Error("sip.js does not read the benchmark's request");
  const theirs = nanoseconds(500, () => (sipjs.Parser.parseMessage(raw, quiet) === undefined ? 0 : 1));

  console.log(`${request.method}, ${bytes.length} octets, ${request.headerCount} header lines; best of five passes`);
  for (const [what, ns] of rows) console.log(`${ns.toFixed(0).padStart(9)} ns/message  ${what}`);
  console.log(`${theirs.toFixed(0).padStart(9)} ns/message  sip.js, parse`);
  console.log(
    `    ratio  ${(theirs / rows[1]![1]).toFixed(0)} x sip.js, with validation and accessors against its bare parse`,
  );
  if (sink === 0) throw new Error("nothing was read");
}
