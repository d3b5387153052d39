import { askingDialog, contactOf, type Dialog, inDialog, notifiedDialog } from "../../../src/demo/dialog.ts";
import type { Timer } from "../../../src/runtime/runtime.ts";
import type { Simulation } from "../../../src/runtime/simulated.ts";
import { buildResponse, type HeaderPair } from "../../../src/sip/message/build.ts";
import type { SipRequest } from "../../../src/sip/message/message.ts";
import type { ServerTransaction } from "../../../src/sip/transaction/transaction.ts";
import type { Client } from "../../support/world.ts";
import { readDocument, type Shown } from "./documents.ts";
import type { Story } from "./story.ts";

const NEVER: Timer = { cancel: () => undefined };
const AGAIN_MS = 3_000;
const TIMER_N_MS = 32_000;

/** One subscription as its watcher knows it (RFC 6665). */
export interface Watch {
  readonly id: string;
  readonly user: string;
  readonly request: SipRequest;
  readonly expires: number;
  /** When it was asked for. */
  readonly begun: number;
  state: "asked" | "live" | "over";
  dialog: Dialog | undefined;
  /** The last NOTIFY taken. */
  cseq: number;
  /** The last document taken; undefined: none yet. */
  shown: Shown | undefined;
  until: number;
  /** The watcher has asked for the end, or for nothing but a look. */
  ending: boolean;
  /** Was told so once. */
  active: boolean;
  /** A refresh is under way. */
  asking: boolean;
  /** Does not answer any more. */
  silent: boolean;
  renewal: Timer;
}

/** What those who judge are told. */
export interface Seen {
  shown(watcher: Watcher, watch: Watch, document: Shown): void;
  terminated(watcher: Watcher, watch: Watch, reason: string): void;
  /** A proxy was killed. */
  readonly someoneDied: boolean;
  /** He was denied somewhere, and may not have heard of it. */
  mayEnd(watcher: Watcher, watch: Watch): boolean;
}

/** A user agent that watches, by the rules, and says what it was shown. */
export class Watcher {
  readonly aor: string;
  readonly client: Client;
  readonly watches: Watch[] = [];
  /** NOTIFYs are not answered at all, or with this status. */
  ignoring: number | null = null;
  /** Refreshes must succeed from now on. */
  calm = false;
  /** Finals of refreshes, and of SUBSCRIBEs: for the tally. */
  readonly answers: number[] = [];
  readonly #simulation: Simulation;
  readonly #story: Story;
  readonly #seen: Seen;
  #made = 0;
  #over = false;

  constructor(aor: string, client: Client, simulation: Simulation, story: Story, seen: Seen) {
    this.aor = aor;
    this.client = client;
    this.#simulation = simulation;
    this.#story = story;
    this.#seen = seen;
  }

  /** Those that live. */
  get live(): Watch[] {
    return this.watches.filter((watch) => watch.state === "live" && !watch.ending);
  }

  of(user: string): Watch | undefined {
    return this.watches.find((watch) => watch.user === user && watch.state !== "over");
  }

  /** @param expires seconds; 0: a look. */
  async subscribe(user: string, proxy: string, expires: number, headers: readonly HeaderPair[] = []): Promise<void> {
    const id = `${this.aor.split("@")[0]}-${user}-${++this.#made}`;
    const request = this.client.request("SUBSCRIBE", `sip:${user}@example.com`, {
      from: `sip:${this.aor}`,
      fromTag: `f-${id}`,
      callId: `c-${id}`,
      expires,
      headers,
    });
    const watch: Watch = {
      id,
      user,
      request,
      expires,
      begun: this.#simulation.now,
      state: "asked",
      dialog: undefined,
      cseq: 0,
      shown: undefined,
      until: 0,
      ending: expires === 0,
      active: false,
      asking: false,
      silent: false,
      renewal: NEVER,
    };
    this.watches.push(watch);
    this.#story.tell(user, `${id}: SUBSCRIBE ${expires} by ${proxy}`);
    const sent = this.client.beginRequest(request, proxy);
    const status = await sent.done;
    this.answers.push(status);
    this.#story.tell(user, `${id}: SUBSCRIBE answered ${status}`);
    const response = sent.responses.at(-1);
    if (status >= 200 && status < 300 && response !== undefined) {
      watch.dialog ??= askingDialog(request, response);
      this.#granted(watch, response.expires ?? expires);
      if (watch.state === "asked" && expires > 0) watch.state = "live";
    } else if (status > 0 || watch.dialog === undefined) this.#end(watch);
  }

