import { callIdIn } from "../sip/dialog/dialog.ts";
import {
  isSubscriberAtRest,
  resumeSubscriber,
  type SubscriberState,
  subscriberAtRest,
} from "../sip/dialog/subscriber.ts";
import type { SipRequest } from "../sip/message/message.ts";
import { type Content, ownText } from "./documents.ts";
import { fold, isFolded, type Names, unfold } from "./folded.ts";

/**
 * The other half of a subscription: our own subscription, as the watcher, at a server that has the user. Its tag is the
 * watcher's dialog's with its number behind it, so that any proxy finds the row from a NOTIFY.
 *
 * There may be a million of these. Of the machine of one to which nothing happens a few numbers are kept, in whole
 * milliseconds, which take no more than their place in the object.
 */
export class Leg {
  readonly number: number;
  readonly server: string;
  /** Of the binding it stands for; 0: it was opened ahead of a move. */
  epoch: number;
  /** Full AoR by which the server knows the user; where it has a subdomain also the one it is asked by, after a space. */
  identity = "";
  /** The first SUBSCRIBE as it was sent, until a NOTIFY makes the dialog of it. */
  sent: SipRequest | null = null;
  /** The server's UUID of the session (RFC 7989); empty: it has said none. */
  peer = "";
  /** RFC 6665 4.4.1: a NOTIFY has made the dialog. */
  notified = false;
  /** When it came up; 0: it has not. */
  since = 0;
  /** Opened ahead of a move, until this moment; 0: not. */
  ahead = 0;
  /** What it has shown while it was ahead. */
  content: Content | null = null;
  /** Its last NOTIFY was active. */
  active = false;
  readonly #whose: Names;
  /** The dialog, packed and folded; before there is one its Call-ID. */
  #text: string;
  /** Null: it is at rest, and these are all there is to it. */
  #machine: SubscriberState | null = null;
  #until = 0;
  #refreshAt = 0;
  #wanted = 0;
  #sent = 0;
  #reserved = 0;
  #heard = 0;

  constructor(whose: Names, number: number, server: string, epoch: number, callId: string, machine: SubscriberState) {
    this.#whose = whose;
    this.number = number;
    this.server = server;
    this.epoch = epoch;
    this.#text = callId;
    this.machine = machine;
  }

  get callId(): string {
    return isFolded(this.#text) ? callIdIn(unfold(this.#text, this.#whose)) : this.#text;
  }

  /** Packed; null: neither a NOTIFY nor a 2xx has come. */
  get dialog(): string | null {
    return isFolded(this.#text) ? unfold(this.#text, this.#whose) : null;
  }

  set dialog(packed: string) {
    this.#text = fold(packed, this.#whose);
  }

  get machine(): SubscriberState {
    if (this.#machine !== null) return this.#machine;
    return subscriberAtRest({
      until: this.#until,
      refreshAt: this.#refreshAt,
      wanted: this.#wanted,
      sent: this.#sent,
      reserved: this.#reserved,
      heard: this.#heard,
    });
  }

  set machine(state: SubscriberState) {
    this.#machine = null;
    if (!isSubscriberAtRest(state)) {
      this.#machine = state;
      return;
    }
    this.#until = Math.floor(state.until);
    this.#refreshAt = Math.ceil(state.refreshAt);
    this.#wanted = state.wanted;
    this.#sent = state.sent;
    this.#reserved = state.reserved;
    this.#heard = state.heard;
  }

  /** For the row; null: it is not worth being kept yet. */
  pack(): string | null {
    if (this.dialog === null || !this.notified) return null;
    const { machine } = this;
    const cells = [this.number, this.epoch, machine.heard, machine.wanted, this.callId, this.identity, this.dialog];
    return cells.join("\n");
  }

  /** Refreshed with its first `time`. @param sent the last CSeq that may have been used. */
  static unpack(whose: Names, text: string, server: string, sent: number, reserved: number, now: number): Leg {
    const [number, epoch, heard, wanted, callId, identity, ...dialog] = text.split("\n");
    const machine = resumeSubscriber({
      phase: "active",
      until: now + Number(wanted) * 1000,
      heard: Number(heard),
      sent,
      reserved,
      wanted: Number(wanted),
    });
    const leg = new Leg(whose, Number(number), server, Number(epoch), callId ?? "", machine);
    // What was cut from the row would keep all of it.
    leg.identity = identity === whose.aor ? whose.aor : ownText(identity ?? "");
    leg.dialog = dialog.join("\n");
    leg.notified = true;
    leg.active = true;
    leg.since = now;
    return leg;
  }
}

/** The tag of a leg's dialog on our side. */
export function legTag(id: string, number: number): string {
  return `${id}.${number.toString(36)}`;
}

/** The subscription and the leg that a tag of ours names; `leg` null: it is the watcher's dialog. */
export function readTag(tag: string): { readonly id: string; readonly leg: number | null } {
  const dot = tag.indexOf(".");
  if (dot < 0) return { id: tag, leg: null };
  const number = Number.parseInt(tag.slice(dot + 1), 36);
  return { id: tag.slice(0, dot), leg: Number.isNaN(number) ? -1 : number };
}

const PREFIX = "cdm-";
const RANDOM = 20;

export function newId(token: (length: number) => string): string {
  return PREFIX + token(RANDOM);
}

const ID = /^cdm-[a-z0-9]{20}$/;

/** True for what `newId` may have made. */
export function isId(text: string): boolean {
  return ID.test(text);
}

/** True for a tag of our dialogs, of this proxy or another. */
export function isOwnTag(tag: string): boolean {
  return tag.startsWith(PREFIX);
}
