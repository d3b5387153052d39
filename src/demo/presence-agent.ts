import type { Timer } from "../runtime/runtime.ts";
import { buildResponse, type HeaderPair } from "../sip/message/build.ts";
import type { SipRequest } from "../sip/message/message.ts";
import type { ServerTransaction } from "../sip/transaction/transaction.ts";
import { answeringDialog, contactOf, type Dialog, dialogKey, inDialog, requestKey } from "./dialog.ts";
import type { Stack } from "./stack.ts";

const MAX_SUBSCRIPTIONS = 20_000;
const MAX_PUBLICATIONS = 20_000;
const LONGEST = 3_600;

interface Subscription {
  readonly user: string;
  readonly event: string;
  readonly dialog: Dialog;
  until: number;
  timer: Timer;
}

interface Publication {
  readonly user: string;
  readonly body: string;
  readonly type: string;
  readonly timer: Timer;
}

/** SUBSCRIBE, NOTIFY and PUBLISH for the users of one example server (RFC 6665, 3856, 3903): every subscription is active at once. */
export class PresenceAgent {
  readonly #stack: Stack;
  readonly #domain: string;
  readonly #subscriptions = new Map<string, Subscription>();
  /** By entity tag; a user's newest is shown. */
  readonly #publications = new Map<string, Publication>();

  constructor(stack: Stack, domain: string) {
    this.#stack = stack;
    this.#domain = domain;
  }

  get subscriptions(): number {
    return this.#subscriptions.size;
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
    const dialog = answeringDialog(request, this.#stack.runtime.random.token(10));
    const subscription: Subscription = { user, event, dialog, until: 0, timer: { cancel: () => {} } };
    this.#subscriptions.set(dialogKey(dialog), subscription);
    this.#grant(transaction, subscription);
  }

  /** A SUBSCRIBE within a dialog that `knows` it. */
  refresh(transaction: ServerTransaction): void {
    const subscription = this.#subscriptions.get(requestKey(transaction.request));
    if (subscription === undefined) {
      transaction.respond(buildResponse(transaction.request, 481));
      return;
    }
    subscription.dialog.target = contactOf(transaction.request) ?? subscription.dialog.target;
    this.#grant(transaction, subscription);
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

  /** What the user's own phone would publish. */
  show(user: string, basic: "open" | "closed"): void {
    const tag = `own ${user}`;
    this.#unpublish(tag);
    const body = documentOf(`sip:${user}@${this.#domain}`, basic);
    this.#publications.set(tag, { user, body, type: "application/pidf+xml", timer: { cancel: () => {} } });
    this.#tell(user);
  }

  /** Ends the subscriptions to a user who left this server. */
  release(user: string): void {
    for (const [key, subscription] of this.#subscriptions) {
      if (subscription.user !== user) continue;
      this.#end(key, subscription);
      this.#notify(subscription, "terminated;reason=deactivated");
    }
    for (const [tag, publication] of this.#publications) if (publication.user === user) this.#unpublish(tag);
  }

  stop(): void {
    for (const subscription of this.#subscriptions.values()) subscription.timer.cancel();
    this.#subscriptions.clear();
    for (const tag of [...this.#publications.keys()]) this.#unpublish(tag);
  }

  #grant(transaction: ServerTransaction, subscription: Subscription): void {
    const { request } = transaction;
    const seconds = Math.min(request.expires ?? LONGEST, LONGEST);
    const headers: HeaderPair[] = [
      ...request.headers("Record-Route").map((route): HeaderPair => ["Record-Route", route]),
      ["Contact", `<${this.#stack.uri}>`],
      ["Expires", String(seconds)],
    ];
    transaction.respond(buildResponse(request, 200, undefined, { toTag: subscription.dialog.localTag, headers }));
    const key = dialogKey(subscription.dialog);
    subscription.timer.cancel();
    if (seconds === 0) {
      this.#end(key, subscription);
      this.#notify(subscription, "terminated;reason=timeout");
      return;
    }
    subscription.until = this.#stack.runtime.clock.now() + seconds * 1000;
    subscription.timer = this.#stack.runtime.timers.after(seconds * 1000, () => {
      this.#end(key, subscription);
      this.#notify(subscription, "terminated;reason=timeout");
    });
    this.#notify(subscription);
  }

  #end(key: string, subscription: Subscription): void {
    subscription.timer.cancel();
    this.#subscriptions.delete(key);
  }

  #unpublish(tag: string): void {
    this.#publications.get(tag)?.timer.cancel();
    this.#publications.delete(tag);
  }

  #tell(user: string): void {
    for (const subscription of this.#subscriptions.values()) if (subscription.user === user) this.#notify(subscription);
  }

  #notify(subscription: Subscription, ended?: string): void {
    const left = Math.max(0, Math.round((subscription.until - this.#stack.runtime.clock.now()) / 1000));
    const shown = [...this.#publications.values()].findLast((each) => each.user === subscription.user);
    const headers: HeaderPair[] = [
      ["Contact", `<${this.#stack.uri}>`],
      ["Event", subscription.event],
      ["Subscription-State", ended ?? `active;expires=${left}`],
      ["Content-Type", shown?.type ?? "application/pidf+xml"],
    ];
    const body = shown?.body ?? documentOf(`sip:${subscription.user}@${this.#domain}`, "closed");
    const request = inDialog(subscription.dialog, "NOTIFY", headers, body);
    this.#stack.ask(request).then((answer) => {
      // RFC 6665 4.2.2: a watcher that does not answer, or knows of no subscription, has none.
      const gone = answer === null || answer.status === 481;
      if (gone && ended === undefined) this.#end(dialogKey(subscription.dialog), subscription);
    });
  }
}

/** A document with one tuple (RFC 3863). */
export function documentOf(entity: string, basic: "open" | "closed"): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="${entity}"><tuple id="own"><status><basic>${basic}</basic></status></tuple></presence>\n`;
}
