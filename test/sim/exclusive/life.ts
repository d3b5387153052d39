import type { MemoryOptions } from "../../../src/directory/memory-store.ts";
import type { ProxyOptions } from "../../../src/proxy/options.ts";
import type { Timers } from "../../../src/runtime/runtime.ts";
import type { ServiceOptions } from "../../../src/services.ts";
import { buildResponse } from "../../../src/sip/message/build.ts";
import type { Process } from "../../support/process.ts";
import { type Client, createWorld, type Outgoing, type World } from "../../support/world.ts";
import { Observer } from "./observer.ts";
import { PresenceServer } from "./server.ts";
import { Story } from "./story.ts";
import { type Watch, Watcher } from "./watcher.ts";

/** What a test plants, over what every life has. */
export interface Planted {
  readonly database?: MemoryOptions;
  readonly services?: Partial<ServiceOptions>;
  readonly proxy?: Partial<ProxyOptions>;
  /** True: nobody dies, sleeps, or loses an answer of the database; users move and watchers come and go all the same. */
  readonly peaceful?: boolean;
}

export interface Told {
  readonly faults: readonly string[];
  /** What happened to the user of the first fault. */
  readonly story: string;
  readonly tally: Readonly<Record<string, number>>;
  /** Of all that the network carried. */
  readonly fingerprint: string;
}

const USERS = ["ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal", "ida", "jon", "kim", "lou"];
const PLACES = ["east", "west", "north", "south"] as const;
const WATCHERS = ["wendy", "will", "wim", "wanda"];
const STEPS = 60;
/** Leases are short here, so that taking over fits into a small world's life. */
export const LEASE_MS = 5_000;
/** So long after the last disturbance everything has to be right again. */
const CALM_MS = 60_000;
const FRESH_MS = 20_000;
/** Within this time every proxy has heard of what another has done, where nothing is in its way. */
const HEARD_MS = 2_000;

interface SentMessage {
  readonly user: string;
  readonly sender: string;
  readonly text: string;
  readonly sent: Outgoing;
  readonly at: number;
  /** When it was answered. */
  answeredAt: number;
  /** The last moment before it was sent at which proxies could not hear of one another. */
  readonly deafAt: number;
}

