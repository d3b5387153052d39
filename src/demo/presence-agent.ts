import type { Timer } from "../runtime/runtime.ts";
import { buildResponse, type HeaderPair } from "../sip/message/build.ts";
import type { SipRequest } from "../sip/message/message.ts";
import type { ServerTransaction } from "../sip/transaction/transaction.ts";
import { answeringDialog, contactOf, type Dialog, dialogKey, inDialog, requestKey } from "./dialog.ts";
import type { BackEnd, Onward } from "./onward.ts";
import type { Stack } from "./stack.ts";
import { unionOf } from "./union-document.ts";

const MAX_SUBSCRIPTIONS = 20_000;
const MAX_PUBLICATIONS = 20_000;
const LONGEST = 3_600;

/** What a watcher gets; `rejected`: 403, or the end of what he had (RFC 6665 4.2.1.3). */
export type Verdict = "active" | "pending" | "rejected";

export interface PresenceRules {
  readonly domain: string;
  /** Stands in every document of this server's own. */
  readonly name: string;
  /** Numbers its documents; rising. */
  readonly serial: () => number;
  readonly policy: (watcher: string, user: string) => Verdict;
  /** Sends the first NOTIFY before the 200, as RFC 6665 4.1.2.4 warns of. */
  readonly notifyFirst: boolean;
  /** Asks other servers about the user too; null: it answers with what it has. */
  readonly onward: Onward | null;
  /** Of what is granted, seconds. */
  readonly longest?: number;
  /** Id of the tuple in what `show` makes; default `own`. */
  readonly tuple?: string;
}

/** A dialog in which this server is the notifier. */
export interface Accepted {
  /** User part. */
  readonly user: string;
  /** AoR URI: P-Asserted-Identity (RFC 3325), else From. */
  readonly watcher: string;
  readonly verdict: Verdict;
  /** CSeq of the last NOTIFY. */
  readonly cseq: number;
  readonly target: string;
}

interface Subscription {
  readonly user: string;
  readonly watcher: string;
  readonly event: string;
  readonly dialog: Dialog;
  verdict: Verdict;
  until: number;
  timer: Timer;
  /** NOTIFYs that were not taken are sent again. */
  again: Timer;
  /** What the others say. */
  back: BackEnd | undefined;
  /** Was told so once. */
  active: boolean;
}

interface Shown {
  readonly body: string;
  readonly type: string;
}

interface Publication {
  readonly user: string;
  readonly body: string;
  readonly type: string;
  readonly timer: Timer;
}

/** SUBSCRIBE, NOTIFY and PUBLISH for the users of one example server (RFC 6665, 3856, 3903). */
export class PresenceAgent {
  /** NOTIFYs that are never sent though their CSeqs are used up: so many are lost next. */
  losing = 0;
  readonly #stack: Stack;
  readonly #rules: PresenceRules;
  readonly #subscriptions = new Map<string, Subscription>();
  /** By entity tag; a user's newest is shown. */
  readonly #publications = new Map<string, Publication>();
  /** What is shown of users of whom nobody published anything. */
  readonly #closed = new Map<string, string>();

  constructor(stack: Stack, rules: PresenceRules) {
    this.#stack = stack;
    this.#rules = rules;
  }

  get subscriptions(): number {
    return this.#subscriptions.size;
  }

