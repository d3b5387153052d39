import { RESERVE, type StoredSubscription, type SubscriptionState } from "../directory/subscriptions.ts";
import type { UnionView } from "../federation/plan.ts";
import type { WatcherVerdict } from "../policy/policy.ts";
import { isNotifierAtRest, type NotifierState, notifierAtRest, resumeNotifier } from "../sip/dialog/notifier.ts";
import { type TimerOwner, WheelTimer } from "../sip/transaction/timer-wheel.ts";
import type { Composed } from "./composed.ts";
import { directionIn, packAsked, packChildren, unpackComposed } from "./composed-row.ts";
import type { Content } from "./documents.ts";
import { fold, unfold } from "./folded.ts";
import { Leg } from "./leg.ts";
import { type KnownTerms, PLAIN, type Terms } from "./terms.ts";

/** Who acts when a subscription's time has come. */
export interface TimeKeeper {
  due(subscription: Subscription): void;
}

/** What never changes of a subscription. */
export type Identity = Pick<
  StoredSubscription,
  "id" | "kind" | "aor" | "watcher" | "origin" | "event" | "fence" | "extendedEpoch"
>;

/**
 * One subscription of which this process is the notifier and the owner. A million of these are kept in one process: plain
 * fields, dialogs as packed texts, machines at rest as numbers, one link in the timer wheel, no closures. It is made of the watcher's side (his dialog
 * and the notifier's state), what is known of where the user is, and the legs to the servers that have him. All moments
 * are on the monotonic clock.
 */
export class Subscription implements TimerOwner<"due"> {
  /** Our tag in the watcher's dialog, and the key of the row. */
  readonly id: string;
  readonly kind: StoredSubscription["kind"];
  readonly aor: string;
  readonly watcher: string;
  /** Server the SUBSCRIBE came from; null: a client. */
  readonly origin: string | null;
  readonly event: string;
  readonly fence: number;

  /** The watcher's dialog, packed (dialog.ts) and folded. */
  #dialog = "";
  /** Null: it is at rest, and these are all there is to it. */
  #notifier: NotifierState | null = null;
  #phase: "pending" | "active" = "pending";
  #until = 0;
  #heard = 0;
  #sent = 0;
  #reserved = 0;
  #notBefore = 0;
  /** Of the Event header; null: none. */
  eventId: string | null = null;
  readonly #terms: Terms;
  /** Connection that alone leads to him (RFC 5626); 0: his Contact does. */
  connectionId = 0;
  /** He was told `active`, and is never told `pending` again. */
  active = false;
  /** The last document shown; null: none. */
  content: Content | null = null;
  /** He has answered a NOTIFY: there is somebody. */
  heard = false;

  /** What the rules say of him (gate.ts); null: it is not known now, or nobody decides. */
  verdict: WatcherVerdict | null = null;
  /** Of how many changes of the rules it knows. */
  judged = 0;
  /** When they are to be asked again; 0: when they change. */
  judgeAt = 0;
  /** The user's sphere by the last document, where the verdict depends on it (RFC 5025 3.1.2); undefined: none was seen. */
  sphere: string | null | undefined = undefined;
  /** What he was given to be shown last in place of `content`; null: nothing was. */
  veiled: Content | null = null;

  /** False: the row is not written yet, so nothing may be done. */
  stored = false;
  /** The row is behind what is here, and is written again then; 0: it is not. */
  saveAt = 0;

  /** Where the user is, as far as is known. */
  server: string | null = null;
  epoch = 0;
  /** The epoch of the binding that was acted upon last. */
  extendedEpoch: number;

  /** Whose documents the watcher is shown, while its epoch is the newest. */
  leg: Leg | null = null;
  /** One that is coming up, for a newer epoch, for a second try, or ahead of a move. */
  next: Leg | null = null;
  /** Number of the last leg: part of its tag. */
  legs = 0;
  /** Legs in a row that did not come about, or not for long. */
  legFailures = 0;
  /** When the next try is made, or what was shown is looked at again; 0: nothing is due. */
  retryAt = 0;

  /** Of kind `composed`: its servers, of which each has a leg; null: of any other. */
  composed: Composed | null = null;

