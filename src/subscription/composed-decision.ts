import type { GoneCause } from "../sip/dialog/subscriber.ts";
import type { Answer } from "../sip/dialog/usage.ts";
import type { LegEvent } from "./decision.ts";

/**
 * What a composed subscription does next: pure tables. The first is about what one child's server said, the second about
 * what all of them together let the watcher see, the third about which children there are to be (models.md, "Composition").
 */

export type Standing =
  /** Nobody knows yet whether the watcher may see what it has. */
  | "asked"
  /** Its last NOTIFY was active: it consents, also while it cannot be asked for a moment. */
  | "confirmed"
  /** Its server has not decided. */
  | "pending"
  /** The user is not there, or the server has no such thing. */
  | "out"
  /** What it has comes by way of another server. */
  | "visited";

export type ChildEvent =
  | "active"
  | "pending"
  | "denied"
  /** Not here, or there is no such thing. */
  | "out"
  /** 482, and 440 or 483: the chain has been there. */
  | "elsewhere"
  /** It could not be asked. */
  | "absent"
  /** The subscription there is over and may be made again: at once, or later. */
  | "gone"
  | "later"
  /** What it has shown stays true for ever. */
  | "final";

export type ChildStep =
  /** Its document counts from now on. */
  | "confirm"
  | "withhold"
  /** All of it ends: no byte leaves any more. */
  | "deny"
  /** It drops out; what others still tell of it is not believed. */
  | "out"
  /** It drops out; what others tell of it is what there is. */
  | "elsewhere"
  /** Its leg is forgotten, and the server asked once more after a while. */
  | "retry"
  /** The same at once, where it lived for more than a moment. */
  | "again"
  /** Its document counts, and it is asked no more. */
  | "fix"
  /** Its leg is forgotten, and it stays as it was. */
  | "drop";

type Reactions = Readonly<Record<ChildEvent, ChildStep>>;

const ASKED: Reactions = {
  active: "confirm",
  pending: "withhold",
  denied: "deny",
  out: "out",
  elsewhere: "elsewhere",
  absent: "retry",
  gone: "again",
  later: "retry",
  final: "fix",
};
/** Asked once more, it stays out until it says something else. */
const OUT: Reactions = { ...ASKED, absent: "drop", gone: "drop", later: "drop" };

export const ON_CHILD: Readonly<Record<Standing, Reactions>> = {
  asked: ASKED,
  confirmed: ASKED,
  pending: ASKED,
  out: OUT,
  visited: { ...OUT, absent: "retry" },
};

export interface ChildView {
  readonly standing: Standing;
  /** Pending now, it had consented before. */
  readonly withdrew: boolean;
  /** What it has is known: it has told this process. */
  readonly heard: boolean;
  /** It could not be asked for so long that nobody waits for it. */
  readonly late: boolean;
  /** It never denies by itself, and the whole may be shown without it (`unreachable: without`). */
  readonly optional: boolean;
  /** It was asked in vain. */
  readonly away: boolean;
}

export type Verdict =
  /** Not all have confirmed: the watcher is left as he is. */
  | "wait"
  /** Somebody who may still deny does not say: nothing of this user is seen. */
  | "close"
  | "show"
  /** All have dropped out. */
  | "noresource";

/**
 * Privacy safety: not one byte before every child has confirmed or dropped out, nor while one that has not consented is
 * silent. Who has consented and is away for a while changes nothing at once: a new owner gives it time to speak, too.
 * @param active the watcher has been told so: there is no way back to pending.
 */
export function decideShown(active: boolean, children: readonly ChildView[]): Verdict {
  const inside = children.filter(({ standing }) => standing !== "out" && standing !== "visited");
  if (inside.length === 0) return "noresource";
  const silent = inside.filter((each) => each.standing !== "confirmed" && !isMissing(each));
  if (silent.some(({ withdrew, late }) => withdrew || late)) return active ? "close" : "wait";
  if (silent.length > 0) return "wait";
  if (!inside.some(({ standing }) => standing === "confirmed")) return active ? "close" : "wait";
  return inside.some(({ standing, heard, late }) => standing === "confirmed" && !heard && !late) ? "wait" : "show";
}

/** Left out, and not waited for; nor while it is asked once more, whom nobody waits for any longer. */
function isMissing({ standing, optional, away, late }: ChildView): boolean {
  return standing === "asked" && optional && (away || late);
}

/** What becomes of a child's elements in what is shown. */
export function partOf({ standing, heard, late }: ChildView): "own" | "gone" | "not-asked" {
  if (standing === "visited") return "not-asked";
  return standing === "confirmed" && heard && !late ? "own" : "gone";
}

/**
 * Whom to ask: who sends the subscription on stands for those below it as long as it is there. Where it has dropped out, or
 * nobody waits for it any more, they are asked in its place.
 * @param there who is asked now.
 * @param stands false: what is below it is to be asked; null: it has not said, and whoever is there stays.
 */
export function decideAsked(
  servers: readonly string[],
  below: Readonly<Record<string, readonly string[]>>,
  there: readonly string[],
  stands: (server: string) => boolean | null,
): readonly string[] {
  const asked: string[] = [];
  const ask = (server: string): void => {
    if (asked.includes(server)) return;
    asked.push(server);
    const stood = stands(server);
    if (stood === true) return;
    for (const each of below[server] ?? []) if (stood === false || there.includes(each)) ask(each);
  };
  servers.forEach(ask);
  return asked;
}

/** Which children come and which go; the order is the wanted one's. */
export function decideChildren(
  wanted: readonly string[],
  there: readonly string[],
): { readonly come: readonly string[]; readonly go: readonly string[] } {
  return {
    come: wanted.filter((server) => !there.includes(server)),
    go: there.filter((server) => !wanted.includes(server)),
  };
}

const DENIALS: ReadonlySet<number> = new Set([401, 403, 407, 600, 603]);
const DROPPING: ReadonlySet<number> = new Set([404, 405, 406, 410, 415, 489, 501, 604]);

/** True for an answer to a SUBSCRIBE by which a server says that this watcher may not. */
export function isDenial(status: number): boolean {
  return DENIALS.has(status);
}

/** What a final answer to the SUBSCRIBE that was to open a leg means; 423 and 2xx are none of these. */
export function meaningOfAnswer(answer: Answer): ChildEvent {
  if (typeof answer === "string") return "absent";
  if (isDenial(answer)) return "denied";
  // 440 and 483 (RFC 5393 5, RFC 3261 21.4.21): what it sent on went round until nothing of breadth or hops was left.
  if (answer === 482 || answer === 440 || answer === 483) return "elsewhere";
  return DROPPING.has(answer) ? "out" : "absent";
}

/**
 * How what a leg's server said is to be read, of several.
 * @param event as it is read of one.
 * @param gone how the leg ended; null: it has not.
 */
export function childEvent(
  event: LegEvent,
  gone: { readonly cause: GoneCause; readonly hadCome: boolean } | null,
): ChildEvent {
  if (gone !== null && gone.cause.by === "answer" && !gone.hadCome) return meaningOfAnswer(gone.cause.answer);
  return event === "unfit" ? "out" : event;
}
