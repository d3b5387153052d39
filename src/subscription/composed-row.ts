import { RESERVE, type StoredSubscription, type SubscriptionState } from "../directory/subscriptions.ts";
import { Child, Composed, STALE_MS } from "./composed.ts";
import { Leg } from "./leg.ts";

/**
 * What the row of a composed subscription says of its children: in `leg` a line that names them, then the texts of their
 * legs, one behind the other. Documents are not in it: who takes it over has them told anew.
 *
 *     east c 213,west p 198,north c 0
 *     1 …
 */
export function packChildren({ children }: Composed): Pick<SubscriptionState, "leg" | "legServer" | "legReserved"> {
  const names: string[] = [];
  const texts: string[] = [];
  const servers: string[] = [];
  let reserved = 0;
  for (const child of children) {
    const mark = MARKS[child.standing];
    const text = child.leg?.pack() ?? "";
    if (text !== "") {
      servers.push(child.server);
      const { machine } = child.leg!;
      reserved = Math.max(reserved, machine.reserved, machine.sent + RESERVE);
    }
    if (mark === "" && text === "") continue;
    names.push(`${child.server} ${mark === "" ? "a" : mark} ${text.length}`);
    texts.push(text);
  }
  if (names.length === 0) return { leg: null, legServer: null, legReserved: 0 };
  const leg = `${names.join(",")}\n${texts.join("")}`;
  return { leg, legServer: servers.length === 0 ? null : servers.join(","), legReserved: reserved };
}

/** Consent is kept, and that it is not decided; the others are asked as if for the first time. */
const MARKS = { asked: "", confirmed: "c", pending: "p", out: "", visited: "" } as const;

/** @param sent the last CSeq that may have been used on any leg. */
export function unpackChildren(text: string | null, sent: number, reserved: number, now: number): Child[] {
  if (text === null) return [];
  let at = text.indexOf("\n") + 1;
  return unpackLine(text).map(({ server, mark, length }) => {
    const child = new Child(server);
    child.standing = standingOf(mark);
    if (length > 0) child.leg = Leg.unpack(text.slice(at, at + length), server, sent, reserved, now);
    at += length;
    return child;
  });
}

export interface Stood {
  readonly server: string;
  readonly standing: "asked" | "confirmed" | "pending";
}

/** Of a row's `leg`, for people: who has confirmed, and who has a leg and says nothing yet. */
export function standingsIn(leg: string | null): readonly Stood[] {
  return unpackLine(leg).map(({ server, mark }) => ({ server, standing: standingOf(mark) }));
}

function unpackLine(leg: string | null): readonly { server: string; mark: string; length: number }[] {
  if (leg === null) return [];
  const cells = leg.slice(0, Math.max(0, leg.indexOf("\n"))).split(",");
  return cells.map((cell) => {
    const [server = "", mark = "", octets] = cell.split(" ");
    return { server, mark, length: Number(octets) };
  });
}

function standingOf(mark: string): Stood["standing"] {
  return mark === "c" ? "confirmed" : mark === "p" ? "pending" : "asked";
}

const FLAG_DOWN = "d";
const FLAG_VISITS = "v";

/** For the first cell of the row, behind the flags. */
export function packAsked({ view, visits, maxForwards, session, instance }: Composed): string {
  const flags = (view.direction === "down" ? FLAG_DOWN : "") + (visits ? FLAG_VISITS : "");
  return ` ${flags} ${maxForwards} ${session} ${encodeURIComponent(instance)}`;
}

/** Of the first cell of a row's `dialog`. */
export function directionIn(cell: string): "up" | "down" {
  return (cell.split(" ")[1] ?? "").includes(FLAG_DOWN) ? "down" : "up";
}

export function unpackComposed(stored: StoredSubscription, cell: string, sent: number, now: number): Composed {
  const [, flags = "", maxForwards, session = "", instance = ""] = cell.split(" ");
  const composed = new Composed({
    view: { from: stored.origin, direction: directionIn(cell) },
    maxForwards: Number(maxForwards),
    session,
    instance: decodeURIComponent(instance),
    visits: flags.includes(FLAG_VISITS),
    isFetch: false,
    union: null,
  });
  composed.children = unpackChildren(stored.leg, sent, stored.legReserved, now);
  for (const child of composed.children) {
    child.taken = composed.visits && child.leg !== null;
    child.written = child.leg?.number ?? 0;
    // It is asked anew, and waited for as long as a server may take to answer.
    child.staleAt = now + STALE_MS;
  }
  return composed;
}