  readonly timer: WheelTimer<"due">;
  readonly #keeper: TimeKeeper;
  /** The registry's links: the others of the same user. */
  previousOfUser: Subscription | null = null;
  nextOfUser: Subscription | null = null;

  constructor(keeper: TimeKeeper, identity: Identity, dialog: string, notifier: NotifierState, terms: Terms = PLAIN) {
    this.#terms = terms;
    this.#keeper = keeper;
    this.timer = new WheelTimer<"due">(this);
    this.id = identity.id;
    this.kind = identity.kind;
    this.aor = identity.aor;
    this.watcher = identity.watcher;
    this.origin = identity.origin;
    this.event = identity.event;
    this.fence = identity.fence;
    this.extendedEpoch = identity.extendedEpoch;
    this.dialog = dialog;
    this.notifier = notifier;
  }

  get trusted(): boolean {
    return this.#terms.trusted;
  }

  get secretive(): boolean {
    return this.#terms.secretive;
  }

  get secure(): boolean {
    return this.#terms.secure;
  }

  get searched(): boolean {
    return this.#terms.searched;
  }

  get accept(): string {
    return this.#terms.accept;
  }

  get maxForwards(): number {
    return this.#terms.maxForwards;
  }

  get maxBreadth(): number {
    return this.#terms.maxBreadth;
  }

  get isTakenOver(): boolean {
    return this.#terms.isTakenOver;
  }