/** One small world from its first to its last moment. Everything in it comes from the seed. */
export async function live(seed: number, planted: Planted = {}): Promise<Told> {
  const life = await Life.begin(seed, planted);
  try {
    await life.pass();
    await life.calm();
    await life.end();
  } catch (error) {
    life.story.wrong("", `the world broke: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  }
  return {
    faults: life.story.faults,
    story: life.story.print(),
    tally: life.tally(),
    fingerprint: life.world.simulation.fingerprint,
  };
}

class Life {
  readonly world: World;
  readonly story: Story;
  readonly observer: Observer;
  readonly users: readonly string[];
  readonly servers: readonly PresenceServer[];
  readonly watchers: readonly Watcher[];
  readonly #seed: number;
  readonly #peaceful: boolean;
  readonly #senders: readonly Client[];
  readonly #messages: SentMessage[] = [];
  readonly #ends: Array<{ readonly at: number; readonly end: () => void }> = [];
  readonly #starting = new Set<string>();
  readonly #down = new Set<string>();
  /** Proxies that stay dead. */
  readonly #dead = new Set<string>();
  /** Of a machine that stands aside. */
  readonly #clock: Timers;
  readonly #killAt = new Map<Process, string>();
  readonly #pauseAt = new Map<Process, string>();
  /** Messages, as users read them. */
  readonly #read: string[] = [];
  #away = false;
  #mayBeAway = true;
  #deafAt = 0;
  #kills = 0;
  #texts = 0;

  static async begin(seed: number, planted: Planted): Promise<Life> {
    const box: { life?: Life } = {};
    const owners: Array<readonly [string, string]> = [];
    const opened = (process: Process, method: string, value: unknown): void => {
      if (method !== "open" || typeof value !== "string") return;
      if (box.life === undefined) owners.push([value, process.name]);
      else box.life.observer.opened(value, process.name);
    };
    const world = await createWorld({
      seed,
      proxies: 2,
      servers: Object.fromEntries(
        PLACES.map((name) => [
          name,
          {
            script: (transaction) =>
              box.life?.server(name).handle(transaction) ??
              transaction.respond(buildResponse(transaction.request, 404)),
          },
        ]),
      ),
      each: { north: { identities: { "ann@example.com": "ann.north", "dan@example.com": "d4n" } } },
      database: { latencyMs: [0, seed % 3 === 0 ? 0 : 4], ...planted.database },
      wireMs: [0, seed % 3 === 0 ? 1 : 6],
      services: { leaseMs: LEASE_MS, ...planted.services },
      options: {
        models: [{ match: "*@example.com", model: { model: "exclusive", conflict: "takeover", refuseWith: 403 } }],
        absentMessages: "store",
        health: { intervalMs: seed % 2 === 0 ? 0 : 12_000, failures: 3, timeoutMs: 2_000 },
        ...planted.proxy,
      },
      tap: {
        sent: (process, bytes, host, port) => box.life?.observer.left(process.name, bytes, `${host}:${port}`),
        asked: (process, method) => box.life?.asked(process, method),
        answered: (process, method, value) => opened(process, method, value),
      },
    });
    const life = new Life(seed, world, planted.peaceful ?? false);
    box.life = life;
    for (const [owner, process] of owners) life.observer.opened(owner, process);
    await life.#settle();
    return life;
  }

  private constructor(seed: number, world: World, peaceful: boolean) {
    this.#seed = seed;
    this.#peaceful = peaceful;
    this.#clock = world.simulation.runtime(["127.0.0.202"]).timers;
    this.world = world;
    const { simulation } = world;
    this.story = new Story(() => simulation.now);
    this.users = USERS.slice(0, 2 + (seed % 11));
    const denies = new Set<string>();
    if (seed % 4 === 1) denies.add(`${this.users[0]} ${WATCHERS[0]}@example.com`);
    const denied = (userAt: string, watcher: string): boolean => {
      const [user, server] = userAt.split("@") as [string, string];
      return server === "south" && denies.has(`${user} ${watcher}`);
    };
    this.observer = new Observer(
      world.database,
      this.story,
      () => simulation.now,
      denied,
      (name) => ({
        host: `${world.scripted[name]!.host}:5060`,
        madeAt: (user, serial) => this.server(name).madeAt(user, serial),
      }),
    );
    this.servers = PLACES.map(
      (name, index) =>
        new PresenceServer(
          name,
          world.scripted[name]!,
          simulation,
          this.story,
          {
            identities: name === "north" ? { ann: "ann.north", dan: "d4n" } : {},
            denies: name === "south" ? denies : new Set(),
            strict: (seed + index) % 3 !== 0,
            ponders: (seed + index) % 5 === 0,
          },
          this.#read,
          this.observer,
        ),
    );
    this.watchers = WATCHERS.map((name, index) => {
      const box: { watcher?: Watcher } = {};
      const client = world.client(`127.0.1.${1 + index}`, (transaction) => box.watcher!.handle(transaction));
      box.watcher = new Watcher(`${name}@example.com`, client, simulation, this.story, this.observer);
      return box.watcher;
    });
    this.#senders = [0, 1].map((index) => world.client(`127.0.2.${1 + index}`));
  }

  server(name: string): PresenceServer {
    return this.servers[PLACES.indexOf(name as (typeof PLACES)[number])]!;
  }

  /** Everybody has a record; some are somewhere from the start. */
  async #settle(): Promise<void> {
    const { simulation, proxies } = this.world;
    const { directory } = proxies[0]!;
    for (const user of this.users) {
      const record = { aor: `${user}@example.com`, model: null, settings: {}, identities: {} };
      await simulation.finish(directory.putUser(record, "test"));
      if (this.#chance(60)) await simulation.finish(this.#login(user, this.#pick(this.servers), 3_600));
    }
    simulation.faults({
      delay: [0.5, 8],
      loss: [0, 0, 0.03, 0.1][this.#seed % 4]!,
      duplicate: 0.02,
      reorder: 0.03,
      reorderDelay: 40,
    });
  }

  async pass(): Promise<void> {
    const { simulation } = this.world;
    for (const watcher of this.watchers) {
      for (const user of this.users) {
        if (this.#chance(60)) void watcher.subscribe(user, this.#proxyHost(), this.#pick([40, 50, 60]));
      }
    }
    const ways = this.#peaceful ? PEACEFUL : [...PEACEFUL, ...TROUBLE];
    for (let step = 0; step < STEPS; step++) {
      if (!this.#peaceful && this.#seed % 5 === 0 && this.#chance(25)) this.loseAnswers();
      const what = this.#pick(ways);
      what(this);
      await simulation.advance(this.#below(this.#chance(30) ? 40 : 1_500));
      for (const each of this.#ends.splice(0)) {
        if (each.at <= simulation.now) each.end();
        else this.#ends.push(each);
      }
    }
    for (const { end } of this.#ends.splice(0)) end();
    // What passed each other unseen at the last moment is not made good by what comes after.
    for (let i = 0; i < 6; i++) this.meet();
    await simulation.advance(this.#below(20));
  }

  /** Everything works again, and time passes: then everybody is shown what is. */
  async calm(): Promise<void> {
    const { world, story } = this;
    const { simulation } = world;
    story.tell("", "=== calm");
    this.#killAt.clear();
    this.#pauseAt.clear();
    simulation.faults({ loss: 0, duplicate: 0, reorder: 0 });
    simulation.heal();
    world.database.setAway(false);
    world.database.loseNextAnswers(0);
    this.#away = false;
    for (const proxy of world.proxies) if (proxy.process.paused) proxy.process.resume();
    for (const host of this.#down) if (!this.#dead.has(host)) await simulation.finish(this.#restart(host));
    for (const server of this.servers) server.sick = false;
    for (const watcher of this.watchers) watcher.ignoring = null;
    await simulation.advance(FRESH_MS);
    // Where the directory has them they are logged in; nobody knows better than it.
    for (const user of this.users) this.#logInWhereBound(user);
    await simulation.advance(CALM_MS);
    for (const user of this.users) this.#logInWhereBound(user);
    await simulation.advance(FRESH_MS);
    for (const watcher of this.watchers) {
      watcher.calm = true;
      for (const watch of watcher.live) this.#judge(watcher, watch);
    }
    for (const user of this.users) this.#judgeLegs(user);
    const refreshes = this.watchers.flatMap((watcher) =>
      watcher.live.map((watch) => watcher.refresh(watch, watch.expires)),
    );
    await simulation.finish(Promise.all(refreshes));
  }

  /** Everybody stops: nothing is left. */
  async end(): Promise<void> {
    const { world, story } = this;
    const { simulation } = world;
    story.tell("", "=== end");
    this.#mayBeAway = false;
    // A proxy that stays dead would answer nobody, and what is stored would wait for good.
    const living = world.proxies.find(({ host }) => !this.#dead.has(host))!;
    for (const user of this.users) {
      if (this.observer.present(user).server === null)
        await simulation.finish(this.#login(user, this.servers[0]!, 3_600, living.host));
    }
    for (const user of this.users) this.#logInWhereBound(user);
    await simulation.advance(2 * FRESH_MS);
    const ended = this.watchers.flatMap((watcher) => watcher.live.map((watch) => ({ watcher, watch })));
    await simulation.finish(Promise.all(ended.map(({ watcher, watch }) => watcher.refresh(watch, 0))));
    await simulation.advance(5_000);
    for (const server of this.servers) {
      if (server.legs > 0) story.wrong("", `${server.name} has ${server.legs} legs, and nobody watches`);
    }
    for (const { watch } of ended) {
      if (watch.state === "live") story.wrong(watch.user, `${watch.id}: ended, and was not told so`);
    }
    await simulation.run(() => this.#messages.every(({ sent }) => sent.ended));
    // Watchers who are lost leave rows until those expire: within this time.
    for (const line of await world.leftOver()) if (!line.includes("transactions")) story.wrong("", `left: ${line}`);
    // What failed often waits up to five minutes for its next try.
    for (let minute = 0; minute < 8 && !this.#allRead(); minute++) await simulation.advance(60_000);
    this.#judgeMessages();
    for (const table of ["subscriptions", "queues", "messages"]) {
      for (const [key] of world.database.rows(table)) story.tell("", `a row of ${table}: ${key}`);
    }
    const rows = world.database.rows("subscriptions").length;
    if (rows > 0) story.wrong("", `left: ${rows} rows of subscriptions`);
    const legs = this.servers.reduce((sum, server) => sum + server.legs, 0);
    if (legs > 0) story.wrong("", `left: ${legs} legs at servers`);
    for (const watcher of this.watchers) watcher.stop();
    for (const server of this.servers) server.stop();
    await world.stop();
  }

  tally(): Record<string, number> {
    const answers = this.watchers.flatMap((watcher) => watcher.answers);
    return {
      packets: this.observer.packets,
      watches: this.watchers.reduce((sum, watcher) => sum + watcher.watches.length, 0),
      accepted: answers.filter((status) => status >= 200 && status < 300).length,
      refused: answers.filter((status) => status >= 300).length,
      unanswered: answers.filter((status) => status === 0).length,
      stored: this.#messages.filter(({ sent }) => sent.final === 202).length,
      delivered: this.#messages.filter(({ sent }) => sent.final === 200).length,
      kills: this.#kills,
    };
  }

  #judge(watcher: Watcher, watch: Watch): void {
    const { server } = this.observer.present(watch.user);
    const { shown, user, id } = watch;
    if (server !== null && this.server(server).rules.denies.has(`${user} ${watcher.aor}`)) {
      this.story.wrong(user, `${id} lives, though ${server} denies him`);
      return;
    }
    const fits =
      server === null || this.#isAway(user)
        ? shown === undefined || !shown.open
        : shown?.server === server && shown.serial === this.server(server).serial(user);
    if (fits) return;
    const sees = shown === undefined ? "nothing" : `${shown.server} ${shown.serial} ${shown.open}`;
    const is = server === null ? "nowhere" : `${server} ${this.server(server).serial(user)}`;
    this.story.wrong(user, `${id} is shown ${sees}, and the user is ${is}`);
  }

  /** Where he is, a leg for each watcher's dialog; nowhere else any. */
  #judgeLegs(user: string): void {
    if (this.#isAway(user)) return;
    const at = this.observer.present(user).server;
    for (const server of this.servers) {
      const legs = server.legsOf(user).length;
      const wanted = server.name === at ? this.watchers.reduce((sum, each) => sum + this.#liveOf(each, user), 0) : 0;
      if (legs > wanted && server.name !== at)
        this.story.wrong(user, `${server.name} has ${legs} legs, and is not where he is`);
      if (legs < wanted) this.story.wrong(user, `${server.name} has ${legs} legs, and ${wanted} watch`);
    }
  }

  #liveOf(watcher: Watcher, user: string): number {
    return watcher.live.filter((watch) => watch.user === user).length;
  }

  /** What was answered 2xx was read; of one sender and one recipient in the order it was sent. */
  #allRead(): boolean {
    const read = new Set([...this.#read]);
    return this.#messages.every(({ sent, text }) => sent.final < 200 || sent.final >= 300 || read.has(text));
  }

  #judgeMessages(): void {
    const read = new Map<string, number>();
    for (const [place, text] of this.#read.entries()) if (!read.has(text)) read.set(text, place);
    const taken = this.#messages.filter(({ sent }) => sent.final >= 200 && sent.final < 300);
    for (const [index, later] of taken.entries()) {
      const { user, sender, text, sent } = later;
      const place = read.get(text);
      if (place === undefined) {
        this.story.wrong(user, `the message "${text}" was answered ${sent.final}, and nobody has read it`);
        continue;
      }
      for (const earlier of taken.slice(0, index)) {
        const before = earlier.user === user && earlier.sender === sender && earlier.answeredAt + HEARD_MS < later.at;
        if (!before || later.deafAt > earlier.answeredAt) continue;
        if ((read.get(earlier.text) ?? 0) > place) {
          this.story.wrong(user, `the message "${text}" was read before "${earlier.text}"`);
        }
      }
    }
  }

  /** Some are bound where they are not logged in, when calm has come. */
  #isAway(user: string): boolean {
    return this.#mayBeAway && this.users.indexOf(user) % 4 === 3;
  }

  #logInWhereBound(user: string): void {
    const { server } = this.observer.present(user);
    if (server === null) return;
    if (this.#isAway(user)) this.server(server).logout(user, false);
    else this.server(server).login(user);
  }

  async #login(user: string, server: PresenceServer, seconds: number, proxy = this.#proxyHost()): Promise<void> {
    server.login(user);
    await server.register(user, proxy, seconds, "new call");
  }

  async #restart(host: string): Promise<void> {
    if (this.#starting.has(host)) return;
    this.#starting.add(host);
    this.#down.delete(host);
    this.story.tell("", `${host} starts again`);
    const { world } = this;
    await world.restart(host).catch((error: Error) => {
      this.story.tell("", `${host} did not start: ${error.message}`);
      this.#down.add(host);
    });
    this.#starting.delete(host);
  }

  // What may happen, below; each a line of WAYS.

  subscribe(): void {
    const watcher = this.#pick(this.watchers);
    const user = this.#pick(this.users);
    if (watcher.of(user) === undefined) {
      void watcher.subscribe(user, this.#proxyHost(), this.#chance(15) ? 0 : this.#pick([40, 50, 60]));
    }
  }

  unsubscribe(): void {
    const watcher = this.#pick(this.watchers);
    const watch = watcher.live[this.#below(Math.max(1, watcher.live.length))];
    if (watch === undefined) return;
    const what = this.#below(4);
    if (what === 0) void watcher.refresh(watch, 0);
    else if (what === 1) watcher.forget(watch, this.#chance(50));
    else void watcher.refresh(watch, watch.expires);
  }

  sulk(): void {
    const watcher = this.#pick(this.watchers);
    watcher.ignoring = this.#pick([0, 408, 500, 503]);
    this.#until(this.#below(12_000), () => {
      watcher.ignoring = null;
    });
  }

  show(): void {
    const user = this.#pick(this.users);
    const { server } = this.observer.present(user);
    // One he has left may still show something of him.
    (server === null || this.#chance(20) ? this.#pick(this.servers) : this.server(server)).show(user);
  }

  /** More than are reserved at a time. */
  flurry(): void {
    const user = this.#pick(this.users);
    const { server } = this.observer.present(user);
    if (server === null) return;
    for (let i = 1; i <= 20; i++) this.#clock.after(i * 60, () => this.server(server).show(user));
  }

  login(): void {
    const user = this.#pick(this.users);
    const server = this.#pick(this.servers);
    server.login(user);
    const how = this.#pick(["new call", "new call", "same call", "repeat"] as const);
    void server.register(user, this.#proxyHost(), this.#pick([3_600, 3_600, 600, 8]), how);
  }

  /** Most are of servers he has left: they are no claims. */
  lateRefresh(): void {
    const user = this.#pick(this.users);
    const server = this.#pick(this.servers);
    void server.register(user, this.#proxyHost(), 3_600, "same call");
  }

  logout(): void {
    const user = this.#pick(this.users);
    const { server } = this.observer.present(user);
    if (server === null) return;
    this.server(server).logout(user, this.#chance(50));
    void this.server(server).register(user, this.#proxyHost(), 0, "same call");
  }

  move(): void {
    const user = this.#pick(this.users);
    const to = this.#pick(this.servers);
    if (this.#chance(80)) to.login(user);
    this.#admin(user, `moves to ${to.name}`, (directory) =>
      directory.move({ aor: `${user}@example.com`, to: to.name, equalRank: true, actor: "admin" }),
    );
  }

  unbind(): void {
    const user = this.#pick(this.users);
    this.#admin(user, "unbinds", (directory) => directory.unbind({ aor: `${user}@example.com`, actor: "admin" }));
  }

  forgetful(): void {
    const server = this.#pick(this.servers);
    this.story.tell("", `${server.name} forgets its dialogs`);
    server.forget();
  }

  sick(): void {
    const server = this.#pick(this.servers);
    server.sick = true;
    this.#until(this.#below(15_000), () => {
      server.sick = false;
    });
  }

  message(): void {
    const user = this.#pick(this.users);
    for (let i = 0; i <= this.#below(3); i++) this.#send(user);
  }

  #send(user: string): void {
    const which = this.#below(this.#senders.length);
    const sender = `s${which}`;
    const text = `${sender} ${user} ${++this.#texts}`;
    const sent = this.#senders[which]!.begin("MESSAGE", `sip:${user}@example.com`, {
      from: `sip:${sender}@example.com`,
      proxy: this.#proxyHost(),
      body: text,
    });
    const at = this.world.simulation.now;
    if (this.#away || this.world.proxies.some((proxy) => proxy.process.paused)) this.#deafAt = at;
    const message: SentMessage = { user, sender, text, sent, at, answeredAt: at, deafAt: this.#deafAt };
    this.#messages.push(message);
    void sent.done.then((status) => {
      message.answeredAt = this.world.simulation.now;
      this.story.tell(user, `MESSAGE "${text}" answered ${status}`);
    });
  }

  kill(): void {
    const living = this.world.proxies.filter((proxy) => proxy.process.alive);
    // One of them lives always, but for a moment.
    if (living.length < 2 && !this.#chance(20)) return;
    const proxy = this.#pick(living);
    if (proxy === undefined || this.#starting.has(proxy.host)) return;
    // In the worst moment: when it has just asked the database for something.
    if (this.#chance(40)) {
      this.#killAt.set(proxy.process, this.#pick(["insert", "update", "update", "take", "store", "end"]));
      return;
    }
    this.#killNow(proxy);
  }

  #killNow(proxy: World["proxies"][number]): void {
    if (!proxy.process.alive) return;
    this.#kills++;
    this.observer.someoneDied = true;
    this.story.tell("", `${proxy.process.name} is killed`);
    proxy.kill();
    this.#down.add(proxy.host);
    if (this.#dead.size === 0 && this.#chance(15)) this.#dead.add(proxy.host);
  }

  restart(): void {
    const host = [...this.#down].find((each) => !this.#dead.has(each));
    if (host !== undefined && !this.#away) void this.#restart(host);
  }

  freeze(): void {
    const proxy = this.#pick(this.world.proxies.filter((each) => each.process.alive));
    if (proxy === undefined || proxy.process.paused || this.#starting.has(proxy.host)) return;
    const { process } = proxy;
    // In the worst moment: while it is told that its lease is renewed.
    if (this.#chance(40)) this.#pauseAt.set(process, "renew");
    else this.#pause(process);
    this.#until(this.#pick([500, LEASE_MS - 300, LEASE_MS + 500, 3 * LEASE_MS]), () => {
      this.#pauseAt.delete(process);
      if (!process.alive || !process.paused) return;
      this.#deafAt = this.world.simulation.now;
      this.story.tell("", `${process.name} goes on`);
      process.resume();
    });
  }

  /** A statement of this kind has left a proxy for the database. */
  asked(process: Process, method: string): void {
    if (this.#killAt.get(process) === method) {
      this.#killAt.clear();
      const proxy = this.world.proxies.find((each) => each.process === process);
      if (proxy !== undefined) this.#clock.soon(() => this.#killNow(proxy));
      return;
    }
    if (this.#pauseAt.get(process) !== method) return;
    this.#pauseAt.delete(process);
    // Not in the middle of what it is doing: a process stops between two events here.
    this.#clock.soon(() => this.#pause(process));
  }

  #pause(process: Process): void {
    if (!process.alive) return;
    this.story.tell("", `${process.name} is paused`);
    process.pause();
  }

  away(): void {
    if (this.#away) return;
    this.#away = true;
    this.story.tell("", "the database goes away");
    this.world.database.setAway(true);
    this.#until(this.#pick([300, 2_000, LEASE_MS + 1_000, 2 * LEASE_MS]), () => {
      this.#away = false;
      this.#deafAt = this.world.simulation.now;
      this.story.tell("", "the database is back");
      this.world.database.setAway(false);
    });
  }

  loseAnswers(): void {
    this.world.database.loseNextAnswers(1 + this.#below(3));
  }

  cut(): void {
    const { world } = this;
    const one = this.#pick(world.proxies).host;
    const server = world.scripted[this.#pick(PLACES)]!.host;
    this.story.tell("", `${one} and ${server} do not hear each other`);
    world.simulation.partition([[one], [server]]);
    this.#until(this.#below(10_000), () => {
      this.story.tell("", "everybody hears everybody");
      world.simulation.heal();
    });
  }

  /** What must not pass each other unseen: a subscription and a binding, at one moment. */
  meet(): void {
    const strangers = this.users.flatMap((user) =>
      this.watchers.filter((watcher) => watcher.of(user) === undefined).map((watcher) => ({ user, watcher })),
    );
    if (strangers.length === 0) return;
    const { user, watcher } = this.#pick(strangers);
    void watcher.subscribe(user, this.#proxyHost(), 60);
    const server = this.#pick(this.servers);
    server.login(user);
    void server.register(user, this.#proxyHost(), 3_600, "new call");
  }

  #admin(
    user: string,
    what: string,
    act: (directory: World["proxies"][number]["directory"]) => Promise<{ readonly outcome: string }>,
  ): void {
    const proxy = this.#pick(this.world.proxies.filter((each) => each.process.alive && !each.process.paused));
    if (proxy === undefined) return;
    act(proxy.directory).then(
      ({ outcome }) => this.story.tell(user, `an admin ${what}: ${outcome}`),
      (error: Error) => this.story.tell(user, `an admin ${what}: ${error.message}`),
    );
  }

  #until(ms: number, end: () => void): void {
    this.#ends.push({ at: this.world.simulation.now + ms, end });
  }

  /** Where a request goes: sometimes to one that is dead. */
  #proxyHost(): string {
    const living = this.world.proxies.filter((proxy) => proxy.process.alive);
    return this.#pick(living.length === 0 || this.#chance(5) ? this.world.proxies : living).host;
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#below(from.length)]!;
  }

  #chance(percent: number): boolean {
    return this.#below(100) < percent;
  }

  #below(below: number): number {
    return below <= 1 ? 0 : this.world.simulation.random.integer(below);
  }
}

type Way = (life: Life) => void;

const PEACEFUL: readonly Way[] = [
  (life) => life.subscribe(),
  (life) => life.subscribe(),
  (life) => life.unsubscribe(),
  (life) => life.unsubscribe(),
  (life) => life.sulk(),
  (life) => life.show(),
  (life) => life.show(),
  (life) => life.login(),
  (life) => life.login(),
  (life) => life.lateRefresh(),
  (life) => life.logout(),
  (life) => life.move(),
  (life) => life.move(),
  (life) => life.move(),
  (life) => life.unbind(),
  (life) => life.sick(),
  (life) => life.sick(),
  (life) => life.message(),
  (life) => life.message(),
  (life) => life.message(),
  (life) => life.message(),
  (life) => life.meet(),
  (life) => life.meet(),
];

const TROUBLE: readonly Way[] = [
  (life) => life.flurry(),
  (life) => life.forgetful(),
  (life) => life.kill(),
  (life) => life.restart(),
  (life) => life.restart(),
  (life) => life.freeze(),
  (life) => life.away(),
  (life) => life.loseAnswers(),
  (life) => life.cut(),
];
