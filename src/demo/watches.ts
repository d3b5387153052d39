import type { Address } from "../runtime/runtime.ts";
import { buildResponse } from "../sip/message/build.ts";
import type { SipRequest, SipResponse } from "../sip/message/message.ts";
import type { ServerTransaction } from "../sip/transaction/transaction.ts";
import { type Dialog, inDialog, keyOf, notifiedDialog, requestKey } from "./dialog.ts";
import type { Stack } from "./stack.ts";

const MAX_WATCHES = 10_000;
const MAX_DOCUMENTS = 100;

/** One subscription of one of an example server's users, seen from the watcher. */
export interface Watch {
  /** Final answer to the SUBSCRIBE; null: nobody answered. */
  readonly answer: SipResponse | null;
  /** What NOTIFYs said, the last hundred: state and document. */
  readonly notified: ReadonlyArray<{ readonly state: string; readonly document: string }>;
  /** `terminated`, once the last NOTIFY said so. */
  readonly ended: boolean;
  /** A SUBSCRIBE within the dialog; 0 seconds ends it. */
  refresh(seconds: number): Promise<SipResponse | null>;
}

class Watching implements Watch {
  answer: SipResponse | null = null;
  ended = false;
  dialog: Dialog | undefined;
  readonly notified: Array<{ readonly state: string; readonly document: string }> = [];
  readonly request: SipRequest;
  readonly #stack: Stack;

  constructor(stack: Stack, request: SipRequest) {
    this.#stack = stack;
    this.request = request;
  }

  async refresh(seconds: number): Promise<SipResponse | null> {
    if (this.dialog === undefined) return null;
    return this.#stack.ask(
      inDialog(this.dialog, "SUBSCRIBE", [
        ["Contact", `<${this.#stack.uri}>`],
        ["Event", "presence"],
        ["Expires", String(seconds)],
      ]),
    );
  }
}

/** The watchers' side of RFC 6665: the first NOTIFY makes the dialog (4.4.1); of others from a fork there should be none. */
export class Watches {
  readonly #stack: Stack;
  /** By Call-ID and our tag. */
  readonly #watches = new Map<string, Watching>();

  constructor(stack: Stack) {
    this.#stack = stack;
  }

  async start(request: SipRequest, to: Address): Promise<Watch> {
    const watch = new Watching(this.#stack, request);
    const key = keyOf(request.callId, request.from.tag ?? "", "");
    if (this.#watches.size >= MAX_WATCHES) throw new Error("an example server keeps 10,000 watches at most");
    this.#watches.set(key, watch);
    watch.answer = await this.#stack.ask(request, to);
    if (watch.answer === null || watch.answer.status >= 300) this.#watches.delete(key);
    return watch;
  }

  /** False: this NOTIFY belongs to none of them. */
  notified(transaction: ServerTransaction): boolean {
    const { request } = transaction;
    const key = keyOf(request.callId, request.to.tag ?? "", "");
    const watch = this.#watches.get(key);
    if (watch === undefined) return false;
    watch.dialog ??= notifiedDialog(watch.request, request);
    const same = requestKey(request) === keyOf(watch.dialog.callId, watch.dialog.localTag, watch.dialog.remoteTag);
    if (!same) return false;
    const state = request.header("Subscription-State") ?? "";
    watch.notified.push({ state, document: request.body });
    if (watch.notified.length > MAX_DOCUMENTS) watch.notified.shift();
    if (request.subscriptionState?.state === "terminated") {
      watch.ended = true;
      this.#watches.delete(key);
    }
    transaction.respond(buildResponse(request, 200));
    return true;
  }

  stop(): void {
    this.#watches.clear();
  }
}