  /** The watcher's, packed. */
  get dialog(): string {
    return unfold(this.#dialog, this);
  }

  set dialog(packed: string) {
    this.#dialog = fold(packed, this);
  }

  get notifier(): NotifierState {
    if (this.#notifier !== null) return this.#notifier;
    return notifierAtRest({
      phase: this.#phase,
      until: this.#until,
      heard: this.#heard,
      sent: this.#sent,
      reserved: this.#reserved,
      notBefore: this.#notBefore,
    });
  }

  set notifier(state: NotifierState) {
    this.#notifier = null;
    if (!isNotifierAtRest(state)) {
      this.#notifier = state;
      return;
    }
    this.#phase = state.phase;
    this.#until = Math.floor(state.until);
    this.#heard = state.heard;
    this.#sent = state.sent;
    this.#reserved = state.reserved;
    this.#notBefore = Math.ceil(state.notBefore);
  }

  /** Its end was decided: what is left to do is to tell the watcher. */
  get ending(): boolean {
    const phase = this.#notifier?.phase;
    return phase === "ending" || phase === "terminated";
  }

  legNumbered(number: number): Leg | null {
    if (this.composed !== null) return this.composed.legNumbered(number);
    if (this.leg?.number === number) return this.leg;
    return this.next?.number === number ? this.next : null;
  }

  /** Whether a new owner would find it: only for these CSeqs are reserved. */
  isWritten(leg: Leg): boolean {
    return this.composed === null ? this.leg === leg : leg.notified;
  }

  writtenLegs(): readonly Leg[] {
    if (this.composed === null) return this.leg === null ? [] : [this.leg];
    return this.composed.children.flatMap(({ leg }) => (leg?.notified === true ? [leg] : []));
  }

  fired(): void {
    this.#keeper.due(this);
  }
}

/** What the row tells of the clocks: monotonic and milliseconds since 1970, of one moment. */
export interface Moment {
  readonly now: number;
  readonly wall: number;
}

const FLAG_ACTIVE = "a";
const FLAG_TRUSTED = "t";
const FLAG_SECURE = "s";
const FLAG_SECRETIVE = "p";
const FLAG_SEARCHED = "q";
const OWN_CELLS = 5;

/**
 * The row as it is to be written now.
 * @param reserve raises both reserves: CSeqs up to there are ours once it is written.
 */
export function stateOf(subscription: Subscription, { now, wall }: Moment): SubscriptionState {
  const { leg, notifier, composed } = subscription;
  return {
    dialog: [
      flagsOf(subscription) + (composed === null ? "" : packAsked(composed)),
      notifier.heard,
      subscription.connectionId,
      subscription.eventId ?? "",
      subscription.accept,
      subscription.dialog,
    ].join("\n"),
    expiresAt: Math.round(notifier.until - now + wall),
    notifyReserved: Math.max(notifier.reserved, notifier.sent + RESERVE),
    ...(composed === null ? packLeg(leg) : packChildren(composed)),
    extendedEpoch: subscription.extendedEpoch,
  };
}

function packLeg(leg: Leg | null): Pick<SubscriptionState, "leg" | "legServer" | "legReserved"> {
  const packed = leg?.pack() ?? null;
  return {
    leg: packed,
    legServer: leg === null || packed === null ? null : leg.server,
    legReserved: leg === null ? 0 : Math.max(leg.machine.reserved, leg.machine.sent + RESERVE),
  };
}

/** Of the watcher of a row: whether he was believed to be who he says, and whether he wants to be told to nobody. */
export function watcherIn({ dialog }: Pick<StoredSubscription, "dialog">): { trusted: boolean; secretive: boolean } {
  const flags = flagsIn(dialog);
  return { trusted: flags.includes(FLAG_TRUSTED), secretive: flags.includes(FLAG_SECRETIVE) };
}

/** Of a composed row, for people: whether its watcher was told `active`, and from where he looks. */
export function shownIn(stored: Pick<StoredSubscription, "dialog" | "origin">): { active: boolean; view: UnionView } {
  const { dialog, origin } = stored;
  const cell = dialog.slice(0, dialog.indexOf("\n"));
  return { active: flagsIn(dialog).includes(FLAG_ACTIVE), view: { from: origin, direction: directionIn(cell) } };
}

/** What stands behind them in the first cell is of others' making. */
function flagsIn(dialog: string): string {
  return dialog.slice(0, dialog.indexOf("\n")).split(" ")[0]!;
}

function flagsOf({ active, trusted, secure, secretive, searched, composed }: Subscription): string {
  const isActive = active || (composed !== null && composed.activation !== "no");
  return (
    (isActive ? FLAG_ACTIVE : "") +
    (trusted ? FLAG_TRUSTED : "") +
    (secure ? FLAG_SECURE : "") +
    (secretive ? FLAG_SECRETIVE : "") +
    (searched ? FLAG_SEARCHED : "")
  );
}

/**
 * One that was another owner's, from its row: a NOTIFY is owed and a refresh of its leg, both with our Contact.
 * @param used CSeqs below the reserve that may have been used.
 */
export function subscriptionFrom(
  keeper: TimeKeeper,
  stored: StoredSubscription,
  { now, wall }: Moment,
  used: "reserve" | "before-reserve",
  known: KnownTerms,
): Subscription {
  const cells = stored.dialog.split("\n");
  const own = cells[0] ?? "";
  const flags = flagsIn(stored.dialog);
  const active = flags.includes(FLAG_ACTIVE);
  const sent = used === "reserve" ? stored.notifyReserved : stored.notifyReserved - RESERVE;
  const notifier = resumeNotifier({
    phase: active ? "active" : "pending",
    until: stored.expiresAt - wall + now,
    heard: Number(cells[1]),
    sent,
    reserved: stored.notifyReserved,
  });
  const terms = known.share({
    ...PLAIN,
    trusted: flags.includes(FLAG_TRUSTED),
    secretive: flags.includes(FLAG_SECRETIVE),
    secure: flags.includes(FLAG_SECURE),
    searched: flags.includes(FLAG_SEARCHED),
    accept: cells[4] ?? "",
    isTakenOver: true,
  });
  const subscription = new Subscription(keeper, stored, cells.slice(OWN_CELLS).join("\n"), notifier, terms);
  subscription.active = active;
  subscription.connectionId = Number(cells[2]);
  subscription.eventId = cells[3] === "" ? null : (cells[3] ?? null);
  subscription.stored = true;
  subscription.heard = true;
  if (stored.kind === "composed") {
    const legSent = used === "reserve" ? stored.legReserved : stored.legReserved - RESERVE;
    subscription.composed = unpackComposed(subscription, stored, own, legSent, now);
    if (active) subscription.composed.activation = "written";
    subscription.legs = Math.max(0, ...subscription.composed.children.map(({ leg }) => leg?.number ?? 0));
  } else if (stored.leg !== null && stored.legServer !== null) {
    const legSent = used === "reserve" ? stored.legReserved : stored.legReserved - RESERVE;
    subscription.leg = Leg.unpack(subscription, stored.leg, stored.legServer, legSent, stored.legReserved, now);
    subscription.legs = subscription.leg.number;
  }
  return subscription;
}