  list(): Accepted[] {
    return [...this.#subscriptions.values()].map(({ user, watcher, verdict, dialog }) => {
      return { user, watcher, verdict, cseq: dialog.localCSeq, target: dialog.target };
    });
  }

  knows(request: SipRequest): boolean {
    return this.#subscriptions.has(requestKey(request));
  }

  /** A SUBSCRIBE outside a dialog for a user of this server. */
  subscribe(transaction: ServerTransaction, user: string): void {
    const { request } = transaction;
    const event = request.event?.package ?? "";
    if (event !== "presence") {
      transaction.respond(buildResponse(request, 489, undefined, { headers: [["Allow-Events", "presence"]] }));
      return;
    }
    if (this.#subscriptions.size >= MAX_SUBSCRIPTIONS) {
      transaction.respond(buildResponse(request, 503, undefined, { headers: [["Retry-After", "10"]] }));
      return;
    }
    const watcher = (request.identities[0] ?? request.from).uri.raw;
    const verdict = this.#rules.policy(watcher, user);
    if (verdict === "rejected") {
      transaction.respond(buildResponse(request, 403));
      return;
    }
    const dialog = answeringDialog(request, this.#stack.runtime.random.token(10));
    const [timer, again] = [NEVER, NEVER];
    const subscription: Subscription = {
      user,
      watcher,
      event,
      dialog,
      verdict,
      until: 0,
      timer,
      again,
      back: undefined,
      active: false,
    };
    const key = dialogKey(dialog);
    this.#subscriptions.set(key, subscription);
    subscription.back = this.#rules.onward?.begin(request, user, watcher, () => this.#told(key, subscription));
    this.#grant(transaction, subscription, this.#rules.notifyFirst);
  }

  /** A SUBSCRIBE within a dialog that `knows` it. */
  refresh(transaction: ServerTransaction): void {
    const subscription = this.#subscriptions.get(requestKey(transaction.request));
    if (subscription === undefined) {
      transaction.respond(buildResponse(transaction.request, 481));
      return;
    }
    subscription.dialog.target = contactOf(transaction.request) ?? subscription.dialog.target;
    this.#grant(transaction, subscription, false);
    if (this.knows(transaction.request)) subscription.back?.again();
  }

  publish(transaction: ServerTransaction, user: string): void {
    const { request } = transaction;
    const old = request.header("SIP-If-Match");
    const replaced = old === undefined ? undefined : this.#publications.get(old);
    if (old !== undefined && replaced?.user !== user) {
      transaction.respond(buildResponse(request, 412, "Conditional Request Failed"));
      return;
    }
    if (this.#publications.size >= MAX_PUBLICATIONS) {
      transaction.respond(buildResponse(request, 503, undefined, { headers: [["Retry-After", "10"]] }));
      return;
    }
    if (old !== undefined) this.#unpublish(old);
    const seconds = Math.min(request.expires ?? LONGEST, LONGEST);
    const tag = this.#stack.runtime.random.token(12);
    if (seconds > 0) {
      const timer = this.#stack.runtime.timers.after(seconds * 1000, () => {
        this.#unpublish(tag);
        this.#tell(user);
      });
      // A refresh has no body and keeps the document (RFC 3903 4.3).
      const body = request.body === "" && replaced !== undefined ? replaced.body : request.body;
      const type = request.header("Content-Type") ?? replaced?.type ?? "application/pidf+xml";
      this.#publications.set(tag, { user, body, type, timer });
    }
    const headers: HeaderPair[] = [
      ["SIP-ETag", tag],
      ["Expires", String(seconds)],
    ];
    transaction.respond(buildResponse(request, 200, undefined, { headers }));
    this.#tell(user);
  }

  /** What the user's own phone would publish; a document with a new number each time. */
  show(user: string, basic: "open" | "closed"): void {
    const tag = `own ${user}`;
    this.#unpublish(tag);
    const body = this.#document(user, basic);
    this.#publications.set(tag, { user, body, type: "application/pidf+xml", timer: { cancel: () => {} } });
    this.#tell(user);
  }

  /** Asks the policy again about every watcher: pending ones are let in, others lose what they had. */
  reconsider(): void {
    for (const [key, subscription] of this.#subscriptions) {
      const verdict = this.#rules.policy(subscription.watcher, subscription.user);
      if (verdict === subscription.verdict || verdict === "pending") continue;
      subscription.verdict = verdict;
      if (verdict === "rejected") this.#end(key, subscription);
      this.#notify(subscription, verdict === "rejected" ? "terminated;reason=rejected" : undefined);
    }
  }

  /** Ends the subscriptions to a user. @param reason of RFC 6665 4.1.3. */
  endAll(user: string, reason: string): void {
    for (const [key, subscription] of this.#subscriptions) {
      if (subscription.user !== user) continue;
      this.#end(key, subscription);
      this.#notify(subscription, `terminated;reason=${reason}`);
    }
  }

  /** He has left this server. */
  release(user: string, reason = "deactivated"): void {
    this.endAll(user, reason);
    for (const [tag, publication] of this.#publications) if (publication.user === user) this.#unpublish(tag);
    this.#closed.delete(user);
  }

  stop(): void {
    this.forget();
    for (const tag of [...this.#publications.keys()]) this.#unpublish(tag);
    this.#closed.clear();
  }

  /** Dialogs are forgotten, what users published is not. */
  forget(): void {
    for (const subscription of this.#subscriptions.values()) {
      subscription.timer.cancel();
      subscription.again.cancel();
    }
    this.#subscriptions.clear();
    this.#rules.onward?.forget();
  }

  #grant(transaction: ServerTransaction, subscription: Subscription, notifyFirst: boolean): void {
    const { request } = transaction;
    const longest = this.#rules.longest ?? LONGEST;
    const seconds = Math.min(request.expires ?? longest, longest);
    const headers: HeaderPair[] = [
      ...request.headers("Record-Route").map((route): HeaderPair => ["Record-Route", route]),
      ["Contact", `<${this.#stack.uri}>`],
      ["Expires", String(seconds)],
    ];
    const response = buildResponse(request, 200, undefined, { toTag: subscription.dialog.localTag, headers });
    if (!notifyFirst) transaction.respond(response);
    this.#confirm(subscription, seconds);
    if (notifyFirst) this.#stack.runtime.timers.after(NOTIFY_FIRST_MS, () => transaction.respond(response));
  }

  #confirm(subscription: Subscription, seconds: number): void {
    const key = dialogKey(subscription.dialog);
    subscription.timer.cancel();
    const end = (): void => {
      this.#end(key, subscription);
      this.#notify(subscription, "terminated;reason=timeout");
    };
    if (seconds === 0) return end();
    subscription.until = this.#stack.runtime.clock.now() + seconds * 1000;
    subscription.timer = this.#stack.runtime.timers.after(seconds * 1000, end);
    this.#notify(subscription);
  }

  /** The others say something else. */
  #told(key: string, subscription: Subscription): void {
    if (this.#subscriptions.get(key) !== subscription) return;
    // Who denies the back-end subscription denies the one that triggered it (draft, "Distributed Provisioning").
    const denied = subscription.back?.state === "denied";
    // Who was shown something cannot be told to wait again: he is to subscribe anew.
    const unknown = subscription.back?.state === "waiting" && subscription.active;
    if (denied || unknown) this.#end(key, subscription);
    this.#notify(subscription, denied ? "terminated;reason=rejected" : unknown ? ANEW : undefined);
  }

  #end(key: string, subscription: Subscription): void {
    subscription.timer.cancel();
    subscription.again.cancel();
    this.#subscriptions.delete(key);
    subscription.back?.end();
  }

  #unpublish(tag: string): void {
    this.#publications.get(tag)?.timer.cancel();
    this.#publications.delete(tag);
  }

  #tell(user: string): void {
    for (const subscription of this.#subscriptions.values()) if (subscription.user === user) this.#notify(subscription);
  }

  #notify(subscription: Subscription, ended?: string): void {
    const { user, dialog, back } = subscription;
    const verdict = subscription.verdict === "active" ? verdictOf(back) : subscription.verdict;
    subscription.again.cancel();
    subscription.active ||= verdict === "active";
    const left = Math.max(0, Math.round((subscription.until - this.#stack.runtime.clock.now()) / 1000));
    const headers: HeaderPair[] = [
      ["Contact", `<${this.#stack.uri}>`],
      ["Event", subscription.event],
      ["Subscription-State", ended ?? `${verdict};expires=${left}`],
    ];
    // Nothing is shown to who has not been let in (RFC 3856 6.6.2).
    const shown = verdict === "active" ? this.#withOthers(this.#shown(user), back) : undefined;
    if (shown !== undefined) headers.push(["Content-Type", shown.type]);
    const request = inDialog(dialog, "NOTIFY", headers, shown?.body);
    if (this.losing > 0) {
      this.losing -= 1;
      return;
    }
    this.#stack.ask(request).then((answer) => {
      // RFC 6665 4.2.2: a watcher that does not answer, or knows of no subscription, has none.
      const isLast = dialog.localCSeq === request.cseq.number;
      const gone = answer === null ? isLast : answer.status === 481;
      if (ended !== undefined || !this.#subscriptions.has(dialogKey(dialog))) return;
      if (gone) this.#end(dialogKey(dialog), subscription);
      else if (answer !== null && answer.status >= 300 && isLast) {
        subscription.again = this.#stack.runtime.timers.after(AGAIN_MS, () => this.#notify(subscription));
      }
    });
  }

  #withOthers(own: Shown, back: BackEnd | undefined): Shown {
    const others = back?.documents ?? [];
    const { name, onward } = this.#rules;
    return others.length === 0 ? own : { ...own, body: unionOf(name, own.body, others, !onward?.dropsMarks) };
  }

  #shown(user: string): Shown {
    const published = [...this.#publications.values()].findLast((each) => each.user === user);
    if (published !== undefined) return published;
    const body = this.#closed.get(user) ?? this.#document(user, "closed");
    if (this.#closed.size < MAX_PUBLICATIONS) this.#closed.set(user, body);
    return { body, type: "application/pidf+xml" };
  }

  #document(user: string, basic: "open" | "closed"): string {
    const { name, domain, serial, tuple = "own" } = this.#rules;
    return documentOf(`sip:${user}@${domain}`, tuple, basic, { server: name, serial: serial() });
  }
}

