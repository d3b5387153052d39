import type { Address } from "../runtime/runtime.ts";
import { buildRequest, buildResponse, type HeaderPair } from "../sip/message/build.ts";
import type { SipMessage, SipRequest, SipResponse } from "../sip/message/message.ts";
import type { ServerTransaction } from "../sip/transaction/transaction.ts";
import {
  answeringDialog,
  askingDialog,
  contactOf,
  type Dialog,
  dialogKey,
  inDialog,
  keyOf,
  notifiedDialog,
  requestKey,
} from "./dialog.ts";
import type { Stack } from "./stack.ts";

const MAX_PAIRS = 10_000;
/** Headers a B2BUA has no business with: they are its own on each side. */
const OWN = new Set(
  [
    "Via",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Max-Forwards",
    "Route",
    "Record-Route",
    "Contact",
    "Content-Length",
    "Path",
  ].map((name) => name.toLowerCase()),
);

/** One call or subscription seen from both sides. */
interface Pair {
  readonly caller: Dialog;
  callee: Dialog | undefined;
}

/** What an example server does as a B2BUA: the same request again under a Call-ID of its own, both dialogs joined. */
export class BackToBack {
  readonly #stack: Stack;
  readonly #to: Address;
  /** By the dialog key of either side. */
  readonly #pairs = new Map<string, { readonly pair: Pair; readonly other: "caller" | "callee" }>();
  /** Subscriptions whose NOTIFY has not come yet, by Call-ID and our tag. */
  readonly #expected = new Map<string, { readonly pair: Pair; readonly request: SipRequest }>();

  constructor(stack: Stack, to: Address) {
    this.#stack = stack;
    this.#to = to;
  }

  start(transaction: ServerTransaction): void {
    const { request } = transaction;
    const { random } = this.#stack.runtime;
    const again = buildRequest({
      method: request.method,
      uri: request.requestUri,
      headers: [
        ["Max-Forwards", "70"],
        ["From", `<${request.from.uri.raw}>;tag=${random.token(10)}`],
        ["To", `<${request.to.uri.raw}>`],
        ["Call-ID", `${random.token(16)}@${this.#stack.address.host}`],
        ["CSeq", `1 ${request.method}`],
        ["Contact", `<${this.#stack.uri}>`],
        ...passed(request),
      ],
      body: request.body,
    });
    const pair: Pair = { caller: answeringDialog(request, random.token(10)), callee: undefined };
    const expected = keyOf(again.callId, again.from.tag ?? "", "");
    if (request.method === "SUBSCRIBE" && this.#expected.size < MAX_PAIRS)
      this.#expected.set(expected, { pair, request: again });
    this.#stack
      .ask(again, this.#to, (response) => {
        if (response.status > 100 && response.status < 200) transaction.respond(this.#answer(request, response, pair));
      })
      .then((response) => {
        if (response === null || response.status >= 300) this.#expected.delete(expected);
        const answer = response === null ? buildResponse(request, 480) : this.#answer(request, response, pair);
        if (response !== null && response.status < 300 && request.method !== "MESSAGE")
          this.#join(pair, askingDialog(again, response));
        transaction.respond(answer);
      });
  }

  knows(request: SipRequest): boolean {
    return this.#pairs.has(requestKey(request)) || this.#expected.has(keyOf(request.callId, request.to.tag ?? "", ""));
  }

  /** A request within either dialog goes on in the other. */
  within(transaction: ServerTransaction): void {
    const { request } = transaction;
    const key = keyOf(request.callId, request.to.tag ?? "", "");
    const expected = this.#expected.get(key);
    if (expected !== undefined && request.method === "NOTIFY") {
      this.#expected.delete(key);
      this.#join(expected.pair, notifiedDialog(expected.request, request));
    }
    const found = this.#pairs.get(requestKey(request));
    const dialog = found?.pair[found.other];
    if (found === undefined || dialog === undefined) {
      transaction.respond(buildResponse(request, 481));
      return;
    }
    const onward = inDialog(
      dialog,
      request.method,
      [["Contact", `<${this.#stack.uri}>`], ...passed(request)],
      request.body,
    );
    this.#stack.ask(onward).then((response) => {
      transaction.respond(response === null ? buildResponse(request, 480) : this.#answer(request, response, undefined));
    });
    const over = request.method === "BYE" || request.subscriptionState?.state === "terminated";
    if (over) this.#part(found.pair);
  }

  ack(request: SipRequest): void {
    const found = this.#pairs.get(requestKey(request));
    const dialog = found?.pair[found.other];
    if (dialog !== undefined) this.#stack.sendAck(inDialog(dialog, "ACK", []));
  }

  stop(): void {
    this.#pairs.clear();
    this.#expected.clear();
  }

  #join(pair: Pair, callee: Dialog): void {
    if (pair.callee !== undefined || this.#pairs.size >= MAX_PAIRS) return;
    pair.callee = callee;
    this.#pairs.set(dialogKey(pair.caller), { pair, other: "callee" });
    this.#pairs.set(dialogKey(callee), { pair, other: "caller" });
  }

  #part(pair: Pair): void {
    this.#pairs.delete(dialogKey(pair.caller));
    if (pair.callee !== undefined) this.#pairs.delete(dialogKey(pair.callee));
  }

  #answer(request: SipRequest, response: SipResponse, pair: Pair | undefined): SipResponse {
    const routes = request.headers("Record-Route").map((route): HeaderPair => ["Record-Route", route]);
    const contact: HeaderPair[] = contactOf(response) === undefined ? [] : [["Contact", `<${this.#stack.uri}>`]];
    return buildResponse(request, response.status, response.reason, {
      ...(pair === undefined ? {} : { toTag: pair.caller.localTag }),
      headers: [...routes, ...contact, ...passed(response)],
      body: response.body,
    });
  }
}

/** Headers that go through, in order. */
function passed(message: SipMessage): HeaderPair[] {
  const head = message.raw.slice(message.raw.indexOf("\r\n") + 2, message.raw.length - message.body.length - 2);
  const names = new Set(head.split("\r\n").flatMap((line) => /^([^\s:]+)\s*:/.exec(line)?.[1]?.toLowerCase() ?? []));
  return [...names]
    .filter((name) => name.length > 1 && !OWN.has(name))
    .flatMap((name) => message.headers(name).map((value): HeaderPair => [name, value]));
}
