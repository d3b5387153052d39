import type { Address, Timer } from "../runtime/runtime.ts";
import { buildResponse } from "../sip/message/build.ts";
import type { SipRequest, SipResponse } from "../sip/message/message.ts";
import type { ServerTransaction } from "../sip/transaction/transaction.ts";
import { contactOf, type Dialog, inDialog, keyOf, notifiedDialog, requestKey } from "./dialog.ts";
import type { Stack } from "./stack.ts";

const MAX_WATCHES = 20_000;
const MAX_DOCUMENTS = 1_000;
const RETRY_S = 5;
/** 64*T1. */
const TIMER_N_MS = 32_000;

/** One NOTIFY as it came. */
export interface Notified {
  /** The value of Subscription-State. */
  readonly state: string;
  readonly document: string;
  readonly cseq: number;
  /** Monotonic milliseconds. */
  readonly at: number;
  /** Where its sender wants to be reached. */
  readonly contact: string | undefined;
  /** Which of the subscriptions of this watch, where one followed another; from 0. */
  readonly dialog: number;
}

/** One subscription of one of an example server's users, seen from the watcher. */
export interface Watch {
  /** Final answer to the last SUBSCRIBE outside a dialog; null: nobody answered. */
  readonly answer: SipResponse | null;
  /** The last thousand NOTIFYs, in the order of coming. */
  readonly notified: readonly Notified[];
  /** What the last NOTIFY said; `waiting`: none came. */
  readonly phase: "waiting" | "pending" | "active" | "terminated";
  /** `terminated`, once a NOTIFY said so or a refresh was answered 481, and no new subscription was made. */
  readonly ended: boolean;
  /** NOTIFYs that went back: a CSeq at or below one that had come. */
  readonly backward: number;
  /** Statuses of the SUBSCRIBEs within the dialog, the last thousand; 0: nobody answered. */
  readonly refreshes: readonly number[];
  /** A SUBSCRIBE within the dialog; 0 seconds ends it. */
  refresh(seconds: number): Promise<SipResponse | null>;
}

export interface WatchOptions {
  /** Seconds asked for; default 600. */
  readonly expires?: number;
  /** Refreshes halfway, for ever. */
  readonly keep?: boolean;
  /** Subscribes anew, in a new dialog, when it ends for another reason than `rejected` or `noresource` (RFC 6665 4.1.3). */
  readonly again?: boolean;
  readonly heard?: (notified: Notified) => void;
  /** Where the SUBSCRIBEs outside dialogs go; default: to the proxy. */
  readonly to?: () => Address;
  /** The first SUBSCRIBE was refused: whether it is tried again a little later, where `again` says so; default: it is. @param status 0: nobody answered. */
  readonly refused?: (status: number) => "again" | "enough";
}

class Watching implements Watch {
  answer: SipResponse | null = null;
  phase: Watch["phase"] = "waiting";
  ended = false;
  backward = 0;
  readonly notified: Notified[] = [];
  readonly refreshes: number[] = [];
  readonly make: () => SipRequest;
  readonly options: WatchOptions;
  readonly #watches: Watches;
  request: SipRequest;
  dialog: Dialog | undefined;
  timer: Timer | undefined;
  /** Timer N (RFC 6665 4.1.2.4). */
  first: Timer | undefined;
  /** CSeq of the newest NOTIFY of this dialog. */
  newest = -1;
  /** Which dialog of this watch it is. */
  round = 0;
  /** It was asked to end. */
  leaving = false;
  /** And the notifier was told so. */
  left = false;

  constructor(watches: Watches, make: () => SipRequest, options: WatchOptions) {
    this.#watches = watches;
    this.make = make;
    this.options = options;
    this.request = make();
  }

  refresh(seconds: number): Promise<SipResponse | null> {
    return this.#watches.refresh(this, seconds);
  }
}

/** The watchers' side of RFC 6665: the first NOTIFY makes the dialog (4.4.1); of others from a fork there should be none. */
export class Watches {
  readonly #stack: Stack;
  readonly #to: () => Address;
  /** By Call-ID and our tag. */
  readonly #watches = new Map<string, Watching>();

  constructor(stack: Stack, to: () => Address) {
    this.#stack = stack;
    this.#to = to;
  }

  /** @param make the first SUBSCRIBE, each time with a Call-ID and a tag of its own. */
  async start(make: () => SipRequest, options: WatchOptions = {}): Promise<Watch> {
    const watch = this.#make(make, options);
    await this.#subscribe(watch);
    return watch;
  }

  /** As `start`, without waiting for the answer. */
  begin(make: () => SipRequest, options: WatchOptions = {}): Watch {
    const watch = this.#make(make, options);
    void this.#subscribe(watch);
    return watch;
  }