  /** @param seconds 0 ends it. */
  async refresh(watch: Watch, seconds: number): Promise<number> {
    if (watch.dialog === undefined || watch.state !== "live") return 0;
    // Two at a time could overtake each other.
    if (watch.asking && seconds > 0) return 200;
    watch.asking = true;
    watch.renewal.cancel();
    if (seconds === 0) watch.ending = true;
    const request = inDialog(watch.dialog, "SUBSCRIBE", [
      ["Contact", `<sip:${this.client.host}:5060>`],
      ["Event", "presence"],
      ["Accept", "application/pidf+xml"],
      ["Expires", String(seconds)],
    ]);
    this.#story.tell(watch.user, `${watch.id}: refresh ${seconds} to ${watch.dialog.target}`);
    const answer = await this.client.stack.ask(request);
    watch.asking = false;
    const status = answer?.status ?? 0;
    this.answers.push(status);
    this.#story.tell(watch.user, `${watch.id}: refresh ${seconds} answered ${status}`);
    const alive = (watch.state as Watch["state"]) === "live";
    if (!alive || this.#over) return status;
    // Who has never taken a NOTIFY is given up.
    const expected = watch.ending || watch.cseq === 0 || this.#seen.mayEnd(this, watch);
    if (status === 481 && !expected && this.#simulation.now < watch.until - 5_000) {
      this.#story.wrong(watch.user, `${watch.id}: a refresh of what lives was answered 481`);
    }
    if (this.calm && status !== 200 && seconds > 0 && !expected) {
      this.#story.wrong(watch.user, `${watch.id}: in calm a refresh was answered ${status}`);
    }
    if (status >= 200 && status < 300) this.#granted(watch, answer?.expires ?? seconds);
    else if (status === 481 || this.#simulation.now >= watch.until) this.#end(watch);
    else this.#renewIn(watch, AGAIN_MS, seconds);
    return status;
  }

  /** The device is lost: it forgets, and nobody says goodbye. @param silent nor answers. */
  forget(watch: Watch, silent: boolean): void {
    this.#story.tell(watch.user, `${watch.id}: forgotten`);
    watch.silent = silent;
    this.#end(watch);
  }

  handle(transaction: ServerTransaction): void {
    const { request } = transaction;
    const watch = this.watches.find(
      (each) => each.request.callId === request.callId && each.request.from.tag === request.to.tag,
    );
    if (request.method !== "NOTIFY" || watch === undefined) {
      transaction.respond(buildResponse(request, request.method === "NOTIFY" ? 481 : 200));
      return;
    }
    if (watch.silent) return;
    const told = `${watch.id}: NOTIFY ${request.cseq.number} ${request.header("Subscription-State")}`;
    const document = readDocument(request.body);
    const what = document === undefined ? "-" : `${document.server ?? "proxy"} ${document.serial} ${document.open}`;
    if (this.ignoring !== null) {
      this.#story.tell(watch.user, `${told} ${what}: ignored ${this.ignoring}`);
      if (this.ignoring > 0) transaction.respond(buildResponse(request, this.ignoring));
      return;
    }
    const status = this.#take(watch, request, document);
    this.#story.tell(watch.user, `${told} ${what}: ${status}`);
    transaction.respond(buildResponse(request, status));
    if (status !== 200) return;
    if (document !== undefined) this.#seen.shown(this, watch, document);
    if (request.subscriptionState?.state === "terminated") {
      this.#seen.terminated(this, watch, request.subscriptionState.reason ?? "");
      this.#end(watch);
    }
  }

  stop(): void {
    this.#over = true;
    for (const watch of this.watches) watch.renewal.cancel();
  }

  #take(watch: Watch, request: SipRequest, document: Shown | undefined): number {
    if (watch.state === "over") return 481;
    watch.dialog ??= notifiedDialog(watch.request, request);
    if (request.from.tag !== watch.dialog.remoteTag) {
      // A proxy that died between writing it down and answering: the copy of the request was a new one to its successor.
      if (!this.#seen.someoneDied) this.#story.wrong(watch.user, `${watch.id}: a second dialog (${request.from.tag})`);
      return 481;
    }
    // RFC 3261 12.2.2: out of order.
    if (request.cseq.number <= watch.cseq) return 500;
    const state = request.subscriptionState?.state ?? "";
    if (watch.active && state === "pending") this.#story.wrong(watch.user, `${watch.id}: pending after active`);
    watch.active ||= state === "active";
    watch.cseq = request.cseq.number;
    watch.dialog.target = contactOf(request) ?? watch.dialog.target;
    const left = request.subscriptionState?.expires ?? watch.expires;
    if (watch.state === "asked" && !watch.ending) {
      watch.state = "live";
      this.#granted(watch, left);
    }
    // RFC 6665 4.1.3: it may shorten.
    watch.until = Math.min(watch.until, this.#simulation.now + left * 1000);
    if (document !== undefined) watch.shown = document;
    return 200;
  }

  #granted(watch: Watch, seconds: number): void {
    watch.until = this.#simulation.now + seconds * 1000;
    if (seconds === 0 || watch.ending) {
      // RFC 6665 4.1.2.4: where the last NOTIFY does not come, Timer N ends it.
      watch.renewal.cancel();
      watch.renewal = this.client.stack.runtime.timers.after(TIMER_N_MS, () => {
        this.#story.tell(watch.user, `${watch.id}: ended without a word`);
        this.#end(watch);
      });
      return;
    }
    this.#renewIn(watch, seconds * 500, watch.expires);
  }

  #renewIn(watch: Watch, ms: number, seconds: number): void {
    watch.renewal.cancel();
    watch.renewal = this.client.stack.runtime.timers.after(ms, () => void this.refresh(watch, seconds));
  }

  #end(watch: Watch): void {
    watch.state = "over";
    watch.renewal.cancel();
  }
}