const ANEW = "terminated;reason=deactivated";
const NEVER: Timer = { cancel: () => {} };
const NOTIFY_FIRST_MS = 20;
const AGAIN_MS = 4_000;

/** Nothing is shown before all have confirmed. */
function verdictOf(back: BackEnd | undefined): Verdict {
  if (back === undefined || back.state === "told") return "active";
  return back.state === "waiting" ? "pending" : "rejected";
}

/** What tells documents of example servers apart, and which of one server's is newer. */
export interface Mark {
  readonly server: string;
  readonly serial: number;
}

/** A document with one tuple (RFC 3863). The mark stands in a note, which is kept on every way a document may take. */
function documentOf(entity: string, id: string, basic: "open" | "closed", mark: Mark): string {
  const tuple = `<tuple id="${id}"><status><basic>${basic}</basic></status><note>${mark.server} ${mark.serial}</note></tuple>`;
  return `<?xml version="1.0" encoding="UTF-8"?>\n<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="${entity}">${tuple}</presence>\n`;
}

/** The mark of an example server's document; undefined: somebody else wrote it. */
export function markOf(document: string): Mark | undefined {
  const found = /<(?:\w+:)?note[^>]*>(\S+) (\d+)<\//.exec(document);
  return found === null ? undefined : { server: found[1]!, serial: Number(found[2]) };
}

/** Whether a document shows somebody online. */
export function isOpen(document: string): boolean {
  return /<(?:\w+:)?basic>open</.test(document);
}
