import { z } from "zod";
import { DirectoryUnavailable } from "../base/errors.ts";
import type { Visited } from "../directory/unions.ts";
import { standingsIn } from "../subscription/composed-row.ts";
import type { AdminOptions } from "./ports.ts";
import { iso } from "./schemas.ts";

/** Rows that are told of one user; an explanation is asked for by people. */
const MOST = 100;

const standing = z.object({
  server: z.string(),
  standing: z
    .enum(["asked", "confirmed", "pending", "out", "visited"])
    .describe("confirmed: it lets the watcher see; pending: it has not decided; asked: it has not answered"),
});

const visit = z.object({
  server: z.string().nullable().describe("null: a client's start"),
  role: z.enum(["start", "leg"]).describe("start: the chain comes from there; leg: it leads there"),
  subscription: z.string().describe("the one it goes with"),
  told: z.boolean().describe("something tells this device of the watcher from others"),
  echoed: z.boolean().describe("the server has sent it on with what tells the device"),
});

/** Of a unioned user: what the proxies of the domain do for his watchers now. */
export const unionedSchema = z.object({
  subscriptions: z.array(
    z.object({
      id: z.string(),
      watcher: z.string(),
      from: z.string().nullable().describe("server the watcher's request came from; null: a client"),
      expiresAt: z.string(),
      proxy: z.string(),
      servers: z.array(standing).describe("who has a dialog with us, or has decided"),
      missing: z.array(z.string()).describe("whose consent is missing, so far as they are in `servers`"),
    }),
  ),
  chains: z
    .array(z.object({ chain: z.string(), visited: z.array(visit) }))
    .describe("peers: where the chains of this watcher have been; empty without a watcher"),
  complete: z.boolean().describe(`false: there are over ${MOST} subscriptions`),
});

export type Unioned = z.output<typeof unionedSchema>;

/** Null where the database is away: the plan is told all the same. @param watcher canonical; undefined: of all. */
export async function unionedOf(
  directory: AdminOptions["directory"],
  aor: string,
  watcher: string | undefined,
): Promise<Unioned | null> {
  try {
    const [rows, visited] = await Promise.all([
      directory.subscriptions.list({
        kind: "composed",
        aor,
        ...(watcher === undefined ? {} : { watcher }),
        limit: MOST,
      }),
      watcher === undefined ? [] : directory.unions.visited({ watcher, aor, event: "presence" }),
    ]);
    return {
      subscriptions: rows.map(({ id, watcher: who, origin, expiresAt, owner, leg }) => {
        const servers = [...standingsIn(leg)];
        const missing = servers.filter((each) => each.standing !== "confirmed").map((each) => each.server);
        return { id, watcher: who, from: origin, expiresAt: iso(expiresAt), proxy: owner, servers, missing };
      }),
      chains: chainsOf(visited),
      complete: rows.length < MOST,
    };
  } catch (error) {
    if (error instanceof DirectoryUnavailable) return null;
    throw error;
  }
}

function chainsOf(rows: readonly Visited[]): Unioned["chains"] {
  const chains = new Map<string, Unioned["chains"][number]["visited"]>();
  for (const { chain, server, role, holder, evidence, echoed } of rows) {
    const visited = chains.get(chain) ?? [];
    visited.push({ server, role, subscription: holder, told: evidence !== null, echoed });
    chains.set(chain, visited);
  }
  return [...chains].map(([chain, visited]) => ({ chain, visited }));
}

export function unionedLines(unioned: Unioned | null): string[] {
  if (unioned === null) return [];
  const { subscriptions, chains, complete } = unioned;
  return [
    ...subscriptions.map(({ id, watcher, from, servers, missing }) => {
      const who = `${watcher}${from === null ? "" : ` from ${from}`}`;
      const each = servers.map((one) => `${one.server} ${one.standing}`).join(", ");
      const waits = missing.length === 0 ? "" : `; the answer of ${missing.join(", ")} is missing`;
      return `live ${id}: ${who}: ${each === "" ? "no server has a dialog" : each}${waits}`;
    }),
    ...chains.map(({ chain, visited }) => {
      const from = visited.filter((each) => each.role === "start").map((each) => each.server ?? "a client");
      const to = visited.filter((each) => each.role === "leg").map((each) => each.server);
      return `chain ${chain}: begun or gone on from ${from.join(", ") || "nobody"}; has visited ${to.join(", ") || "nobody"}`;
    }),
    ...(complete ? [] : [`(the first ${MOST})`]),
  ];
}
