import { closedDocument, PIDF } from "../presence/closed-document.ts";
import type { XmlElement } from "../presence/xml.ts";
import { UNKNOWN } from "./composed.ts";
import { decideShown } from "./composed-decision.ts";
import type { ComposedDocuments } from "./composed-documents.ts";
import type { Desk } from "./desk.ts";
import type { Content, Document, Documents } from "./documents.ts";
import { Differences, PartialContent, takesDifferences } from "./partial-content.ts";
import type { Subscription } from "./subscription.ts";
import type { WatcherSide } from "./watcher-side.ts";

/** What the watcher of a composed subscription is shown of what all servers have said. */
export class ComposedShowing {
  readonly #desk: Desk;
  readonly #watchers: WatcherSide;
  readonly #documents: Documents;
  readonly #composed: ComposedDocuments;
  readonly #isMember: (aor: string, server: string) => boolean;
  readonly #treeOf = (document: Document): XmlElement => this.#composed.treeOf(document);

  constructor(
    desk: Desk,
    watchers: WatcherSide,
    documents: Documents,
    composed: ComposedDocuments,
    isMember: (aor: string, server: string) => boolean,
  ) {
    this.#desk = desk;
    this.#watchers = watchers;
    this.#documents = documents;
    this.#composed = composed;
    this.#isMember = isMember;
  }

  /** Looks at what all of them have said. */
  settle(subscription: Subscription): void {
    const composed = subscription.composed!;
    if (subscription.ending || !this.#desk.isOurs(subscription)) return;
    // It is let in by a credit that nobody has vouched for: nothing is told, not even that there is nothing.
    if (composed.spender !== "") return;
    // Taken over before anybody was asked: of whom is not known yet.
    if (composed.union === null && composed.children.length === 0) return;
    const children = composed.children.map(({ view }) => view);
    switch (decideShown(subscription.active || composed.activation !== "no", children)) {
      case "wait":
        return;
      case "close":
        return this.#close(subscription);
      case "noresource":
        return this.end(subscription, "noresource");
      case "show":
        if (composed.isFetch) return composed.seen === UNKNOWN ? undefined : this.#showFetched(subscription);
        if (subscription.active || composed.activation === "written") return this.#show(subscription);
        if (composed.activation === "no") void this.#activate(subscription);
    }
  }

  /**
   * A client sees nobody. A server of the user would take it for consent and go on with its own data: it is to subscribe
   * anew, and finds itself pending.
   */
  #close(subscription: Subscription): void {
    const { aor, origin, active } = subscription;
    if (active && origin !== null && this.#isMember(aor, origin)) return this.end(subscription, "deactivated");
    this.showClosed(subscription);
  }

  /** No machine goes back to pending: that he was told `active` is known to whoever takes over before he is told. */
  async #activate(subscription: Subscription): Promise<void> {
    const composed = subscription.composed!;
    composed.activation = "asked";
    const saved = await this.#desk.save(subscription);
    if (saved === "lost") return;
    composed.activation = saved === "done" ? "written" : "no";
    if (saved === "done") return this.settle(subscription);
    await this.#desk.after(SAVED_AGAIN_MS);
    this.settle(subscription);
  }

  #showFetched(subscription: Subscription): void {
    subscription.content = this.#composed.compose(subscription.composed!, subscription.aor);
    subscription.active = true;
    this.#desk.fetched(subscription, "timeout");
  }

  #show(subscription: Subscription): void {
    this.#put(subscription, this.#composed.compose(subscription.composed!, subscription.aor));
  }

  /** Only to one who was shown something: to a pending watcher nothing is to be taken back. */
  showClosed(subscription: Subscription): void {
    if (!subscription.active) return;
    this.#put(subscription, this.#documents.hold(PIDF, closedDocument(subscription.aor)));
  }

  /** One NOTIFY for a real change, and none for any other. */
  #put(subscription: Subscription, document: Document): void {
    const { content } = subscription;
    const last = content instanceof PartialContent ? content.document : (content as Document | null);
    if (subscription.active && last !== null && this.#composed.isSame(last, document))
      return this.#documents.release(document);
    this.#documents.release(last);
    subscription.content = this.#contentFor(subscription, document);
    this.#watchers.show(subscription);
  }

  #contentFor(subscription: Subscription, document: Document): Content {
    const { content, accept, isTakenOver } = subscription;
    if (content instanceof PartialContent) return new PartialContent(document, content.differences);
    if (!takesDifferences(accept)) return document;
    return new PartialContent(document, new Differences(this.#treeOf, isTakenOver));
  }

  end(subscription: Subscription, reason: "rejected" | "noresource" | "deactivated"): void {
    if (subscription.composed!.isFetch) return this.#desk.fetched(subscription, reason);
    this.#watchers.end(subscription, reason);
  }
}

const SAVED_AGAIN_MS = 2_000;
