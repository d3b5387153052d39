import type { Origin } from "../federation/facts.ts";
import type { ComposePlan, HoldPlan, ReginfoPlan, StorePlan, WatcherinfoPlan } from "../federation/plan.ts";
import type { Sender } from "../federation/sender.ts";
import type { XmlElement } from "../presence/xml.ts";
import type { SipRequest, SipResponse } from "../sip/message/message.ts";
import type { SipUri } from "../sip/message/uri.ts";
import type { Reply } from "../sip/transaction/outbound.ts";
import type { ServerTransaction } from "../sip/transaction/transaction.ts";

/** A request handed over; an Exchange is one. */
export interface Handed {
  readonly transaction: ServerTransaction;
  /** As it is to be read: our own Route values are gone. */
  readonly request: SipRequest;
  readonly origin: Origin;
  /** Canonical AoR it is for; empty in a dialog. */
  readonly aor: string;
  /** Event package; empty where the method has none. */
  readonly event: string;
  /** Watcher or sender. */
  readonly sender: Sender;
  /** Names this request where a credit was spent for it (`UnionStore.spend`); else empty. */
  readonly spender: string;
  respond(response: SipResponse): void;
}

/** A relayed MESSAGE that its server did not take. */
export interface Untaken {
  readonly server: string;
  readonly reply: Reply;
  /** It is under way still, and may yet be answered; null: it has ended. */
  readonly late: Promise<Reply> | null;
}

/** What became of a request in a dialog of ours. */
export type InDialog =
  | "answered"
  /** Another proxy owns the dialog: it is to be sent there. */
  | { readonly forwardTo: SipUri };

/**
 * Plans and dialogs that are carried out beside the proxy, in subscription/ and messaging/, which it does not import
 * (architecture.md): registered where everything is built.
 */
export interface Handlers {
  /** True for a To tag that one of our own dialogs has, or had. */
  ownsTag(tag: string): boolean;
  /** A request with such a tag. */
  inDialog(handed: Handed): InDialog | Promise<InDialog>;
  /** Back-to-back: held, and extended to the server that has the user. */
  hold(handed: Handed, plan: HoldPlan): Promise<void>;
  /** A SUBSCRIBE to reg of which we are the notifier (RFC 3680). */
  reginfo(handed: Handed, plan: ReginfoPlan): Promise<void>;
  /** Back-to-back: one document of several servers. */
  compose(handed: Handed, plan: ComposePlan): Promise<void>;
  /** A SUBSCRIBE to watcher information of which we are the notifier (RFC 3857). */
  winfo(handed: Handed, plan: WatcherinfoPlan): Promise<void>;
  /** False: nothing of this pair is queued any more, so it is to be routed as if it had not been. */
  store(handed: Handed, plan: StorePlan): Promise<boolean>;
  /** False: it cannot be kept either, so it is answered as if nothing could be. */
  keep(handed: Handed, untaken: Untaken): Promise<boolean>;
  /** Server -> its last document about the user, where somebody watches him through this proxy; null: nobody does. */
  presence(aor: string): ReadonlyMap<string, XmlElement> | null;
  /** The same, asked of these servers once; of those that did not tell in time nothing. Never rejects. */
  fetchPresence(aor: string, servers: readonly string[]): Promise<ReadonlyMap<string, XmlElement>>;
  /** His server has claimed a user again for whom something is stored: no binding changed, and yet he may be there only now. */
  claimedAgain(aor: string): void;
}

export const NO_HANDLERS: Handlers = {
  ownsTag: () => false,
  inDialog: () => "answered",
  hold: notBuilt,
  reginfo: notBuilt,
  compose: notBuilt,
  winfo: notBuilt,
  store: notBuilt,
  keep: notBuilt,
  presence: () => null,
  fetchPresence: () => Promise.resolve(new Map()),
  claimedAgain: () => undefined,
};

function notBuilt(): never {
  throw new Error("nobody carries out this plan");
}
