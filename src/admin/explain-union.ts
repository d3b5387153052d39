import { z } from "zod";
import { DirectoryUnavailable } from "../base/errors.ts";
import type { ListedSubscription } from "../directory/subscriptions.ts";
import type { Visited } from "../directory/unions.ts";
import type { Standing } from "../subscription/composed-decision.ts";
import { standingsIn } from "../subscription/composed-row.ts";
import { shownIn } from "../subscription/subscription.ts";
import type { AdminOptions, ProxyPort } from "./ports.ts";
import { iso } from "./schemas.ts";

/** Rows that are told of one user; an explanation is asked for by people. */
const MOST = 100;

type Union = Pick<ProxyPort, "children" | "servers">;

const standingSchema = z.object({
  server: z.string(),
  standing: z
    .enum(["confirmed", "pending", "asked", "away", "out"])
    .describe(
      "confirmed: it lets the watcher see; pending: it has not decided; asked: it has not answered; " +
        "away: it cannot be asked now; out: the user is not there, or what it has comes by way of another server",
    ),
});

const visit = z.object({
  server: z.string().nullable().describe("null: a client's start"),
  role: z.enum(["start", "leg"]).describe("start: the chain comes from there; leg: it leads there"),
  subscription: z.string().describe("the one it goes with"),
  told: z.boolean().describe("something tells this device of the watcher from others"),
  echoed: z.boolean().describe("the server has sent it on with what tells the device"),
  gone: z.boolean().describe("that leg has ended a moment ago; what its server sets off may be on its way"),
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
      direction: z.enum(["up", "down"]).describe("down: a server of a tree asks for those below it"),
      active: z.boolean().describe("false: the watcher was told `pending`"),
      servers: z.array(standingSchema),
      missing: z.array(z.string()).describe("whose answer is missing"),
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
  { directory, proxy }: Pick<AdminOptions, "directory"> & { readonly proxy: Union },
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
      subscriptions: await Promise.all(rows.map((row) => liveOf(proxy, row))),
      chains: chainsOf(visited),
      complete: rows.length < MOST,
    };
  } catch (error) {
    if (error instanceof DirectoryUnavailable) return null;
    throw error;
  }
}

async function liveOf(proxy: Union, row: ListedSubscription): Promise<Unioned["subscriptions"][number]> {
  const { id, aor, watcher, origin, expiresAt, owner, leg } = row;
  const { active, view } = shownIn(row);
  const known = standingsIn(leg);
  const up = new Set(proxy.servers().flatMap((each) => (each.up ? [each.name] : [])));
  const servers = ((await proxy.children(aor, view)) ?? []).map(
    (server): z.output<typeof standingSchema> => ({
      server,
      standing: standingNow(known.find((each) => each.server === server)?.standing, up.has(server)),
    }),
  );
  return {
    id,
    watcher,
    from: origin,
    direction: view.direction,
    active,
    expiresAt: iso(expiresAt),
    proxy: owner,
    servers,
    missing: servers.filter(({ standing }) => MISSING.has(standing)).map(({ server }) => server),
  };
}

/** @param standing as it was written down; undefined: it is new. */
function standingNow(standing: Standing | undefined, isUp: boolean): z.output<typeof standingSchema>["standing"] {
  if (standing === "visited") return "out";
  return standing === undefined || standing === "asked" ? (isUp ? "asked" : "away") : standing;
}

const MISSING: ReadonlySet<string> = new Set(["pending", "asked", "away"]);

function chainsOf(rows: readonly Visited[]): Unioned["chains"] {
  const chains = new Map<string, Unioned["chains"][number]["visited"]>();
  for (const { chain, server, role, holder, evidence, echoed, gone } of rows) {
    const visited = chains.get(chain) ?? [];
    visited.push({ server, role, subscription: holder, told: evidence !== null, echoed, gone });
    chains.set(chain, visited);
  }
  return [...chains].map(([chain, visited]) => ({ chain, visited }));
}

export function unionedLines(unioned: Unioned | null): string[] {
  if (unioned === null) return [];
  const { subscriptions, chains, complete } = unioned;
  return [
    ...subscriptions.map(({ id, watcher, from, direction, active, servers, missing }) => {
      const way = from === null ? "" : ` from ${from}${direction === "down" ? ", for those below it" : ""}`;
      const each = servers.map((one) => `${one.server} ${one.standing}`).join(", ");
      const waits = missing.length === 0 ? "" : `; the answer of ${missing.join(", ")} is missing`;
      return `${active ? "active" : "pending"} ${id}: ${watcher}${way}: ${each}${waits}`;
    }),
    ...chains.map(({ chain, visited }) => {
      const from = visited.filter((each) => each.role === "start").map((each) => each.server ?? "a client");
      const to = visited.filter(({ role, gone }) => role === "leg" && !gone).map((each) => each.server);
      const left = visited.filter(({ gone }) => gone).map((each) => each.server);
      const parts = [
        ...(from.length > 0 ? [`from ${from.join(", ")}`] : []),
        ...(to.length > 0 ? [`has visited ${to.join(", ")}`] : []),
        ...(left.length > 0 ? [`has left ${left.join(", ")} a moment ago`] : []),
      ];
      return `chain ${chain}: ${parts.join("; ")}`;
    }),
    ...(complete ? [] : [`(the first ${MOST})`]),
  ];
}
