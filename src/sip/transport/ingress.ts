import type { Telemetry } from "../../telemetry/events.ts";
import { buildResponse } from "../message/build.ts";
import { MalformedHeader, ParseError } from "../message/errors.ts";
import { type SipMessage, SipRequest, type SipResponse } from "../message/message.ts";
import { parseMessage } from "../message/parse.ts";
import { validateRequest, validateResponse } from "../message/validate.ts";
import { bracketed } from "./address.ts";
import type { Verdict } from "./limits.ts";
import type { Points } from "./points.ts";
import { markedRaw, markedVia } from "./received.ts";
import type { Flow } from "./transport.ts";

/** Seconds after which a client turned away for its rate may try again. */
const RETRY_AFTER = 5;

export interface IngressSettings {
  readonly telemetry: Telemetry;
  readonly points: Points;
  /** A message to be handed up. */
  deliver(message: SipMessage, flow: Flow): void;
  respond(raw: string, request: SipRequest, flow: Flow): void;
}

/** From one message's text to the layer above: parse, check, mark the top Via; refuse statelessly what cannot be understood. */
export class Ingress {
  readonly #settings: IngressSettings;

  constructor(settings: IngressSettings) {
    this.#settings = settings;
  }

  receive(raw: string, flow: Flow, verdict: Verdict): void {
    try {
      if (verdict !== "pass") this.#overload(raw, flow);
      else this.#message(raw, flow);
    } catch (error) {
      if (error instanceof ParseError) this.#unreadable(error, flow);
      // A header that only a layer above looked into: no reason to fall over.
      else if (error instanceof MalformedHeader) this.#malformed(flow, 0, error.message);
      else throw error;
    }
  }

  /** Answers what is no readable request, as far as it can be answered (RFC 3261 8.2.6, 18.3). */
  unreadable(status: number | undefined, reason: string, partial: SipRequest | undefined, flow: Flow): void {
    const answered = status !== undefined && partial !== undefined && this.#refuse(partial, status, reason, flow);
    this.#malformed(flow, answered ? status : 0, reason);
  }

  #unreadable(error: ParseError, flow: Flow): void {
    // Nothing but line ends: a keep-alive.
    if (error.code === "empty") return;
    this.unreadable(error.status, error.message, error.partial, flow);
  }

  #message(raw: string, flow: Flow): void {
    const fast = raw.startsWith("SIP/") ? undefined : markedRaw(raw, flow.remoteHost, flow.remotePort);
    const message = parseMessage(fast ?? raw);
    if (message instanceof SipRequest) this.#request(message, fast !== undefined, flow);
    else this.#response(message, flow);
  }

  #request(request: SipRequest, isMarked: boolean, flow: Flow): void {
    const fault = validateRequest(request);
    if (fault === null) {
      this.#settings.deliver(isMarked ? request : marked(request, flow), flow);
      return;
    }
    const answered = this.#refuse(request, fault.status, fault.reason, flow, fault.headers);
    this.#malformed(flow, answered ? fault.status : 0, fault.reason);
  }

  /** RFC 3261 18.1.2: a response to a request that is none of ours is dropped. */
  #response(response: SipResponse, flow: Flow): void {
    const fault = validateResponse(response);
    if (fault !== null) {
      this.#malformed(flow, 0, fault.reason);
      return;
    }
    if (this.#settings.points.isSentBy(response.via.sentBy, flow.transport)) {
      this.#settings.deliver(response, flow);
      return;
    }
    const { telemetry } = this.#settings;
    if (telemetry.wants("stray")) telemetry.emit("stray", { kind: "response", callId: response.callId });
  }

  #overload(raw: string, flow: Flow): void {
    if (raw.startsWith("SIP/")) return;
    const parsed = parseMessage(raw);
    if (!(parsed instanceof SipRequest) || validateRequest(parsed) !== null) return;
    this.#refuse(parsed, 503, "Too Many Requests From Here", flow, [["Retry-After", String(RETRY_AFTER)]]);
  }

  /** False where no response may or can be sent. */
  #refuse(
    request: SipRequest,
    status: number,
    reason: string,
    flow: Flow,
    headers: ReadonlyArray<readonly [string, string]> = [],
  ): boolean {
    // RFC 3261 17.1.1.3: nothing answers an ACK.
    if (request.method === "ACK") return false;
    try {
      const own = marked(request, flow);
      const phrase = reasonPhrase(reason);
      const response = buildResponse(own, status, phrase, { headers });
      this.#settings.respond(response.raw, own, flow);
      return true;
    } catch (error) {
      // Via, To or From cannot be read: there is nobody to answer to.
      if (error instanceof MalformedHeader || error instanceof ParseError) return false;
      throw error;
    }
  }

  #malformed(flow: Flow, status: number, reason: string): void {
    const source = `${bracketed(flow.remoteHost)}:${flow.remotePort}`;
    this.#settings.telemetry.emit("malformed", { transport: flow.transport, source, status, reason });
  }
}

/** The request with its top Via marked, where it is not yet. @throws MalformedHeader */
function marked(request: SipRequest, flow: Flow): SipRequest {
  const value = request.values("Via")[0];
  if (value === undefined) throw new MalformedHeader("Via", "missing");
  const via = markedVia(value, request.via, flow.transport, flow.remoteHost, flow.remotePort);
  return via === undefined || via === value ? request : request.edit().replaceFirstValue("Via", via).build();
}

/** One line of printable text, since it may quote what the peer sent. */
function reasonPhrase(reason: string): string {
  return reason.replace(/[^ -~]+/g, " ").slice(0, 120);
}
