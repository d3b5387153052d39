import type { Facts, Origin } from "../federation/facts.ts";
import type { Plan } from "../federation/plan.ts";
import type { Sender } from "../federation/sender.ts";
import type { SipRequest, SipResponse } from "../sip/message/message.ts";
import type { ServerTransaction } from "../sip/transaction/transaction.ts";
import type { OwnRoute } from "./route-header.ts";

/**
 * One request on its way through the pipeline: what the steps have found out so far. It lives until a final response
 * was given, and belongs to the step that runs.
 */
export class Exchange {
  readonly transaction: ServerTransaction;
  /** As it is to be forwarded: our own Route values are gone, a strict router's rewriting is undone (RFC 3261 16.4). */
  request: SipRequest;
  origin: Origin = UNKNOWN;
  /** The topmost Route that was ours. */
  ownRoute: OwnRoute | null = null;
  /** Watcher or sender; found out when somebody asks. */
  sender: Sender = NOBODY_KNOWN;
  /** Canonical AoR the request is for; empty where it is for no user of ours. */
  aor = "";
  /** Event package; empty where the method has none. */
  event = "";
  /** Of the user's slot when the plan was made, 0 where he has none. */
  epoch = 0;
  facts: Facts | null = null;
  plan: Plan | null = null;
  /** Servers found not to have him on the way here: a second plan is made without them, once. */
  without: readonly string[] = NOBODY;
  /** It has waited on an open fork once and waits no more. */
  hasWaited = false;
  /** False: the store was asked, and nothing of this sender waits there. */
  mayQueue = true;
  /** It was sent to the server it comes from before, which sends it on to those below it. */
  sentOn = false;
  /** Whether a credit of the server that sent it was spent for it. */
  credit: Facts["credit"] = "unasked";
  /** By which name; empty where none was. */
  spender = "";
  /** Called when the client takes its INVITE back (RFC 3261 9.2). */
  onCancel: ((reason: string | undefined) => void) | null = null;
  /** Told of the final response once. */
  readonly #finished: (exchange: Exchange, status: number) => void;
  #over = false;

  constructor(transaction: ServerTransaction, finished: (exchange: Exchange, status: number) => void) {
    this.transaction = transaction;
    this.request = transaction.request;
    this.#finished = finished;
  }

  get method(): string {
    return this.request.method;
  }

  /** Whether it goes up or down in a tree: as the listener it came to says, or a credit that was spent for it. */
  get direction(): Facts["direction"] {
    return this.credit === "spent" ? "down" : this.transaction.flow.point.direction;
  }

  get isInvite(): boolean {
    return this.request.method === "INVITE";
  }

  /** A response made here or forwarded. Final ones end the exchange; what comes after is ignored, but for 2xx to INVITE. */
  respond(response: SipResponse): void {
    this.transaction.respond(response);
    if (response.status >= 200) this.#end(response.status);
  }

  /** Ends without an answer: what a non-INVITE whose time is over gets (RFC 4320 4.2). */
  drop(): void {
    this.#end(0);
  }

  #end(status: number): void {
    if (this.#over) return;
    this.#over = true;
    this.#finished(this, status);
  }
}

const UNKNOWN: Origin = { kind: "unknown" };
const NOBODY: readonly string[] = [];
const NOBODY_KNOWN: Sender = { aor: "", trusted: false };
