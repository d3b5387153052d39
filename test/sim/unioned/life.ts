import type { ExampleServer, ExampleServerOptions } from "../../../src/demo/example-server.ts";
import type { MemoryOptions } from "../../../src/directory/memory-store.ts";
import type { ProxyOptions } from "../../../src/proxy/options.ts";
import type { Timers } from "../../../src/runtime/runtime.ts";
import { createSimulation } from "../../../src/runtime/simulated.ts";
import { SERVICE_OPTIONS, type ServiceOptions } from "../../../src/services.ts";
import { SUBSCRIPTION_OPTIONS } from "../../../src/subscription/options.ts";
import type { Process } from "../../support/process.ts";
import { createWorld, type World } from "../../support/world.ts";
import { Story } from "../exclusive/story.ts";
import { type Watch, Watcher } from "../exclusive/watcher.ts";
import { contentsOf, Judge, marksOf } from "./judge.ts";
import {
  childrenOf,
  drawShape,
  join,
  leave,
  modelOf,
  type ServerShape,
  type Shape,
  treeOf,
  type UserShape,
} from "./shape.ts";

/** What a test plants, over what every life has. */
export interface Planted {
  readonly database?: MemoryOptions;
  readonly services?: Partial<ServiceOptions>;
}

export interface Told {
  readonly faults: readonly string[];
  /** What happened to the user of the first fault. */
  readonly story: string;
  readonly tally: Readonly<Record<string, number>>;
  /** Of all that the network carried. */
  readonly fingerprint: string;
}

const ANEW_MS = 100;
const DOWN_PORT = 5070;
const STEPS = 24;
const LEASE_MS = 5_000;
/** Granted by servers, and asked for by proxies: short, so that what is forgotten is found out within a small world's life. */
const LONGEST = 80;
/** Of back-end subscriptions of servers, seconds. */
const BACK_END = 60;
/** So long after the last disturbance everything has to be right again. */
const CALM_MS = 150_000;
/** In this time nobody begins anything anew. */
const QUIET_MS = 35_000;
/** A NOTIFY that is lost is sent again so long that one of them comes through, at each of a few hops. */
const HEARD_MS = { peaceful: 1_000, lossy: 12_000 };
/** Where a NOTIFY may have come to nobody, as its sender or its receiver was away, its next refresh tells (RFC 6665 4.1.2.2). */
const REFRESHED_MS = 100_000;

/** So many new subscriptions of one pair within a second are no storm, however few servers there are. */
const LEAST_STORM = 100;
/** Of a world that is looked at between. */
const SLICE_MS = 1_000;
const MOST_FAULTS = 3;

interface Denial {
  readonly user: string;
  readonly watcher: string;
  readonly server: string;
  how: "403" | "pending";
}

