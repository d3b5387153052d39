import { createHash } from "node:crypto";
import { DirectoryUnavailable } from "../base/errors.ts";
import type { NewMessage, StoreAsk, StoreOutcome } from "../directory/messages.ts";
import { warningValue } from "../federation/claim-answer.ts";
import type { StorePlan } from "../federation/plan.ts";
import { buildResponse, type HeaderPair } from "../sip/message/build.ts";
import type { Reply } from "../sip/transaction/outbound.ts";
import { storedForm } from "./copy.ts";
import { type Deliverer, DOWN_MS } from "./deliverer.ts";
import { backOff, judgeReply } from "./judge.ts";
import type { DeliveryOptions } from "./options.ts";
import type { FailedTry, HandedMessage, MessagingParts } from "./ports.ts";

/** A sender's name beyond this stands as a digest: an index has its limits. */
const LONGEST_SENDER = 512;
const ID_LENGTH = 20;
/** What is left of Timer F on the first branch, and a little. */
const LATE_MS = 34_000;

/** Stores MESSAGEs and answers for them: durable first, then 202 (RFC 3428 7: accepted, not delivered). */
export class Keeper {
  readonly #parts: MessagingParts;
  readonly #deliverer: Deliverer;
  readonly #options: DeliveryOptions;

  constructor(parts: MessagingParts, deliverer: Deliverer, options: DeliveryOptions) {
    this.#parts = parts;
    this.#deliverer = deliverer;
    this.#options = options;
  }

  /** As planned. False: nothing of this pair is queued any more, and it goes its way. */
  async store(handed: HandedMessage, plan: StorePlan): Promise<boolean> {
    const message = this.#messageOf(handed);
    if (message === null) {
      if (plan.behindOthers) return false;
      this.#refuse(handed, "it would have expired before it could be delivered");
      return true;
    }
    const { behindOthers } = plan;
    const why = plan.reasons.join("; ");
    const delayMs = plan.until === "up" && !behindOthers ? DOWN_MS : null;
    const ask = this.#ask({ message, behindOthers, why, delayMs, underWay: null });
    const outcome = await this.#write(handed, ask);
    if (outcome === null) return true;
    if (outcome.outcome === "empty") return false;
    if (outcome.outcome === "full") this.#refuse(handed, FULL[outcome.what]);
    else this.#answer(handed, ask, outcome);
    if (delayMs !== null) this.#deliverer.waitsForServers(message.recipient);
    return true;
  }

  /** A try on the proxy's own branch has not delivered it. False: it cannot be kept, and the try's answer stands. */
  async keep(handed: HandedMessage, tried: FailedTry): Promise<boolean> {
    const message = this.#messageOf(handed);
    if (message === null) return false;
    const { runtime } = this.#parts;
    const { server, late } = tried;
    const until = runtime.clock.now() + LATE_MS;
    const verdict = judgeReply(tried.reply, server);
    const { retryMs, maxRetryMs } = this.#options;
    const delay = backOff(0, retryMs, maxRetryMs, runtime.random.integer(1_000) / 1_000);
    const delayMs = Math.min(maxRetryMs, Math.max(delay, verdict.verdict === "kept" ? verdict.retryAfterMs : 0));
    const underWay = late === null ? null : { server, holdMs: LATE_MS };
    const ask = this.#ask({ message, behindOthers: false, why: verdict.detail, delayMs, underWay });
    const outcome = await this.#write(handed, ask);
    if (outcome === null) return true;
    if (outcome.outcome === "full") return false;
    this.#answer(handed, ask, outcome);
    if (late !== null) this.#await(message, server, outcome, late, until);
    return true;
  }

