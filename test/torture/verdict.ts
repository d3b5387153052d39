import { buildResponse } from "../../src/sip/message/build.ts";
import type { SipMessage, SipRequest, SipResponse } from "../../src/sip/message/message.ts";
import { ParseError, parseMessage, validateRequest, validateResponse } from "../../src/sip/message/parse.ts";
import type { Torture } from "./expectation.ts";
import { FORWARDED } from "./forwarded.ts";

/** What the codec made of one message, and whether that is what was asked. */
export interface Verdict {
  readonly name: string;
  readonly section: string;
  /** What expect.json asks: of the parser, and of a proxy. */
  readonly asked: string;
  /** accepted | refused by the parser. */
  readonly parser: string;
  /** forward | drop | the status owed. */
  readonly outcome: string;
  /** Empty where everything asked was done. */
  readonly wrong: readonly string[];
}

/** The proxy that is asked: routes sip, sips and tel, counts hops, understands no option tags. */
const RULES = { schemes: ["sip", "sips", "tel"], hops: true, proxyRequire: [] };

interface Outcome {
  readonly parsed: SipMessage | undefined;
  /** 0: dropped. Undefined: nothing stands against forwarding it. */
  readonly status: number | undefined;
  /** What an error response can be built from. */
  readonly answerable: SipRequest | undefined;
}

function read(raw: string): Outcome {
  let parsed: SipRequest | SipResponse;
  try {
    parsed = parseMessage(raw);
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    return { parsed: undefined, status: error.status ?? 0, answerable: error.partial };
  }
  if ("status" in parsed)
    return { parsed, status: validateResponse(parsed) === null ? undefined : 0, answerable: undefined };
  return { parsed, status: validateRequest(parsed, RULES)?.status, answerable: parsed };
}

/** What a relay sends on: its Via, one hop less. */
export function relayed(m: SipMessage): string {
  if ("status" in m) return m.edit().removeFirstValue("Via").build().raw;
  const hops = String((m.maxForwards ?? 71) - 1);
  return m.edit().prepend("Via", "SIP/2.0/UDP 192.0.2.200;branch=z9hG4bKtorture").set("Max-Forwards", hops).build().raw;
}

export function judge({ expectation, raw }: Torture): Verdict {
  const { action, acceptable_status: acceptable } = expectation.proxy;
  const wrong: string[] = [];
  const { parsed, status, answerable } = read(raw);
  if (expectation.parser.endsWith("-accept") && parsed === undefined) wrong.push("the parser refuses it");
  if (action === "drop") {
    if (status !== 0) wrong.push("it is not dropped");
  } else if (action === "reject") {
    if (status === undefined || !acceptable.includes(status))
      wrong.push(`not answered with one of ${acceptable.join(", ")}`);
  } else if (action === "reject-or-liberal") {
    if (status !== undefined && !acceptable.includes(status))
      wrong.push(`not answered with one of ${acceptable.join(", ")}`);
  } else if (status !== undefined) {
    wrong.push("it is not let pass");
  }
  if (status !== undefined && status > 0) wrong.push(...unanswered(status, answerable));
  if (parsed !== undefined && status === undefined) {
    const sent = relayed(parsed);
    for (const [rule, holds] of FORWARDED[expectation.name.replace("+", "")] ?? [])
      if (!holds(parsed, sent)) wrong.push(rule);
  }
  return {
    name: expectation.name,
    section: expectation.section,
    asked: `${expectation.parser}; ${action}${acceptable.length > 0 ? ` ${acceptable.join("/")}` : ""}`,
    parser: parsed === undefined ? "refused" : "accepted",
    outcome: status === undefined ? "forward" : status === 0 ? "drop" : String(status),
    wrong,
  };
}

/** The error response can be built, parses, and says what it must. */
function unanswered(status: number, request: SipRequest | undefined): string[] {
  if (request === undefined) return ["nothing is left to answer to"];
  const response = parseMessage(buildResponse(request, status).raw);
  if (!("status" in response) || response.status !== status) return ["its error response does not parse"];
  if (response.header("Via") !== request.header("Via")) return ["its error response has another Via"];
  if (response.header("Call-ID") !== request.header("Call-ID")) return ["its error response has another Call-ID"];
  return response.via.host === "" ? ["its error response can be sent nowhere"] : [];
}
