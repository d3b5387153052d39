import { RESERVE, type StoredSubscription, type SubscriptionState } from "../directory/subscriptions.ts";
import { Child, Composed, STALE_MS } from "./composed.ts";
import type { Standing } from "./composed-decision.ts";
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
  const line = text.indexOf("\n");
  let at = line + 1;
  return text
    .slice(0, line)
    .split(",")
    .map((cell) => {
      const [server = "", mark, octets] = cell.split(" ");
      const length = Number(octets);
      const child = new Child(server);
      child.standing = mark === "c" ? "confirmed" : mark === "p" ? "pending" : "asked";
      if (length > 0) child.leg = Leg.unpack(text.slice(at, at + length), server, sent, reserved, now);
      at += length;
      return child;
    });
}

/** Who of the children is known to have a leg or to have been heard, in the row of a subscription; for people. */
export function standingsIn(leg: string | null): readonly { readonly server: string; readonly standing: Standing }[] {
  if (leg === null) return [];
  return leg
    .slice(0, leg.indexOf("\n"))
    .split(",")
    .map((cell) => {
      const [server = "", mark] = cell.split(" ");
      return { server, standing: mark === "c" ? "confirmed" : mark === "p" ? "pending" : "asked" };
    });
}

const FLAG_DOWN = "d";
const FLAG_VISITS = "v";

/** For the first cell of the row, behind the flags. */
export function packAsked({ view, visits, maxForwards, session, instance }: Composed): string {
  const flags = (view.direction === "down" ? FLAG_DOWN : "") + (visits ? FLAG_VISITS : "");
  return ` ${flags} ${maxForwards} ${session} ${encodeURIComponent(instance)}`;
}

export function unpackComposed(stored: StoredSubscription, cell: string, sent: number, now: number): Composed {
  const [, flags = "", maxForwards, session = "", instance = ""] = cell.split(" ");
  const composed = new Composed({
    view: { from: stored.origin, direction: flags.includes(FLAG_DOWN) ? "down" : "up" },
    maxForwards: Number(maxForwards),
    session,
    instance: decodeURIComponent(instance),
    visits: flags.includes(FLAG_VISITS),
    isFetch: false,
    credits: {},
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
