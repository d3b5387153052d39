import { type Ending, meaningOf, upstreamStatus } from "./answers.ts";

/** How a branch ended; lists of them are in the order of arrival. */
export interface Ended {
  readonly server: string;
  readonly ending: Ending;
}

export type Best =
  /** That server's answer goes upstream, under this status. */
  | {
      readonly kind: "forward";
      readonly server: string;
      readonly status: number;
      /** Other servers that challenged: their challenges are added to a 401 or 407 (RFC 3261 16.7 step 7). */
      readonly challenges: readonly string[];
    }
  /** Ours: no single answer says it. */
  | { readonly kind: "answer"; readonly status: 404 | 480 };

/** RFC 3261 16.7 step 6: these tell the sender how to ask again. */
const HELPFUL: readonly number[] = [401, 407, 415, 420, 484];

/**
 * The best of the failures of one fork (RFC 3261 16.7 step 6 with the meanings of models.md): what was *answered* first,
 * because it tells the sender something he can act on; else 480 where anybody could not be asked, because he might be
 * there; else 404. Among answers a 6xx wins, then the lowest class, then what helps to ask again, then the first come.
 * @param complete false: some servers were not asked at all, so that no 404 may come of this.
 */
export function bestAnswer(ended: readonly Ended[], complete: boolean): Best {
  let best: Ended | null = null;
  let notHere: Ended | null = null;
  let couldNotAsk = !complete || ended.length === 0;
  for (const each of ended) {
    const meaning = meaningOf(each.ending);
    if (meaning === "answered" && (best === null || rank(each.ending) < rank(best.ending))) best = each;
    if (meaning === "could-not-ask") couldNotAsk = true;
    // A 404 is forwarded as it came, a 604 under another number; the other ways to say so are answered by us.
    if (each.ending === 404 && notHere?.ending !== 404) notHere = each;
    if (each.ending === 604 && notHere === null) notHere = each;
  }
  if (best !== null) {
    const status = upstreamStatus(best.ending);
    return { kind: "forward", server: best.server, status, challenges: challenges(ended, best) };
  }
  if (couldNotAsk) return { kind: "answer", status: 480 };
  if (notHere !== null) return { kind: "forward", server: notHere.server, status: 404, challenges: [] };
  return { kind: "answer", status: 404 };
}

function rank(ending: Ending): number {
  const status = ending as number;
  if (status >= 600) return 0;
  const rankOfClass = Math.floor(status / 100) * 2;
  return HELPFUL.includes(status) ? rankOfClass - 1 : rankOfClass;
}

function challenges(ended: readonly Ended[], best: Ended): readonly string[] {
  if (!isChallenge(best.ending)) return [];
  return ended.filter((each) => each !== best && isChallenge(each.ending)).map((each) => each.server);
}

function isChallenge(ending: Ending): boolean {
  return ending === 401 || ending === 407;
}
