import { describe, expect, it } from "vitest";
import type { ListedMessage } from "../../src/directory/messages.ts";
import { DELIVERY_OPTIONS, type DeliveryOptions } from "../../src/messaging/options.ts";
import { Sfc32 } from "../../src/runtime/sfc32.ts";
import { type Client, createWorld, type Outgoing, reply, type World } from "../support/world.ts";

/**
 * Small worlds in which messages are sent, and anything happens: servers refuse, are silent or slow, users move and go
 * away, packets are lost, proxies are killed and started again, the database goes away and loses answers. No message that
 * was answered 202 is lost, and those of one pair are taken in the order they were sent.
 */

const SEEDS = process.env["CODOMAIN_FULL"] === "1" ? 400 : 40;
const FIRST = Number(process.env["CODOMAIN_SEED"] ?? 1);
const USERS = ["ann", "bob", "cid"];
const SENDERS = ["sue", "tom"];
const STEPS = 50;
/** Times are short, so that much happens in a small world's life. */
const SHORT: DeliveryOptions = { ...DELIVERY_OPTIONS, tryMs: 6_000, holdMs: 12_000, retryMs: 500, maxRetryMs: 8_000 };

interface Sent {
  readonly user: string;
  readonly sender: string;
  readonly body: string;
  readonly outgoing: Outgoing;
}

/** What a server does with a MESSAGE. Slow ones take it, and say so late. */
type Mood = "takes" | "slow" | "refuses" | "denies" | "silent" | "busy";
const MOODS: readonly Mood[] = ["takes", "takes", "takes", "slow", "refuses", "busy", "silent", "denies"];

class Small {
  readonly world: World;
  /** Bodies in the order in which a server took them, each once. */
  readonly taken: string[] = [];
  readonly denied = new Set<string>();
  readonly #moods: Record<string, Mood>;
  readonly #chance: Sfc32;
  readonly #clients: readonly Client[];
  readonly #sent: Sent[] = [];
  /** Proxy a pair's last message went over: another may not have heard yet that it was stored. */
  #away = false;
  #number = 0;
  kills = 0;

  static async begin(seed: number, delivery: DeliveryOptions): Promise<Small> {
    const box: { small?: Small } = {};
    const moods: Record<string, Mood> = { east: "takes", west: "takes" };
    const world = await createWorld({
      seed,
      proxies: 2,
      servers: Object.fromEntries(
        Object.keys(moods).map((name) => [
          name,
          { script: (t, self) => box.small?.handle(name, (status) => reply(t, self, status), t.request.body, self) },
        ]),
      ),
      options: {
        models: [{ match: "*@example.com", model: { model: "exclusive", conflict: "takeover", refuseWith: 403 } }],
        absentMessages: "store",
        decisionMs: 4_000,
        health: { intervalMs: seed % 2 === 0 ? 0 : 5_000, failures: 3, timeoutMs: 2_000 },
      },
      database: { latencyMs: [0, seed % 3 === 0 ? 0 : 4], lostAnswers: seed % 4 === 0 ? 30 : 0 },
      wireMs: [0, seed % 3 === 0 ? 1 : 6],
      services: { delivery },
    });
    const small = new Small(seed, world, moods);
    box.small = small;
    return small;
  }

  private constructor(seed: number, world: World, moods: Record<string, Mood>) {
    this.world = world;
    this.#moods = moods;
    this.#chance = new Sfc32(seed, 77);
    this.#clients = SENDERS.map((_, index) => world.client(`127.0.2.${1 + index}`));
  }

