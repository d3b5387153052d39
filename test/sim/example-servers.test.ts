import { expect, it } from "vitest";
import { isOpen, markOf } from "../../src/demo/presence-agent.ts";
import type { Watch } from "../../src/demo/watches.ts";
import { Sfc32 } from "../../src/runtime/sfc32.ts";
import { createWorld, type World } from "../support/world.ts";

/**
 * Example servers on two proxies: users log in, move and leave by REGISTER, their old servers hear it by event reg, users of a fourth
 * server watch. A fifth of all datagrams is lost, some overtake others, and the proxy that owns every subscription is killed.
 */
const USERS = 6;
const WATCHERS = 3;
const HOMES = ["east", "west", "south"] as const;
const SEEDS = [1, 2, 3, 4];
const WATCHED_BY = "127.0.0.2";

it.each(SEEDS)(
  "seed %i: every watcher ends at the user's present server, in the dialog he began, and saw nothing go back",
  async (seed) => {
    const random = new Sfc32(seed, 2);
    const below = (n: number): number => random.next() % n;
    const world = await begin(seed);
    const { simulation, servers } = world;
    const watches: Array<{ readonly user: string; readonly watch: Watch }> = [];
    for (let i = 0; i < USERS * WATCHERS; i++) {
      const user = `user${i % USERS}`;
      const watching = servers["north"]!.watch(`w${i}`, `${user}@example.com`, {
        keep: true,
        again: true,
        expires: 300,
      });
      watches.push({ user, watch: await simulation.finish(watching) });
    }
    simulation.faults({ loss: 0.2, duplicate: 0.05, reorder: 0.2, reorderDelay: 400, delay: [1, 150] });
    const home = new Map<string, string | null>();
    for (let step = 0; step < USERS * 6; step++) {
      if (step === USERS * 2) world.proxies[1]!.kill();
      if (step === USERS * 4 && seed % 2 === 1) await simulation.finish(world.restart(WATCHED_BY));
      const user = `user${below(USERS)}`;
      const old = home.get(user) ?? null;
      const what = below(10);
      if (what < 6) {
        const to = HOMES[below(HOMES.length)]!;
        home.set(user, to);
        void servers[to]!.login(user, 300);
      } else if (old !== null && what < 8) {
        home.set(user, null);
        void servers[old]!.logout(user);
      } else if (old !== null) servers[old]!.show(user, "open");
      await simulation.advance(below(2_500));
    }
    simulation.faults({ loss: 0, duplicate: 0, reorder: 0 });
    // The lease of the dead lapses, back-offs end, and everybody refreshes once at least.
    await simulation.advance(400_000);
    // A login that is sent again may arrive after a later one of another server, and wins: the directory says where he is.
    const present = new Map<string, string | null>();
    for (const user of home.keys()) {
      const known = await simulation.finish(world.proxies[0]!.directory.lookup(`${user}@example.com`));
      present.set(user, known.state === "bound" ? known.binding.server : null);
    }
    for (const { user, watch } of watches) {
      const last = watch.notified.at(-1)?.document ?? "";
      expect(isOpen(last) ? markOf(last)?.server : null, `${user}: ${said(watch)}`).toBe(present.get(user) ?? null);
      expect(watch.backward, said(watch)).toBe(0);
      expect(new Set(watch.notified.map((each) => each.dialog)), said(watch)).toEqual(new Set([0]));
      expect(said(watch)).not.toContain("terminated");
      const serials = watch.notified.flatMap((each) => markOf(each.document)?.serial ?? []);
      expect(serials, said(watch)).toEqual([...serials].sort((a, b) => a - b));
    }
    const contacts = new Set(watches.map(({ watch }) => watch.notified.at(-1)?.contact));
    const staysDead = seed % 2 === 0;
    if (staysDead) expect(contacts).not.toContain(`sip:cdm@${WATCHED_BY}:5060`);
    expect(HOMES.some((name) => servers[name]!.evicted.length > 0)).toBe(true);
    for (const { watch } of watches) await simulation.finish(watch.refresh(0));
    await simulation.advance(10_000);
    expect(HOMES.flatMap((name) => servers[name]!.accepted())).toEqual([]);
    await world.stop();
  },
);

async function begin(seed: number): Promise<World> {
  let serial = 0;
  // One counter for all: it orders the documents of different servers.
  const numbered = { serial: () => ++serial, viaProxy: 0 };
  const world = await createWorld({
    seed,
    proxies: 2,
    servers: {
      east: numbered,
      west: { ...numbered, leaving: "noresource" },
      south: { ...numbered, notifyFirst: true },
      north: { viaProxy: 1 },
    },
    options: {
      models: [{ match: "*@example.com", model: { model: "exclusive", conflict: "takeover", refuseWith: 403 } }],
      hold: { users: "any", events: ["presence"] },
    },
  });
  for (const name of HOMES) await world.simulation.finish(world.servers[name]!.registrations());
  return world;
}

/** What he saw, for a failure's message. */
function said(watch: Watch): string {
  return watch.notified
    .map(({ cseq, state, document }) => {
      const mark = markOf(document);
      return `${cseq} ${state.split(";")[0]} ${mark?.server ?? ""}${mark?.serial ?? ""}${isOpen(document) ? "+" : ""}`;
    })
    .join(", ");
}