  /** The late answer of the first branch: that of a try, where the queue is ours; a late 2xx counts in any case. */
  #await(message: NewMessage, server: string, outcome: StoreOutcome, late: Promise<Reply>, until: number): void {
    if (outcome.outcome !== "stored" && outcome.outcome !== "known") return;
    if (outcome.queue !== null) {
      this.#deliverer.adopt(outcome.queue, { ...message, tries: 0 }, server, late, until);
      return;
    }
    if (outcome.outcome === "known") return;
    void late.then((reply) => {
      const verdict = judgeReply(reply, server);
      if (verdict.verdict === "delivered") void this.#deliverer.deliveredLate({ ...message, tries: 0 }, verdict.detail);
    });
  }

  /** Null: it could not be written, and was answered. A lost answer is repeated once: the same id is the same message. */
  async #write(handed: HandedMessage, ask: StoreAsk): Promise<StoreOutcome | null> {
    const { directory, router } = this.#parts;
    try {
      return await directory.messages.store(ask).catch((error: unknown) => {
        if (!(error instanceof DirectoryUnavailable)) throw error;
        return directory.messages.store(ask);
      });
    } catch (error) {
      if (!(error instanceof DirectoryUnavailable)) throw error;
      this.#respond(handed, 500, [["Retry-After", String(router.retryAfterS)]]);
      return null;
    }
  }

  #answer(handed: HandedMessage, ask: StoreAsk, outcome: StoreOutcome): void {
    // A server being asked has sent it back: it has no such user.
    if (outcome.outcome === "returned") return this.#respond(handed, 404, []);
    this.#respond(handed, 202, []);
    if (outcome.outcome !== "stored") return;
    const { id, recipient, sender, request } = ask.message;
    const { bound } = outcome;
    this.#parts.telemetry.emit("messageStored", { id, recipient, sender, server: bound, octets: request.length });
    this.#deliverer.stored(bound !== null && ask.delayMs === null);
  }

  #ask(ask: Omit<StoreAsk, "limits">): StoreAsk {
    return { ...ask, limits: this.#parts.options().limits };
  }

  /** Null: it has expired, or would at once. */
  #messageOf({ request, transaction, origin, aor, sender }: HandedMessage): NewMessage | null {
    const { runtime, options } = this.#parts;
    const now = runtime.clock.wall();
    const receivedAt = Math.round(now - (runtime.clock.now() - transaction.receivedAt));
    // RFC 3428 8: an Expires counts from the Date of the message; without one, from its receipt.
    const life = request.expires === undefined ? Number.POSITIVE_INFINITY : request.expires * 1000;
    const from = Math.min(receivedAt, dateOf(request.header("Date")) ?? receivedAt);
    const expiresAt = Math.min(receivedAt + options().keepMs, from + life);
    if (expiresAt <= now) return null;
    return {
      id: runtime.random.token(ID_LENGTH),
      recipient: aor,
      sender: sender.aor.length <= LONGEST_SENDER ? sender.aor : digestOf(sender.aor),
      origin: origin.kind === "server" ? origin.server : null,
      callId: request.callId,
      fromTag: request.from.tag ?? "",
      cseq: request.cseq.number,
      requestUri: transaction.request.requestUri,
      request: storedForm(request, origin, receivedAt),
      receivedAt,
      expiresAt,
    };
  }

  #refuse(handed: HandedMessage, why: string): void {
    const { router } = this.#parts;
    this.#respond(handed, 480, [
      ["Retry-After", String(router.retryAfterS)],
      ["Warning", warningValue(router.domains[0]!, why)],
    ]);
  }

  #respond(handed: HandedMessage, status: number, headers: readonly HeaderPair[]): void {
    if (handed.transaction.completed) return;
    const toTag = this.#parts.runtime.random.token(10);
    handed.respond(buildResponse(handed.transaction.request, status, undefined, { toTag, headers }));
  }
}

const FULL = {
  recipient: "as much as may be stored for this user is waiting already",
  sender: "as many messages of this sender as may be are waiting already",
} as const;

function digestOf(text: string): string {
  return `sha256:${createHash("sha256").update(text, "latin1").digest("hex")}`;
}

/** RFC 3261 20.17. Undefined: there is none that can be read. */
function dateOf(value: string | undefined): number | undefined {
  const at = value === undefined ? Number.NaN : Date.parse(value);
  return Number.isNaN(at) ? undefined : at;
}
