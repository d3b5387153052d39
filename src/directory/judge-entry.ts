import type { Entry, EntryJudgement, Visited } from "./unions.ts";

/**
 * Whether a SUBSCRIBE may come in, and to which servers it goes (models.md, "Unioned, peer"): pure. A server that is on a
 * live chain of the pair goes on to what the chain has not visited yet, and where nothing is left it is a loop.
 *
 * Equal evidence, or a From tag of our own, is that chain, whichever server it comes from. What comes otherwise begins a
 * chain of its own only where it cannot be a live one coming back:
 * - from a client, or from a server on none of them;
 * - from a server that sends nothing on, where no leg of the pair leads to it, or it has begun none;
 * - where it brings evidence that all others from there differ in, and that can be trusted: the server is marked to preserve
 *   it, *and* whatever of this pair we have sent to it, where it sends on at all, has come back with the very evidence it
 *   was sent with. So a server that rewrites what it is said to preserve never gets a loop past.
 * - from a server that has begun all it is on, none of them a moment ago: nothing of the pair was sent there, so nothing can
 *   come back. It has another device, or has started again and knows nothing of those chains. A 482 would have it go on
 *   with its own data, which another server may deny.
 * A server begins `most` chains of a pair at a time. So there is an end to what servers can set off between them, whatever
 * they are said to do and do.
 *
 * @param id of the subscription that would begin a chain.
 * Legs that are gone count for what can be coming back from them, and for what their chain has visited; who comes back to
 * a chain of which nothing else is left goes nowhere.
 *
 * @param rows all of the pair.
 */
export function judgeEntry(id: string, entry: Entry, rows: readonly Visited[]): EntryJudgement {
  const known = chainKnown(entry, rows);
  const isAnew = isOfItsOwn(entry, rows, known);
  if ((known === undefined && mayBegin(entry, rows)) || (isAnew && begunBy(entry.origin, rows) < entry.most))
    return { outcome: "entered", chain: id, servers: entry.servers };
  const candidates = known === undefined ? chainsThrough(entry.origin, rows) : [known];
  for (const chain of candidates) {
    const its = rows.filter((row) => row.chain === chain);
    const visited = new Set(its.map((row) => row.server));
    const free = entry.servers.filter((server) => !visited.has(server));
    if (free.length > 0 && its.some((row) => !row.gone)) return { outcome: "entered", chain, servers: free };
  }
  const isThere = (row: Visited) =>
    candidates.includes(row.chain) && (known !== undefined || row.server === entry.origin);
  const lives = !isAnew && rows.some((row) => !row.gone && isThere(row));
  return { outcome: "loop", chain: candidates[0]!, lives };
}

/** The chain that it belongs to for certain. */
function chainKnown({ origin, evidence, within }: Entry, rows: readonly Visited[]): string | undefined {
  const byTag = within === null ? undefined : rows.find((row) => row.holder === within);
  if (byTag !== undefined) return byTag.chain;
  if (evidence === null) return undefined;
  // Where a leg is gone, the same instance may be subscribing anew.
  return rows.find((row) => row.evidence === evidence && (!row.gone || row.server === origin))?.chain;
}

/** Chains that the server is on, in the order of the rows. */
function chainsThrough(origin: string | null, rows: readonly Visited[]): string[] {
  return [...new Set(rows.filter((row) => row.server === origin).map((row) => row.chain))];
}

/** It is on chains that it has begun, or has gone on in, and nothing leads there. */
function isOfItsOwn({ origin, within }: Entry, rows: readonly Visited[], known: string | undefined): boolean {
  if (origin === null || rows.some((row) => row.holder === within)) return false;
  const own = rows.filter((row) => row.server === origin);
  if (own.length === 0 || (known !== undefined && !own.some((row) => row.chain === known))) return false;
  return own.every((row) => row.role === "start" && !row.fresh);
}

function begunBy(origin: string | null, rows: readonly Visited[]): number {
  return rows.filter((row) => row.server === origin && row.role === "start" && row.holder === row.chain).length;
}

function mayBegin({ origin, evidence, onward, most }: Entry, rows: readonly Visited[]): boolean {
  const own = origin === null ? [] : rows.filter((row) => row.server === origin);
  if (own.length === 0) return true;
  const begun = begunBy(origin, rows);
  if (begun >= most) return false;
  if (!onward.includes(origin!)) {
    if (begun === 0 || own.every((row) => row.role === "start" || row.gone)) return true;
  } else if (own.some((row) => row.role === "leg" && !row.echoed)) return false;
  // Beside one without evidence nothing is told apart.
  return evidence !== null && own.every((row) => row.evidence !== null);
}

/** What a SUBSCRIBE says of the rows it is judged by. */
export interface Noted {
  readonly row: Visited;
  /** It has brought the row's own evidence back, which proves that the server preserves it. */
  readonly echoed: boolean;
}

/**
 * Which legs it may be the answer of: those to its server with its evidence, else the first of which nothing has come back
 * yet, and none where it is let in as a chain of its own.
 */
export function noteReturn({ origin, evidence, within }: Entry, rows: readonly Visited[], isNew: boolean): Noted[] {
  if (origin === null || isNew) return [];
  const legs = rows.filter((row) => row.role === "leg" && row.server === origin);
  const same = evidence === null ? [] : legs.filter((row) => row.evidence === evidence);
  if (same.length > 0)
    return noted(
      same.filter((row) => !row.echoed || !row.returned),
      true,
    );
  const awaited = legs.filter((row) => !row.returned);
  const own = awaited.filter((row) => row.holder === within);
  return noted((own.length > 0 ? own : awaited).slice(0, 1), false);
}

function noted(rows: readonly Visited[], echoed: boolean): Noted[] {
  return rows.map((row) => ({ row, echoed: echoed || row.echoed }));
}
