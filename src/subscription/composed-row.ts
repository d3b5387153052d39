import { RESERVE, type StoredSubscription, type SubscriptionState } from "../directory/subscriptions.ts";
import { Child, STALE_MS } from "./child.ts";
import { Composed } from "./composed.ts";
import type { Standing } from "./composed-decision.ts";
import type { Names } from "./folded.ts";
import { Leg } from "./leg.ts";

/**
 * What the row of a composed subscription says of its children: in `leg` a line with their names, how they stand and how
 * long the texts of their legs are, which follow one behind the other; with `m` behind where the whole may be shown
 * without it. Documents are not in it: who takes it over has them told anew.
 *
 *     east c 213,west p 198,north o 0,south a 0 m
 *     1 …
 */
export function packChildren({ children }: Composed): Pick<SubscriptionState, "leg" | "legServer" | "legReserved"> {
  const names: string[] = [];
  const texts: string[] = [];
  const servers: string[] = [];
  let reserved = 0;
  for (const child of children) {
    const text = child.leg?.pack() ?? "";
    if (text !== "") {
      servers.push(child.server);
      const { machine } = child.leg!;
      reserved = Math.max(reserved, machine.reserved, machine.sent + RESERVE);
    }
    names.push(`${child.server} ${MARKS[child.standing]} ${text.length}${child.optional ? ` ${MAY_BE_MISSING}` : ""}`);
    texts.push(text);
  }
  if (names.length === 0) return { leg: null, legServer: null, legReserved: 0 };
  const leg = `${names.join(",")}\n${texts.join("")}`;
  return { leg, legServer: servers.length === 0 ? null : servers.join(","), legReserved: reserved };
}

const MAY_BE_MISSING = "m";
const MARKS: Readonly<Record<Standing, string>> = { asked: "a", confirmed: "c", pending: "p", out: "o", visited: "v" };
const STANDINGS = new Map(Object.entries(MARKS).map(([standing, mark]) => [mark, standing as Standing]));

/** @param sent the last CSeq that may have been used on any leg. */
export function unpackChildren(
  whose: Names,
  text: string | null,
  sent: number,
  reserved: number,
  now: number,
): Child[] {
  if (text === null) return [];
  let at = text.indexOf("\n") + 1;
  return unpackLine(text).map(({ server, mark, length, more }) => {
    const child = new Child(server);
    child.standing = standingOf(mark);
    child.optional = more === MAY_BE_MISSING;
    child.withdrew = child.standing === "pending";
    if (length > 0) child.leg = Leg.unpack(whose, text.slice(at, at + length), server, sent, reserved, now);
    at += length;
    return child;
  });
}

export interface Stood {
  readonly server: string;
  readonly standing: Standing;
}

/** Of a row's `leg`, for people: how each server stands, as far as it was written down. */
export function standingsIn(leg: string | null): readonly Stood[] {
  return unpackLine(leg).map(({ server, mark }) => ({ server, standing: standingOf(mark) }));
}

function unpackLine(leg: string | null): readonly { server: string; mark: string; length: number; more: string }[] {
  if (leg === null) return [];
  const cells = leg.slice(0, Math.max(0, leg.indexOf("\n"))).split(",");
  return cells.map((cell) => {
    const [server = "", mark = "", octets, more = ""] = cell.split(" ");
    return { server, mark, length: Number(octets), more };
  });
}

function standingOf(mark: string): Standing {
  return STANDINGS.get(mark) ?? "asked";
}

const FLAG_DOWN = "d";
const FLAG_VISITS = "v";
const FLAG_BEHIND = "b";

/** For the first cell of the row, behind the flags. */
export function packAsked({ view, visits, isBehind, maxForwards, session, instance, spender }: Composed): string {
  const flags =
    (view.direction === "down" ? FLAG_DOWN : "") + (visits ? FLAG_VISITS : "") + (isBehind ? FLAG_BEHIND : "");
  const last = spender === "" ? "" : ` ${encodeURIComponent(spender)}`;
  return ` ${flags} ${maxForwards} ${session} ${encodeURIComponent(instance)}${last}`;
}

/** Of the first cell of a row's `dialog`. */
export function directionIn(cell: string): "up" | "down" {
  return (cell.split(" ")[1] ?? "").includes(FLAG_DOWN) ? "down" : "up";
}

export function unpackComposed(
  whose: Names,
  stored: Pick<StoredSubscription, "origin" | "leg" | "legReserved">,
  cell: string,
  sent: number,
  now: number,
): Composed {
  const [, flags = "", maxForwards, session = "", instance = "", spender = ""] = cell.split(" ");
  const composed = new Composed({
    view: { from: stored.origin, direction: directionIn(cell) },
    maxForwards: Number(maxForwards),
    session,
    instance: decodeURIComponent(instance),
    visits: flags.includes(FLAG_VISITS),
    isFetch: false,
    union: null,
    spender: decodeURIComponent(spender),
  });
  composed.isBehind = flags.includes(FLAG_BEHIND);
  composed.children = unpackChildren(whose, stored.leg, sent, stored.legReserved, now);
  for (const child of composed.children) {
    child.taken = composed.visits && child.leg !== null;
    child.written = child.leg?.number ?? 0;
    // It is asked anew, and waited for as long as a server may take to answer; who had dropped out is not.
    if (child.standing === "visited") child.retryAt = now;
    else if (child.standing !== "out") child.staleAt = now + STALE_MS;
  }
  return composed;
}