/** One small world from its first to its last moment. Everything in it comes from the seed. */
export async function live(seed: number, planted: Planted = {}): Promise<Told> {
  const life = await Life.begin(seed, planted);
  try {
    await life.pass();
    await life.calm();
    await life.quiet();
    await life.end();
  } catch (error) {
    life.story.wrong("", `the world broke: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  }
  return {
    faults: life.story.faults,
    story: `${life.map()}\n${life.story.print()}`,
    tally: life.tally(),
    fingerprint: life.world.simulation.fingerprint,
  };
}

/** Whatever a server calls the user: it is told of the one. */
function canonical(name: string): string {
  return name.split(".")[0]!;
}

class UnionStory extends Story {
  override tell(user: string, what: string): void {
    super.tell(canonical(user), what);
  }

  override wrong(user: string, what: string): void {
    super.wrong(canonical(user), what);
  }
}

class Life {
  readonly world: World;
  readonly story: Story;
  readonly shape: Shape;
  readonly judge: Judge;
  readonly watchers: readonly Watcher[];
  readonly #clock: Timers;
  /** `server user`: the server has something to show of him. */
  readonly #has = new Set<string>();
  /** `server user`: it never heard of him, though he is configured to be there. */
  readonly #strangers = new Set<string>();
  /** `server user` -> the number of what it shows. */
  readonly #serials: Map<string, number>;
  readonly #denials: Denial[] = [];
  /** `user watcher` -> since when he is denied somewhere. */
  readonly #deniedSince = new Map<string, number>();
  /** And what servers showed then: `server user` -> its number. */
  readonly #shownBefore = new Map<string, ReadonlyMap<string, number>>();
  /** When he was let in again. */
  readonly #deniedAt = new Map<string, number>();
  /** `watcher user` -> where he watches him: a server of his, or null: by a proxy. */
  readonly #homes = new Map<string, string | null>();
  readonly #down = new Set<string>();
  /** Servers that stay down. */
  readonly #gone = new Set<string>();
  readonly #dead = new Set<string>();
  readonly #starting = new Set<string>();
  readonly #forgotten = new Map<string, number>();
  /** `server user`: it was not his from the start. */
  readonly #joined = new Set<string>();
  /** User -> when his servers were others last. */
  readonly #changedAt = new Map<string, number>();
  readonly #upAt = new Map<string, number>();
  /** Servers that told all watchers to subscribe anew, and when. */
  readonly #renewed = new Map<string, number>();
  readonly #sulked = new Map<Watcher, number>();
  readonly #killAt = new Map<Process, string>();
  readonly #ends: Array<{ readonly at: number; readonly end: () => void }> = [];
  #over = false;
  /** When somebody who was away came back last, or forgot what it knew. */
  #awayAt = Number.NEGATIVE_INFINITY;
  #away = false;
  #kills = 0;
  #changes = 0;
  #sessions = 0;
  #judged = 0;
  #whole = 0;

  static async begin(seed: number, planted: Planted): Promise<Life> {
    // Drawn before the world is made, from a chance of its own.
    const shape = drawShape(createSimulation({ seed: seed + 1_000_000 }).random, seed);
    const box: { life?: Life } = {};
    const serials = new Map<string, number>();
    const world = await createWorld({
      seed,
      proxies: 2,
      servers: Object.fromEntries(shape.servers.map((each) => [each.name, serverOptions(each, box, serials)])),
      each: Object.fromEntries(
        shape.servers.map(({ name, onward, preserves, identities }) => [
          name,
          { onward, preserves: preserves ? ["session-id" as const] : [], identities },
        ]),
      ),
      database: { latencyMs: [0, seed % 3 === 0 ? 0 : 4], ...planted.database },
      ...(shape.hasDownListener ? { downPort: DOWN_PORT } : {}),
      wireMs: [0, seed % 3 === 0 ? 1 : 6],
      services: {
        leaseMs: LEASE_MS,
        ...planted.services,
        subscriptions: {
          legs: { ...SUBSCRIPTION_OPTIONS.legs, expires: LONGEST, backOff: { firstMs: 1_000, mostMs: 8_000 } },
          ...SERVICE_OPTIONS.subscriptions,
          ...planted.services?.subscriptions,
        },
      },
      options: {
        health: { intervalMs: seed % 2 === 0 ? 0 : 12_000, failures: 3, timeoutMs: 2_000 },
        ...configurationOf(shape),
      },
      tap: {
        sent: (process, bytes, host, port) => box.life?.judge.left(process.name, bytes, `${host}:${port}`),
        asked: (process, method) => box.life?.asked(process, method),
        answered: () => undefined,
      },
    });
    const life = new Life(seed, world, shape, serials);
    box.life = life;
    return life;
  }

  private constructor(seed: number, world: World, shape: Shape, serials: Map<string, number>) {
    const { simulation } = world;
    this.world = world;
    this.shape = shape;
    this.#serials = serials;
    this.#clock = simulation.runtime(["127.0.0.202"]).timers;
    this.story = new UnionStory(() => simulation.now);
    this.judge = new Judge(this.story, {
      get now() {
        return simulation.now;
      },
      deniedSince: (user, watcher) => {
        const name = watcher.split("@")[0]!;
        // His server acts on its own where it is not one of the user's any more.
        const home = this.#homes.get(`${name} ${user}`) ?? null;
        if (home !== null && this.legs(home, user, "own") === 0) return undefined;
        const begun = this.#deniedSince.get(`${user} ${name}`);
        if (begun === undefined) return undefined;
        // And asks others only since it was configured so.
        const since = Math.max(begun, home === null ? 0 : (this.#renewed.get(home) ?? 0) + 1);
        // Who is down cannot say that he denies him from now on.
        const able = this.#denials
          .filter((each) => each.user === user && each.watcher === name && this.#isIn(each))
          .map(({ server }) => (this.#down.has(server) ? Infinity : (this.#upAt.get(server) ?? 0)));
        return {
          since,
          able: Math.min(...able),
          sharer: home !== null && !this.#shapeOf(home).passes ? home : null,
          wasShown: (mark) => {
            const [server = "", serial] = mark.split(" ");
            return Number(serial) <= (this.#shownBefore.get(`${user} ${name}`)?.get(`${server} ${user}`) ?? 0);
          },
        };
      },
      canonical: (user) => this.canonical(user),
      heardBy: (at) => this.#heardBy(at),
      // Eight of one watcher may come up from each server (docs/unioned.md, "Limits"), and each asks all of them.
      mostAtOnce: Math.max(LEAST_STORM, 8 * shape.servers.length ** 2),
      mayEnd: (watcher, watch) => this.#mayEnd(watcher, watch),
      isOtherwise: (watch) => (this.#changedAt.get(this.canonical(watch.user)) ?? -1) >= watch.begun,
      // RFC 6665 4.1.3: at once.
      anew: (watcher, watch) =>
        this.#clock.after(ANEW_MS, () => {
          if (!this.#over) this.#subscribe(watcher, canonical(watch.user), watch.expires);
        }),
    });
    this.watchers = shape.watchers.map((name, index) => {
      const box: { watcher?: Watcher } = {};
      const client = world.client(`127.0.1.${1 + index}`, (transaction) => box.watcher!.handle(transaction));
      box.watcher = new Watcher(`${name}@example.com`, client, simulation, this.story, this.judge);
      return box.watcher;
    });
    for (const user of shape.users) {
      for (const server of user.servers) {
        if (this.#shapeOf(server).back === null && !this.#chance(7)) this.#give(server, user.user);
        else this.#strangers.add(`${server} ${user.user}`);
      }
      for (const watcher of shape.watchers) {
        const homes = user.servers.filter((server) => this.#mayBeHome(user, server));
        const home = homes.length > 0 && this.#chance(55) ? this.#pick(homes) : null;
        this.#homes.set(`${watcher} ${user.user}`, home);
      }
    }
    for (const [key, how] of shape.denials) {
      const [user, watcher, server] = key.split(" ") as [string, string, string];
      this.#denials.push({ user, watcher, server, how });
    }
    for (const server of Object.values(world.servers)) {
      server.policy = (watcher, user) => this.#policy(server.name, watcher, this.canonical(user));
    }
    this.#lookAtDenials();
    if (!shape.peaceful) {
      simulation.faults({
        delay: [0.5, 8],
        loss: [0, 0.02, 0.05, 0.1][seed % 4]!,
        duplicate: 0.02,
        reorder: 0.03,
        reorderDelay: 40,
      });
    }
  }

  /** The shape of the world, for who reads its story. */
  map(): string {
    const lines = this.shape.hasDownListener ? ["with a listener for what goes down"] : [];
    const described = this.shape.servers.map((each, i) => {
      const { name, onward, passes, preserves, asItself, dropsMarks, twice, back } = each;
      const more = { passes, preserves, asItself, dropsMarks, twice };
      const what = Object.entries(more).flatMap(([key, value]) => (value ? [key] : []));
      return `${name} 127.0.0.${11 + i} onward ${onward} ${what.join(" ")}${back === null ? "" : ` sends back: ${back}`}`;
    });
    lines.push(...described);
    for (const user of this.shape.users) {
      const parents = [...user.parents].map(([child, parent]) => `${parent}>${child}`);
      const has = user.servers.filter((server) => this.#has.has(`${server} ${user.user}`));
      lines.push(
        `${user.user} ${user.style} on ${user.servers.join(" ")} ${parents.join(" ")}; known to ${has.join(" ")}`,
      );
    }
    for (const [pair, home] of this.#homes) lines.push(`${pair} by ${home ?? "a proxy"}`);
    for (const { user, watcher, server, how } of this.#denials)
      lines.push(`${watcher} is denied ${user} at ${server}: ${how}`);
    return lines.join("\n");
  }

  canonical(name: string): string {
    return canonical(name);
  }

  async pass(): Promise<void> {
    const { simulation } = this.world;
    for (const watcher of this.watchers) {
      for (const { user } of this.shape.users) if (this.#chance(80)) this.#subscribe(watcher, user);
    }
    const ways = this.shape.peaceful ? PEACEFUL : [...PEACEFUL, ...CHANGES, ...TROUBLE];
    for (let step = 0; step < STEPS; step++) {
      this.#pick(ways)(this);
      await this.#advance(this.#draw(this.#chance(40) ? 60 : 3_000));
      for (const each of this.#ends.splice(0)) {
        if (each.at <= simulation.now) each.end();
        else this.#ends.push(each);
      }
    }
    for (const { end } of this.#ends.splice(0)) end();
  }

  /** Everything works again, and time passes: then everybody is shown what is. */
  async calm(): Promise<void> {
    const { world, story } = this;
    const { simulation } = world;
    story.tell("", "=== calm");
    if (this.#isSomebodyAway()) this.#awayAt = simulation.now;
    this.#killAt.clear();
    simulation.faults({ loss: 0, duplicate: 0, reorder: 0 });
    world.database.setAway(false);
    world.database.loseNextAnswers(0);
    this.#away = false;
    for (const proxy of world.proxies) if (proxy.process.paused) proxy.process.resume();
    for (const host of [...this.#dead]) await simulation.finish(this.#restart(host));
    for (const server of [...this.#down]) if (!this.#gone.has(server)) this.#up(server);
    for (const watcher of this.watchers) watcher.ignoring = null;
    // Twice: what was sent into the trouble may fail in the calm.
    for (const ms of [20_000, 60_000]) {
      await this.#advance(ms);
      for (const watcher of this.watchers) {
        for (const { user } of this.shape.users) this.#subscribe(watcher, user);
      }
    }
    await this.#advance(CALM_MS - 80_000);
    for (const watcher of this.watchers) watcher.calm = true;
    this.#judge();
  }

  /** Once nothing changes nobody asks anybody anew, and what is shown stays right. */
  async quiet(): Promise<void> {
    this.judge.newTargets();
    for (const server of this.shape.servers) {
      if (this.#down.has(server.name)) continue;
      for (const { user } of this.shape.users) if (this.#chance(30)) this.#show(server.name, user);
    }
    await this.#advance(QUIET_MS);
    for (const [pair, targets] of this.judge.newTargets()) {
      const [, user] = pair.split(" ") as [string, string];
      // Whoever does not know the user is asked again now and then: he may get to know him.
      const known = this.#userShape(user).servers.filter((server) => this.#has.has(`${server} ${user}`));
      const asked = known.filter((name) => !this.#down.has(name) && targets.includes(`${this.#hostOf(name)}:5060`));
      if (asked.length > 0) {
        this.story.wrong(user, `nothing has changed, and for ${pair} ${asked.join(", ")} were asked anew`);
      }
    }
    this.#judge();
  }

  /** Everybody stops: nothing is left. */
  async end(): Promise<void> {
    const { world, story } = this;
    const { simulation } = world;
    story.tell("", "=== end");
    this.#over = true;
    for (const server of [...this.#down]) this.#up(server);
    const ended = this.watchers.flatMap((watcher) => watcher.live.map((watch) => ({ watcher, watch })));
    await simulation.finish(Promise.all(ended.map(({ watcher, watch }) => watcher.refresh(watch, 0))));
    await this.#advance(5_000);
    for (const { watch } of ended) {
      if (watch.state === "live") story.wrong(this.canonical(watch.user), `${watch.id}: ended, and was not told so`);
    }
    for (const line of await world.leftOver()) if (!line.includes("transactions")) story.wrong("", `left: ${line}`);
    await this.#advance(LONGEST * 1_000);
    for (const server of Object.values(world.servers)) {
      if (server.live > 0) story.wrong("", `left: ${server.live} subscriptions at ${server.name}`);
    }
    for (const table of ["subscriptions", "visited", "credits"]) {
      const rows = world.database.rows(table);
      if (rows.length > 0) story.wrong("", `left: ${rows.length} rows of ${table}, ${rows[0]![0]}`);
    }
    for (const { process, services, host } of world.proxies) {
      if (!process.alive) continue;
      const { size, leftovers } = services.subscriptions;
      if (size + leftovers > 0) story.wrong("", `left: ${size} subscriptions and ${leftovers} leftovers at ${host}`);
    }
    for (const watcher of this.watchers) watcher.stop();
    await world.stop();
  }

  tally(): Record<string, number> {
    const answers = this.watchers.flatMap((watcher) => watcher.answers);
    return {
      packets: this.judge.packets,
      watches: this.watchers.reduce((sum, watcher) => sum + watcher.watches.length, 0),
      accepted: answers.filter((status) => status >= 200 && status < 300).length,
      documents: this.judge.documents,
      begun: this.judge.begun,
      loops: this.judge.loops,
      judged: this.#judged,
      whole: this.#whole,
      most: this.judge.most,
      burst: this.judge.burst,
      kills: this.#kills,
      changes: this.#changes,
    };
  }

  /** Every live watch shows what there is to be shown; the same to all of one user's watchers. */
  #judge(): void {
    const seen = new Map<string, { readonly id: string; readonly contents: string }>();
    for (const watcher of this.watchers) {
      for (const watch of watcher.watches) {
        if (watch.state === "over" || watch.ending) continue;
        const user = this.canonical(watch.user);
        if (watch.state === "asked") {
          this.story.wrong(user, `${watch.id}: was never answered`);
          continue;
        }
        this.#judged++;
        this.#judgeOne(watcher, watch, this.#userShape(user), seen);
      }
      for (const user of this.shape.users) this.#judgeNone(watcher, user);
    }
  }

  /** Who asked when everything worked has what he asked for, or was told why not. */
  #judgeNone(watcher: Watcher, user: UserShape): void {
    const name = watcher.aor.split("@")[0]!;
    const home = this.#homes.get(`${name} ${user.user}`) ?? null;
    const asked = home === null ? user.user : this.#localName(home, user.user);
    if (isWatching(watcher, asked) || (home !== null && !this.#asksOthers(user, home))) return;
    if (this.#denials.some((each) => each.user === user.user && each.watcher === name && this.#isIn(each))) return;
    const last = watcher.watches.findLast((watch) => watch.user === asked && !watch.ending);
    const hidden = this.#hidden(user);
    const known = user.servers.filter((server) => this.#has.has(`${server} ${user.user}`) && !hidden.has(server));
    if (known.length === 0 && home === null) return;
    this.story.wrong(user.user, `${last?.id} is over (${watcher.answers.at(-1)}), though ${known.join(", ")} know him`);
  }

  #judgeOne(
    watcher: Watcher,
    watch: Watch,
    user: UserShape,
    seen: Map<string, { readonly id: string; readonly contents: string }>,
  ): void {
    const { id, shown } = watch;
    const name = watcher.aor.split("@")[0]!;
    const home = this.#homes.get(`${name} ${user.user}`) ?? null;
    if (home !== null && !this.#asksOthers(user, home)) return;
    const denial = this.#denials.find((each) => each.user === user.user && each.watcher === name && this.#isIn(each));
    if (denial !== undefined && !this.#down.has(denial.server)) {
      if (denial.how === "403") this.story.wrong(user.user, `${id} lives, though ${denial.server} denies him`);
      return;
    }
    const away = this.#unreachable(user);
    const hidden = this.#hidden(user);
    const lost = (server: string): boolean => away.has(server) || hidden.has(server);
    const wanted = user.servers.filter((server) => this.#has.has(`${server} ${user.user}`) && !lost(server));
    const allowed = new Set([...wanted, ...away, ...hidden, ...(home === null ? [] : [home])]);
    if (!watch.active) {
      // Nobody may be shown anything as long as somebody who might deny it cannot be asked.
      if (away.size === 0 && denial === undefined)
        this.story.wrong(user.user, `${id} is pending, though all can be asked`);
      return;
    }
    const marks = marksOf(shown?.body ?? "");
    if (this.#mayBeDark(user)) return;
    // His server went on by itself, and now that it asks again one cannot be asked.
    if (away.size > 0 && marks.every((mark) => mark.split(" ")[0] === home)) return;
    const wrong = [
      ...wanted.filter((server) => marks.filter((mark) => mark === this.#markOf(server, user.user)).length !== 1),
      ...marks.filter((mark) => !allowed.has(mark.split(" ")[0]!)),
      ...marks.filter((mark, i) => marks.findIndex((other) => other.split(" ")[0] === mark.split(" ")[0]) < i),
    ];
    if (wrong.length > 0) {
      const is = wanted.map((server) => this.#markOf(server, user.user)).join(", ");
      const sees = shown === undefined ? "nothing" : marks.join(", ");
      this.story.wrong(user.user, `${id} (by ${home ?? "a proxy"}) is shown ${sees}, and there is ${is}`);
      return;
    }
    this.#whole++;
    if (away.size + hidden.size > 0 || (home !== null && !wanted.includes(home))) return;
    const contents = contentsOf(shown?.body ?? "");
    const other = seen.get(user.user);
    if (other === undefined) seen.set(user.user, { id, contents });
    else if (other.contents !== contents) {
      this.story.wrong(user.user, `${id} and ${other.id} see different things:\n${contents}\n---\n${other.contents}`);
    }
  }

  /** Servers that stay down, and in a tree what only they lead to. */
  #unreachable(user: UserShape): ReadonlySet<string> {
    return this.#below(user, (server) => this.#gone.has(server));
  }

  /** In a tree what only servers lead to that do not know the user, and are said to send on what they are sent. */
  #hidden(user: UserShape): ReadonlySet<string> {
    return this.#below(user, (server) => {
      const { onward } = this.#shapeOf(server);
      return (
        user.style === "tree" &&
        (onward === "children" || onward === "both") &&
        !this.#has.has(`${server} ${user.user}`)
      );
    });
  }

  /**
   * Nothing is shown where one that may deny cannot be asked and never could be: it joined when it was down, or whoever leads
   * to it had to ask anew.
   */
  #mayBeDark(user: UserShape): boolean {
    const fansOut = (server: string): boolean => ["children", "both"].includes(this.#shapeOf(server).onward);
    const isUnder = (server: string): boolean => {
      const parent = user.parents.get(server);
      return parent !== undefined && (fansOut(parent) || isUnder(parent));
    };
    return user.servers.some(
      (server) => this.#gone.has(server) && (this.#joined.has(`${server} ${user.user}`) || isUnder(server)),
    );
  }

  #below(user: UserShape, isLost: (server: string) => boolean): ReadonlySet<string> {
    const found = new Set<string>();
    for (const server of user.servers) {
      const parent = user.parents.get(server);
      if (isLost(server) || (parent !== undefined && found.has(parent))) found.add(server);
    }
    return found;
  }

  /** Later than at once only where something was away, or lost what it knew, since a refresh before. */
  #heardBy(at: number): number {
    if (this.#isSomebodyAway()) return Number.POSITIVE_INFINITY;
    return Math.max(at + HEARD_MS[this.shape.peaceful ? "peaceful" : "lossy"], this.#awayAt + REFRESHED_MS);
  }

  #isSomebodyAway(): boolean {
    if (this.#away || this.world.proxies.some(({ process }) => !process.alive || process.paused)) return true;
    return [...this.#down].some((server) => !this.#gone.has(server));
  }

  #mayEnd(watcher: Watcher, watch: Watch): boolean {
    const name = watcher.aor.split("@")[0]!;
    const user = this.canonical(watch.user);
    const home = this.#homes.get(`${name} ${user}`) ?? null;
    const denied = this.#deniedAt.get(`${user} ${name}`) ?? -Infinity;
    if (denied + REFRESHED_MS > this.world.simulation.now) return true;
    if (this.#denials.some((each) => each.user === user && each.watcher === name)) return true;
    // RFC 6665 4.2.2: who does not answer has no subscription, half a minute later; and may not have heard of an end.
    const sulked = (this.#sulked.get(watcher) ?? -Infinity) + 60_000 > this.world.simulation.now;
    if (home === null) return sulked;
    const lost = Math.max(this.#forgotten.get(home) ?? -1, this.#renewed.get(home) ?? -1) >= watch.begun;
    return sulked || lost || this.#down.has(home);
  }

  #isIn({ user, server }: Denial): boolean {
    return this.#userShape(user).servers.includes(server) && this.#has.has(`${server} ${user}`);
  }

  /** His server is there, and asks others on behalf of its users. */
  #asksOthers(user: UserShape, home: string): boolean {
    return !this.#down.has(home) && this.legs(home, user.user, "own") > 0;
  }

  #lookAtDenials(): void {
    const { now } = this.world.simulation;
    const pairs = new Set(
      this.#denials.filter((each) => this.#isIn(each)).map(({ user, watcher }) => `${user} ${watcher}`),
    );
    for (const pair of [...this.#deniedSince.keys()]) if (!pairs.has(pair)) this.#deniedSince.delete(pair);
    for (const pair of pairs) {
      if (this.#deniedSince.has(pair)) continue;
      this.#deniedSince.set(pair, now);
      this.#shownBefore.set(pair, new Map(this.#serials));
    }
  }

  #policy(server: string, watcher: string, user: string): "active" | "pending" | "rejected" {
    const name = watcher.replace(/^sips?:/, "").split("@")[0]!;
    const denial = this.#denials.find((each) => each.server === server && each.user === user && each.watcher === name);
    if (denial === undefined) return "active";
    return denial.how === "403" ? "rejected" : "pending";
  }

  #userShape(user: string): UserShape {
    return this.shape.users.find((each) => each.user === user)!;
  }

  #shapeOf(server: string): ServerShape {
    return this.shape.servers.find((each) => each.name === server)!;
  }

  #server(name: string): ExampleServer {
    return this.world.servers[name]!;
  }

  #localName(server: string, user: string): string {
    return this.#shapeOf(server).identities[`${user}@example.com`] ?? user;
  }

  #markOf(server: string, user: string): string {
    return `${server} ${this.#serials.get(`${server} ${user}`) ?? 0}`;
  }

  #give(server: string, user: string): void {
    this.#has.add(`${server} ${user}`);
    this.#server(server).hold(this.#localName(server, user));
    this.#show(server, user);
  }

  #show(server: string, user: string): void {
    if (!this.#has.has(`${server} ${user}`)) return;
    this.story.tell(user, `${server}: has something new to show`);
    this.#server(server).show(this.#localName(server, user), this.#chance(70) ? "open" : "closed");
    const serial = this.#serials.get(server)!;
    this.#serials.set(`${server} ${user}`, serial);
  }

  /** Such a server asks the others for its own users. */
  #mayBeHome(user: UserShape, server: string): boolean {
    if (!this.#has.has(`${server} ${user.user}`)) return false;
    return this.legs(server, this.#localName(server, user.user), "own") > 0;
  }

  /** How many back-end subscriptions a server makes for what it was sent, as it is configured. */
  legs(server: string, localName: string, from: "own" | "asked"): number {
    const user = this.shape.users.find((each) => each.user === this.canonical(localName));
    const { onward, twice, back } = this.#shapeOf(server);
    if (user === undefined || back !== null || !user.servers.includes(server)) return 0;
    const times = twice ? 2 : 1;
    if (user.style === "peer") return onward === "none" || (onward === "up" && from === "asked") ? 0 : times;
    if (from === "own" && user.parents.has(server)) return onward === "up" || onward === "both" ? times : 0;
    return onward === "children" || onward === "both" ? childrenOf(user, server).length * times : 0;
  }

  #subscribe(watcher: Watcher, user: string, expires = this.#pick([40, 50, 60])): void {
    const name = watcher.aor.split("@")[0]!;
    const home = this.#homes.get(`${name} ${user}`) ?? null;
    const asked = home === null ? user : this.#localName(home, user);
    if (isWatching(watcher, asked)) return;
    const host = home === null ? this.#proxyHost() : this.#hostOf(home);
    const session = (++this.#sessions).toString(16).padStart(32, "0");
    void watcher.subscribe(asked, host, expires, [["Session-ID", `${session};remote=${"0".repeat(32)}`]]);
  }

  #hostOf(server: string): string {
    return `127.0.0.${11 + this.shape.servers.findIndex(({ name }) => name === server)}`;
  }

  proxyAddress(): string {
    const living = this.world.proxies.filter((proxy) => proxy.process.alive && !proxy.process.paused);
    return (living[0] ?? this.world.proxies[0]!).host;
  }

  /** Where servers send what they ask for their own users, and for who asked them. */
  port(from: "own" | "asked"): number {
    return from === "asked" && this.shape.hasDownListener ? DOWN_PORT : 5060;
  }

  async #restart(host: string): Promise<void> {
    if (this.#starting.has(host)) return;
    this.#starting.add(host);
    this.#dead.delete(host);
    this.story.tell("", `${host} starts again`);
    await this.world.restart(host).catch((error: Error) => {
      this.story.tell("", `${host} did not start: ${error.message}`);
      this.#dead.add(host);
    });
    this.#starting.delete(host);
    this.#awayAt = this.world.simulation.now;
  }

  #cut(): void {
    const { simulation } = this.world;
    simulation.heal();
    if (this.#down.size === 0) return;
    const others = [
      ...this.world.proxies.map(({ host }) => host),
      ...this.shape.servers.filter(({ name }) => !this.#down.has(name)).map(({ name }) => this.#hostOf(name)),
      ...this.watchers.map(({ client }) => client.host),
    ];
    simulation.partition([others, ...[...this.#down].map((server) => [this.#hostOf(server)])]);
  }

  #up(server: string): void {
    this.#down.delete(server);
    this.#gone.delete(server);
    this.#upAt.set(server, this.world.simulation.now);
    this.#awayAt = this.world.simulation.now;
    this.story.tell("", `${server} is there again`);
    this.#cut();
  }

  /** A world in which too much is wrong already is not watched any further: storms last. */
  async #advance(ms: number): Promise<void> {
    const { simulation } = this.world;
    const end = simulation.now + ms;
    while (simulation.now < end) {
      await simulation.advance(Math.min(SLICE_MS, end - simulation.now));
      if (this.story.faults.length > MOST_FAULTS) throw new Error("too much is wrong");
    }
  }

  // What may happen, below; each a line of PEACEFUL, CHANGES or TROUBLE.

  subscribe(): void {
    this.#subscribe(this.#pick(this.watchers), this.#pick(this.shape.users).user);
  }

  fetch(): void {
    const watcher = this.#pick(this.watchers);
    this.#subscribe(watcher, this.#pick(this.shape.users).user, 0);
  }

  unsubscribe(): void {
    const watcher = this.#pick(this.watchers);
    const watch = watcher.live[this.#draw(watcher.live.length)];
    if (watch === undefined) return;
    const what = this.#draw(3);
    if (what === 0) void watcher.refresh(watch, 0);
    else if (what === 1) watcher.forget(watch, this.#chance(50));
    else void watcher.refresh(watch, watch.expires);
  }

  sulk(): void {
    const watcher = this.#pick(this.watchers);
    watcher.ignoring = this.#pick([0, 408, 500, 503]);
    this.#sulked.set(watcher, this.world.simulation.now);
    this.#until(this.#draw(10_000), () => {
      watcher.ignoring = null;
    });
  }

  show(): void {
    const user = this.#pick(this.shape.users);
    this.#show(this.#pick(user.servers), user.user);
  }

  policy(): void {
    const user = this.#pick(this.shape.users);
    const server = this.#pick(user.servers);
    if (!this.#has.has(`${server} ${user.user}`)) return;
    const watcher = this.#pick(this.shape.watchers);
    const known = this.#denials.findIndex((each) => each.user === user.user && each.watcher === watcher);
    if (known >= 0) {
      const [gone] = this.#denials.splice(known, 1);
      this.#deniedAt.set(`${user.user} ${watcher}`, this.world.simulation.now);
      this.story.tell(user.user, `${gone!.server} lets ${watcher} in`);
      this.#server(gone!.server).reconsider();
    } else {
      this.#denials.push({ user: user.user, watcher, server, how: "403" });
      this.story.tell(user.user, `${server} denies ${watcher}`);
      this.#server(server).reconsider();
    }
    this.#lookAtDenials();
  }

  configure(): void {
    const user = this.#pick(this.shape.users);
    const outside = this.shape.servers.filter(({ name }) => !user.servers.includes(name));
    const known = user.servers.filter((server) => this.#has.has(`${server} ${user.user}`));
    const asking = this.shape.servers.map(({ name }) => this.#asking(name, user.user));
    const chosen = this.#chance(50) ? undefined : outside[this.#draw(outside.length)];
    if (chosen === undefined) {
      if (user.servers.length < 2) return;
      const server = this.#pick(user.servers);
      this.story.tell("", `${user.user} leaves ${server}`);
      leave(user, server);
    } else {
      this.story.tell("", `${user.user} joins ${chosen.name}`);
      this.#joined.add(`${chosen.name} ${user.user}`);
      join(user, chosen.name, this.#pick(user.servers));
      const key = `${chosen.name} ${user.user}`;
      if (chosen.back === null && !this.#strangers.has(key)) this.#give(chosen.name, user.user);
    }
    this.#changes++;
    this.#changedAt.set(user.user, this.world.simulation.now);
    this.#lookAtDenials();
    this.world.configure(configurationOf(this.shape));
    // Servers are reconfigured with it: who asks others now, or no more, has its watchers subscribe anew.
    for (const [i, { name }] of this.shape.servers.entries()) {
      // Who was told that there is nobody to be asked (noresource) does not ask again by itself.
      const wasAlone = chosen !== undefined && !known.some((other) => other !== name);
      if (this.#asking(name, user.user) === asking[i] && !wasAlone) continue;
      this.#renewed.set(name, this.world.simulation.now);
      this.#server(name).renew(this.#localName(name, user.user));
    }
  }

  #asking(server: string, user: string): string {
    return `${this.legs(server, user, "own")} ${this.legs(server, user, "asked")}`;
  }

  forgetful(): void {
    const server = this.#pick(this.shape.servers).name;
    this.story.tell("", `${server} forgets its dialogs`);
    this.#forgotten.set(server, this.world.simulation.now);
    this.#awayAt = this.world.simulation.now;
    this.#server(server).forget();
  }

  serverDown(): void {
    const server = this.#pick(this.shape.servers).name;
    if (this.#down.has(server)) return;
    this.story.tell("", `${server} is gone`);
    this.#down.add(server);
    this.#awayAt = this.world.simulation.now;
    if (this.#gone.size === 0 && this.#chance(12)) this.#gone.add(server);
    this.#cut();
    this.#until(this.#draw(20_000), () => {
      if (this.#down.has(server) && !this.#gone.has(server)) this.#up(server);
    });
  }

  kill(): void {
    const living = this.world.proxies.filter((proxy) => proxy.process.alive);
    if (living.length < 2 && !this.#chance(20)) return;
    const proxy = this.#pick(living);
    if (proxy === undefined || this.#starting.has(proxy.host)) return;
    if (this.#chance(40)) {
      this.#killAt.set(
        proxy.process,
        this.#pick(["enter", "insert", "update", "take", "visit", "leave", "grant", "spend"]),
      );
      return;
    }
    this.#killNow(proxy);
  }

  #killNow(proxy: World["proxies"][number]): void {
    if (!proxy.process.alive) return;
    this.#kills++;
    this.judge.someoneDied = true;
    this.story.tell("", `${proxy.process.name} is killed`);
    proxy.kill();
    this.#dead.add(proxy.host);
  }

  restart(): void {
    const [host] = this.#dead;
    if (host !== undefined && !this.#away) void this.#restart(host);
  }

  /** A statement of this kind has left a proxy for the database. */
  asked(process: Process, method: string): void {
    if (this.#killAt.get(process) !== method) return;
    this.#killAt.clear();
    const proxy = this.world.proxies.find((each) => each.process === process);
    if (proxy !== undefined) this.#clock.soon(() => this.#killNow(proxy));
  }

  freeze(): void {
    const proxy = this.#pick(this.world.proxies.filter((each) => each.process.alive));
    if (proxy === undefined || proxy.process.paused || this.#starting.has(proxy.host)) return;
    const { process } = proxy;
    this.story.tell("", `${process.name} is paused`);
    process.pause();
    this.#until(this.#pick([500, LEASE_MS - 300, LEASE_MS + 500, 3 * LEASE_MS]), () => {
      if (!process.alive || !process.paused) return;
      this.#awayAt = this.world.simulation.now;
      this.story.tell("", `${process.name} goes on`);
      process.resume();
    });
  }

  away(): void {
    if (this.#away) return;
    this.#away = true;
    this.story.tell("", "the database goes away");
    this.world.database.setAway(true);
    this.#until(this.#pick([300, 2_000, LEASE_MS + 1_000]), () => {
      this.#away = false;
      this.#awayAt = this.world.simulation.now;
      this.story.tell("", "the database is back");
      this.world.database.setAway(false);
    });
  }

  loseAnswers(): void {
    this.world.database.loseNextAnswers(1 + this.#draw(3));
  }

  #until(ms: number, end: () => void): void {
    this.#ends.push({ at: this.world.simulation.now + ms, end });
  }

  #proxyHost(): string {
    const living = this.world.proxies.filter((proxy) => proxy.process.alive);
    return this.#pick(living.length === 0 || this.#chance(5) ? this.world.proxies : living).host;
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#draw(from.length)]!;
  }

  #chance(percent: number): boolean {
    return this.#draw(100) < percent;
  }

  #draw(below: number): number {
    return below <= 1 ? 0 : this.world.simulation.random.integer(below);
  }
}

/** Or about to; a look is none. */
function isWatching(watcher: Watcher, user: string): boolean {
  return watcher.watches.some((watch) => watch.user === user && watch.state !== "over" && !watch.ending);
}

function serverOptions(
  shape: ServerShape,
  box: { life?: Life },
  serials: Map<string, number>,
): Partial<ExampleServerOptions> {
  const { name, passes, asItself, dropsMarks, back } = shape;
  return {
    onUnknown: back ?? "404",
    longest: LONGEST,
    // Who drops marks leaves elements as they are: equal ids would be renamed before that.
    ...(dropsMarks ? { tuple: name } : {}),
    serial: () => {
      serials.set(name, (serials.get(name) ?? 0) + 1);
      return serials.get(name)!;
    },
    onward: {
      legs: (user, from) => box.life?.legs(name, user, from) ?? 0,
      proxies: [
        { host: "127.0.0.1", port: 5060 },
        { host: "127.0.0.2", port: 5060 },
      ],
      to: (from) => ({ host: box.life?.proxyAddress() ?? "127.0.0.1", port: box.life?.port(from) ?? 5060 }),
      passes,
      asItself,
      dropsMarks,
      expires: BACK_END,
    },
  };
}

function configurationOf({ users, hasDownListener }: Shape): Pick<ProxyOptions, "models" | "unions"> {
  return {
    models: users.map((each) => ({ match: `${each.user}@example.com`, model: modelOf(each) })),
    unions: {
      trees: users.filter(({ style }) => style === "tree").map(treeOf),
      downListener: hasDownListener,
      unreachable: "wait",
    },
  };
}

type Way = (life: Life) => void;

const PEACEFUL: readonly Way[] = [
  (life) => life.subscribe(),
  (life) => life.subscribe(),
  (life) => life.fetch(),
  (life) => life.unsubscribe(),
  (life) => life.unsubscribe(),
  (life) => life.show(),
  (life) => life.show(),
  (life) => life.show(),
  (life) => life.policy(),
  (life) => life.sulk(),
];

const CHANGES: readonly Way[] = [(life) => life.configure(), (life) => life.configure()];

const TROUBLE: readonly Way[] = [
  (life) => life.forgetful(),
  (life) => life.serverDown(),
  (life) => life.serverDown(),
  (life) => life.kill(),
  (life) => life.restart(),
  (life) => life.restart(),
  (life) => life.freeze(),
  (life) => life.away(),
  (life) => life.loseAnswers(),
];