  async refresh(watch: Watching, seconds: number): Promise<SipResponse | null> {
    const { dialog } = watch;
    if (seconds === 0) {
      // Before the first NOTIFY there is no dialog to end: it ends with that (RFC 6665 4.1.2.3).
      watch.leaving = true;
      watch.left = dialog !== undefined;
      this.#rest(watch);
    }
    if (dialog === undefined) return null;
    const event = watch.request.header("Event") ?? "presence";
    const answer = await this.#stack.ask(
      inDialog(dialog, "SUBSCRIBE", [
        ["Contact", `<${this.#stack.uri}>`],
        ["Event", event],
        ["Expires", String(seconds)],
      ]),
    );
    watch.refreshes.push(answer?.status ?? 0);
    if (watch.refreshes.length > MAX_DOCUMENTS) watch.refreshes.shift();
    if (answer !== null && answer.status < 300) dialog.target = contactOf(answer) ?? dialog.target;
    if (answer?.status === 481 && watch.dialog === dialog) this.#over(watch, "");
    return answer;
  }

  /** False: this NOTIFY belongs to none of them. */
  notified(transaction: ServerTransaction): boolean {
    const { request } = transaction;
    const key = keyOf(request.callId, request.to.tag ?? "", "");
    const watch = this.#watches.get(key);
    if (watch === undefined) return false;
    watch.dialog ??= notifiedDialog(watch.request, request);
    watch.first?.cancel();
    const { dialog } = watch;
    if (requestKey(request) !== keyOf(dialog.callId, dialog.localTag, dialog.remoteTag)) return false;
    const cseq = request.cseq.number;
    if (cseq <= watch.newest) {
      watch.backward += 1;
      // RFC 3261 12.2.2.
      transaction.respond(buildResponse(request, 500));
      return true;
    }
    watch.newest = cseq;
    // Every NOTIFY is a target refresh (RFC 6665 4.4.1): one who took the subscription over is reached there.
    dialog.target = contactOf(request) ?? dialog.target;
    transaction.respond(buildResponse(request, 200));
    this.#record(watch, request);
    return true;
  }

  stop(): void {
    // Answers that are still to come find nothing to go on with.
    for (const watch of this.#watches.values()) {
      watch.leaving = true;
      watch.left = true;
      watch.first?.cancel();
      this.#rest(watch);
    }
    this.#watches.clear();
  }

  #make(make: () => SipRequest, options: WatchOptions): Watching {
    if (this.#watches.size >= MAX_WATCHES) throw new Error(`an example server keeps ${MAX_WATCHES} watches at most`);
    return new Watching(this, make, options);
  }

  async #subscribe(watch: Watching): Promise<void> {
    const { request } = watch;
    const key = keyOf(request.callId, request.from.tag ?? "", "");
    this.#watches.set(key, watch);
    const answer = await this.#stack.ask(request, (watch.options.to ?? this.#to)());
    watch.answer = answer;
    if (answer === null || answer.status >= 300) {
      if (watch.dialog === undefined || watch.request !== request) this.#watches.delete(key);
      // A NOTIFY has told its end before, and another may have followed it.
      if (watch.leaving || watch.ended || watch.request !== request) return;
      // The NOTIFY made the dialog, whatever became of the 200 (RFC 6665 4.4.1).
      if (watch.dialog !== undefined) {
        if (watch.options.keep === true) this.#keep(watch, asked(watch));
        return;
      }
      const next = watch.options.refused?.(answer?.status ?? 0) ?? "again";
      if (watch.options.again === true && next === "again") this.#later(watch);
      return;
    }
    if (watch.request !== request || !this.#watches.has(key)) return;
    if (watch.dialog === undefined) this.#awaitFirst(watch, key);
    if (watch.options.keep === true && !watch.leaving) this.#keep(watch, answer.expires ?? asked(watch));
  }

  /** RFC 6665 4.1.2.4: accepted, and no NOTIFY comes: the subscription has failed. */
  #awaitFirst(watch: Watching, key: string): void {
    watch.first = this.#stack.runtime.timers.after(TIMER_N_MS, () => {
      if (watch.dialog === undefined && this.#watches.get(key) === watch) this.#over(watch, "");
    });
  }

  #record(watch: Watching, request: SipRequest): void {
    const state = request.header("Subscription-State") ?? "";
    const parsed = request.subscriptionState;
    const entry: Notified = {
      state,
      document: request.body,
      cseq: request.cseq.number,
      at: this.#stack.runtime.clock.now(),
      contact: contactOf(request),
      dialog: watch.round,
    };
    watch.notified.push(entry);
    if (watch.notified.length > MAX_DOCUMENTS) watch.notified.shift();
    if (parsed?.state === "terminated") this.#over(watch, parsed.reason ?? "");
    else watch.phase = parsed?.state === "active" ? "active" : "pending";
    if (watch.leaving && !watch.left && !watch.ended) void this.refresh(watch, 0);
    watch.options.heard?.(entry);
  }

  #keep(watch: Watching, seconds: number): void {
    watch.timer?.cancel();
    const { request } = watch;
    watch.timer = this.#stack.runtime.timers.after((seconds * 1000) / 2, async () => {
      const answer = await this.refresh(watch, asked(watch));
      if (watch.request !== request || watch.ended || watch.timer === undefined) return;
      // What was not answered is asked again soon; the subscription lasts as long as was granted (RFC 6665 4.1.2.2).
      const next = answer !== null && answer.status < 300 ? (answer.expires ?? asked(watch)) : 2 * RETRY_S;
      this.#keep(watch, next);
    });
  }

  #rest(watch: Watching): void {
    watch.timer?.cancel();
    watch.timer = undefined;
  }

  /** Its subscription is over: for good, or another follows. */
  #over(watch: Watching, reason: string): void {
    this.#rest(watch);
    const { request } = watch;
    this.#watches.delete(keyOf(request.callId, request.from.tag ?? "", ""));
    watch.phase = "terminated";
    watch.dialog = undefined;
    const again = watch.options.again === true && !watch.leaving && reason !== "rejected" && reason !== "noresource";
    if (again) this.#anew(watch);
    else watch.ended = true;
  }

  #anew(watch: Watching): void {
    watch.request = watch.make();
    watch.round += 1;
    watch.newest = -1;
    void this.#subscribe(watch);
  }

  /** After a refusal: tried again a little later. */
  #later(watch: Watching): void {
    const key = keyOf(watch.request.callId, watch.request.from.tag ?? "", "");
    this.#watches.set(key, watch);
    watch.timer = this.#stack.runtime.timers.after(RETRY_S * 1000, () => {
      this.#watches.delete(key);
      watch.timer = undefined;
      this.#anew(watch);
    });
  }
}

function asked(watch: Watching): number {
  return watch.request.expires ?? 600;
}
