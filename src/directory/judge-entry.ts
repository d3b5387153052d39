import type { Entry, EntryJudgement, Visited } from "./unions.ts";

/**
 * Whether a SUBSCRIBE may come in, and to which servers it goes (models.md, "Unioned, peer"): pure. A server that is on a
 * live chain of the pair goes on to what the chain has not visited yet, and where nothing is left it is a loop.
 *
 * Another instance of the watcher is let in where what tells it from the others can be trusted: its server is marked to
 * preserve it, *and* whatever of this pair we have sent to that server, where it sends on at all, has come back with the
 * very evidence it was sent with. So a server that rewrites what it is said to preserve never gets a loop past.
 *
 * @param id of the subscription that would begin a chain.
 * @param rows all of the pair, of live chains.
 */
export function judgeEntry(id: string, entry: Entry, rows: readonly Visited[]): EntryJudgement {
  const { origin, evidence, within, servers } = entry;
  const chains = chainsOf(rows, origin, within);
  if (chains.length === 0) return { outcome: "entered", chain: id, servers };
  const same = evidence === null ? undefined : rows.find((row) => row.evidence === evidence)?.chain;
  if (within === null && same === undefined && isProven(entry, rows)) return { outcome: "entered", chain: id, servers };
  const candidates = same !== undefined && chains.includes(same) ? [same] : chains;
  for (const chain of candidates) {
    const free = servers.filter((server) => !rows.some((row) => row.chain === chain && row.server === server));
    if (free.length > 0) return { outcome: "entered", chain, servers: free };
  }
  return { outcome: "loop", chain: candidates[0]! };
}

/** Live chains that the request may be coming back from. */
function chainsOf(rows: readonly Visited[], origin: string | null, within: string | null): string[] {
  const found = rows.filter((row) => (within === null ? row.server === origin : row.holder === within));
  return [...new Set(found.map((row) => row.chain))];
}

function isProven({ origin, evidence, onward, most }: Entry, rows: readonly Visited[]): boolean {
  if (origin === null || evidence === null) return false;
  const own = rows.filter((row) => row.server === origin);
  if (own.some((row) => row.role === "leg" && onward.includes(origin) && !row.echoed)) return false;
  // Beside one without evidence nothing is told apart.
  if (own.some((row) => row.evidence === null)) return false;
  return own.filter((row) => row.role === "start").length < most;
}

/** Rows that the coming back of their own evidence proves to be preserved. */
export function echoedBy({ origin, evidence }: Entry, rows: readonly Visited[]): readonly Visited[] {
  if (evidence === null) return [];
  return rows.filter((row) => row.role === "leg" && row.server === origin && row.evidence === evidence && !row.echoed);
}
