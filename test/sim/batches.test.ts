import { describe, expect, it } from "vitest";
import type { AuditEntry } from "../../src/directory/directory.ts";
import { Sfc32 } from "../../src/runtime/sfc32.ts";
import { House } from "../moving/house.ts";

/**
 * Batches of moves through everything at once: proxies killed as by kill -9 and started, the database away, answers lost,
 * batches paused and resumed, users who claim themselves elsewhere meanwhile. What the journal says of each user must be
 * what happened to him, and who went elsewhere must still be there.
 */

const SEEDS = 60;
const USERS = 14;

class Chance {
  readonly #source: Sfc32;

  constructor(seed: number) {
    this.#source = new Sfc32(seed, 7);
  }

  below(n: number): number {
    return (((this.#source.byte() << 16) | (this.#source.byte() << 8) | this.#source.byte()) >>> 0) % n;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}

/** Every change of a user's server, the first one first. */
async function changesOf(house: House, aor: string): Promise<AuditEntry[]> {
  const entries = await house.sure(() => house.hands.audit({ aor, limit: 1000 }));
  return entries.filter((entry) => entry.action === "bind").reverse();
}

async function movesOf(house: House, aor: string, actor: string): Promise<AuditEntry[]> {
  return (await changesOf(house, aor)).filter((entry) => entry.actor === actor);
}

async function upheaval(
  house: House,
  chance: Chance,
  aors: readonly string[],
  id: string,
): Promise<Map<string, string>> {
  const elsewhere = new Map<string, string>();
  let alive = [await house.mover("p0")];
  for (let step = 0; step < 25; step++) {
    await house.runtime.advance(chance.below(700));
    switch (chance.below(8)) {
      case 0:
        alive.splice(chance.below(alive.length), 1)[0]?.kill();
        break;
      case 1:
        if (alive.length < 3) alive = [...alive, await house.mover(`p${step + 1}`)];
        break;
      case 2:
        house.database.setAway(true);
        await house.runtime.advance(chance.below(3000));
        house.database.setAway(false);
        break;
      case 3:
        house.database.loseNextAnswers(1 + chance.below(3));
        break;
      case 4:
        await house.sure(() => house.hands.moves.steer(id, chance.pick(["pause", "resume"] as const)));
        break;
      default: {
        const aor = chance.pick(aors);
        const server = chance.pick(["north", "south", "west"]);
        await house.bind(aor, server);
        elsewhere.set(aor, server);
      }
    }
  }
  if (alive.length === 0) await house.mover("last");
  await house.sure(() => house.hands.moves.steer(id, "resume"));
  return elsewhere;
}

async function live(seed: number): Promise<void> {
  const house = new House(seed, { lostAnswers: 30 });
  await house.open();
  const chance = new Chance(seed);
  const aors = await house.users(USERS, "east");
  const id = await house.create({ rate: 3, makeBeforeBreak: chance.below(2) === 0 });
  const elsewhere = await upheaval(house, chance, aors, id);
  const batch = await house.ended(id);
  const steps = await house.steps(id);
  const context = `seed ${seed}`;
  expect(batch, context).toMatchObject({ state: "done", total: steps.length });
  expect(batch.moved + batch.refused, context).toBe(batch.total);
  for (const step of steps) {
    const moves = await movesOf(house, step.aor, "root");
    const { server, epoch } = await house.where(step.aor);
    const told = `${context}, ${step.aor}: ${step.state} ${step.reason}`;
    expect(["moved", "refused"], told).toContain(step.state);
    for (const each of moves) expect(each.before, told).toEqual({ server: "east" });
    if (step.state === "moved") expect(moves, told).toHaveLength(1);
    else {
      // Moved, the answer lost, and on to elsewhere before anybody could look: he is reported as where he is.
      expect(moves.length, told).toBeLessThanOrEqual(elsewhere.has(step.aor) ? 1 : 0);
    }
    if (!elsewhere.has(step.aor)) expect([server, epoch], told).toEqual(["west", 2]);
    else if (step.state === "refused") expect(server, told).toBe(elsewhere.get(step.aor));
    else expect(["west", elsewhere.get(step.aor)], told).toContain(server);
  }
  const undo = await house.create({ source: { kind: "undo", of: id }, actor: "undoer", rate: 50 });
  await house.ended(undo);
  for (const step of steps) {
    const { server } = await house.where(step.aor);
    const changes = await changesOf(house, step.aor);
    const undone = changes.findIndex((entry) => entry.actor === "undoer");
    // Nobody may have moved him since: the change before the undo is the batch's own.
    if (undone >= 0) expect(changes[undone - 1]?.actor, `${context}, ${step.aor}`).toBe("root");
    const back = step.state === "moved" && undone >= 0;
    expect(server === "east", `${context}, ${step.aor} after undo`).toBe(back);
    if (!elsewhere.has(step.aor)) expect(server, `${context}, ${step.aor}`).toBe("east");
  }
  await house.close();
}

describe("batches of moves, simulated", () => {
  it(`${SEEDS} seeds: the journal tells what happened, nobody is moved twice, who went elsewhere is left there`, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) await live(seed);
  }, 120_000);
});