  handle(name: string, answer: (status: number) => void, body: string, self: Client): void {
    const take = (): void => {
      if (!this.taken.includes(body)) this.taken.push(body);
      answer(200);
    };
    switch (this.#moods[name]!) {
      case "takes":
        return take();
      case "slow":
        if (!this.taken.includes(body)) this.taken.push(body);
        self.stack.runtime.timers.after(this.#below(7_000), () => answer(200));
        return;
      case "refuses":
        return answer(this.#pick([404, 480, 500]));
      case "busy":
        return answer(this.#pick([503, 429]));
      case "denies":
        this.denied.add(body);
        return answer(603);
      case "silent":
        return;
    }
  }

  async pass(): Promise<void> {
    const { simulation, database, proxies } = this.world;
    for (const user of USERS) await this.#move(user, this.#pick(["east", "west"]));
    simulation.faults({ loss: 0.05, duplicate: 0.02, delay: [0.5, 8] });
    for (let step = 0; step < STEPS; step++) {
      const what = this.#below(100);
      if (what < 55) this.#send(this.#pick(USERS), this.#pick(SENDERS));
      else if (what < 68) this.#moods[this.#pick(["east", "west"])] = this.#pick(MOODS);
      else if (what < 80) await this.#move(this.#pick(USERS), this.#pick(["east", "west", null]));
      else if (what < 86) {
        this.#away = !this.#away;
        database.setAway(this.#away);
      } else if (what < 90 && proxies[1]!.process.alive) {
        this.kills++;
        proxies[1]!.kill();
      } else if (what < 94 && !proxies[1]!.process.alive && !this.#away) {
        await simulation.finish(this.world.restart("127.0.0.2").catch(() => undefined));
      }
      await simulation.advance(this.#below(1_500));
    }
  }

  /** Everything works again, everybody is somewhere, and time passes. */
  async calm(): Promise<void> {
    const { simulation, database, proxies } = this.world;
    simulation.faults({ loss: 0, duplicate: 0 });
    this.#away = false;
    database.setAway(false);
    for (const name of Object.keys(this.#moods)) this.#moods[name] = "takes";
    if (!proxies[1]!.process.alive) await simulation.finish(this.world.restart("127.0.0.2").catch(() => undefined));
    await simulation.advance(40_000);
    for (const user of USERS) {
      // Lost answers are its life: until it is so.
      for (let tries = 0; tries < 5; tries++) await this.#move(user, "west");
    }
    await simulation.advance(120_000);
  }

  async judge(): Promise<string[]> {
    const wrong: string[] = [];
    const { simulation, proxies } = this.world;
    const listed = new Map<string, ListedMessage>();
    for (let tries = 0; tries < 5 && listed.size === 0; tries++) {
      const all = await simulation.finish(
        proxies[0]!.directory.messages.list({ limit: 1000 }).catch((): readonly ListedMessage[] => []),
      );
      for (const each of all) listed.set(each.callId, each);
    }
    const accepted = this.#sent.filter(({ outgoing }) => outgoing.final >= 200 && outgoing.final < 300);
    for (const { body, outgoing } of accepted) {
      const { state } = listed.get(outgoing.request.callId) ?? { state: "gone" };
      if (this.taken.includes(body) || state === "stored") continue;
      if (state === "failed" && this.denied.has(body)) continue;
      wrong.push(`"${body}" was answered ${outgoing.final}, is ${state}, and no server has taken it`);
    }
    for (const each of listed.values()) {
      if (each.state === "stored") wrong.push(`${each.id} of ${each.sender} still waits for ${each.recipient}`);
    }
    for (const [index, later] of accepted.entries()) {
      for (const earlier of accepted.slice(0, index)) {
        if (earlier.user !== later.user || earlier.sender !== later.sender) continue;
        const [first, second] = [this.taken.indexOf(earlier.body), this.taken.indexOf(later.body)];
        if (first >= 0 && second >= 0 && first > second)
          wrong.push(`"${later.body}" was taken before "${earlier.body}"`);
      }
    }
    const left = (await this.world.leftOver()).filter((line) => !line.includes("transactions"));
    await this.world.stop();
    return [...wrong, ...left];
  }

  get stored(): number {
    return this.#sent.filter(({ outgoing }) => outgoing.final === 202).length;
  }

  /** One at a time of a pair, over the proxy that always is there: who sends more at once asked for no order. */
  #send(user: string, sender: string): void {
    const open = this.#sent.some((each) => each.user === user && each.sender === sender && !each.outgoing.ended);
    if (open) return;
    const body = `${sender} to ${user} ${++this.#number}`;
    const client = this.#clients[SENDERS.indexOf(sender)]!;
    const outgoing = client.begin("MESSAGE", `sip:${user}@example.com`, {
      from: `sip:${sender}@example.com`,
      body,
      proxy: "127.0.0.1",
    });
    this.#sent.push({ user, sender, body, outgoing });
  }

  async #move(user: string, to: string | null): Promise<void> {
    const { simulation, proxies } = this.world;
    const aor = `${user}@example.com`;
    const { directory } = proxies[0]!;
    const done = to === null ? directory.unbind({ aor, actor: "t" }) : directory.move({ aor, to, actor: "t" });
    await simulation.finish(done.then(() => undefined).catch(() => undefined));
  }

  #below(limit: number): number {
    return this.#chance.next() % limit;
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#below(from.length)]!;
  }
}

async function live(seed: number, delivery: DeliveryOptions = SHORT): Promise<{ wrong: string[]; small: Small }> {
  const small = await Small.begin(seed, delivery);
  await small.pass();
  await small.calm();
  return { wrong: await small.judge(), small };
}

describe("stored messages, whatever happens (models.md, Stored messages)", () => {
  it(`over ${SEEDS} seeds: none answered 202 is lost, and the order of a pair is kept`, async () => {
    let stored = 0;
    let kills = 0;
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      const { wrong, small } = await live(seed);
      stored += small.stored;
      kills += small.kills;
      expect(wrong, `seed ${seed}`).toEqual([]);
    }
    // It would prove nothing if nothing happened.
    expect(stored).toBeGreaterThan(SEEDS * 5);
    expect(kills).toBeGreaterThan(SEEDS / 4);
  }, 600_000);

  it("a message removed before its 2xx is lost in some of them", async () => {
    let lost = 0;
    for (let seed = 1; seed <= 20 && lost === 0; seed++) {
      const { wrong } = await live(seed, { ...SHORT, unsafeRemoveFirst: true });
      if (wrong.some((line) => line.includes("no server has taken it"))) lost++;
    }
    expect(lost).toBeGreaterThan(0);
  }, 600_000);
});
