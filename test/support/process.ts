import type {
  Connection,
  ConnectionHandler,
  Network,
  Random,
  Runtime,
  Timer,
  UdpHandler,
} from "../../src/runtime/runtime.ts";
import type { SimulatedRuntime } from "../../src/runtime/simulated.ts";

/** For observers. */
export interface Tap {
  /** A datagram leaves. */
  sent(process: Process, bytes: Uint8Array, host: string, port: number): void;
  /** A statement has left for the database. */
  asked(process: Process, method: string): void;
  /** The database has answered, whether or not the process lives to hear it. */
  answered(process: Process, method: string, value: unknown): void;
}

const NOBODY: Tap = { sent: () => undefined, asked: () => undefined, answered: () => undefined };

/** The cable to the database, which has latency and dies with the process at its one end. */
export interface Wire {
  /** A machine that never dies: its timers and chance are the cable's. */
  readonly runtime: Runtime;
  /** Milliseconds a statement takes to the database, over what the database itself takes. */
  readonly latencyMs: readonly [number, number];
}

/**
 * One run of a program on a simulated machine, that can be killed as by `kill -9` and paused as by SIGSTOP: nothing of it
 * runs but through here. What it is not there to hear while it is paused waits in order, and is heard in one go when it
 * goes on; its clock has gone on meanwhile.
 */
export class Process {
  readonly machine: SimulatedRuntime;
  readonly runtime: Runtime;
  /** Its address, and the how-manieth run there it is. */
  readonly name: string;
  readonly #tap: Tap;
  readonly #wire: Wire;
  readonly #backlog: Array<() => void> = [];
  readonly #ports = new Map<object, object>();
  #arrival = 0;
  #paused = false;
  #draining = false;

  constructor(machine: SimulatedRuntime, run: number, wire: Wire, tap: Tap = NOBODY) {
    this.machine = machine;
    this.name = `${machine.addresses[0]}#${run}`;
    this.#wire = wire;
    this.#tap = tap;
    const { clock, timers, random } = machine;
    this.runtime = {
      clock,
      random,
      timers: {
        after: (ms, run) => this.#timer(ms, run),
        soon: (run) => timers.soon(() => this.enter(run)),
      },
      network: this.#network(machine.network),
    };
  }

  get alive(): boolean {
    return this.machine.alive;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** Something outside makes the program run: now, when it goes on, or never. */
  enter(run: () => void): void {
    if (!this.machine.alive) return;
    if (this.#paused || this.#draining) this.#backlog.push(run);
    else run();
  }

  /** A promise of the world outside, as the program sees it. */
  gate<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      promise.then(
        (value) => this.enter(() => resolve(value)),
        (error) => this.enter(() => reject(error)),
      );
    });
  }

  /**
   * A port of the database as the program sees it: each call travels; of those under way when the process is killed some
   * arrive and some do not, and no answer is heard. Methods named `on…` take a listener and answer at once. Objects in it
   * are ports too.
   */
  attach<T extends object>(port: T): T {
    const known = this.#ports.get(port);
    if (known !== undefined) return known as T;
    const attached = new Proxy(port, {
      get: (target, name) => {
        const value = Reflect.get(target, name, target) as unknown;
        if (typeof value === "object" && value !== null) return this.attach(value);
        if (typeof value !== "function" || typeof name !== "string") return value;
        if (/^on[A-Z]/.test(name)) {
          return (listener: (...told: unknown[]) => void) =>
            value.call(target, (...told: unknown[]) => this.enter(() => listener(...told)));
        }
        return (...given: unknown[]) =>
          this.gate(this.#ask(name, () => value.apply(target, given) as Promise<unknown>));
      },
    });
    this.#ports.set(port, attached);
    return attached;
  }

  /** As by `kill -9`: no goodbye, and nothing of it ever runs again. */
  kill(): void {
    this.#backlog.length = 0;
    this.#paused = false;
    this.machine.crash("process");
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    if (this.#draining) return;
    this.#draining = true;
    this.#drain();
  }

  #drain(): void {
    if (this.#paused || this.#backlog.length === 0) {
      this.#draining = false;
      return;
    }
    this.machine.timers.soon(() => {
      if (!this.#paused) this.#backlog.shift()?.();
      this.#drain();
    });
  }

  /** Calls arrive in the order they were made: ports number what they are given. */
  async #ask(name: string, call: () => Promise<unknown>): Promise<unknown> {
    this.#tap.asked(this, name);
    const [least, most] = this.#wire.latencyMs;
    const { clock, random, timers } = this.#wire.runtime;
    if (most > 0) {
      const ms = least + random.integer(Math.max(1, Math.round((most - least) * 1000) + 1)) / 1000;
      this.#arrival = Math.max(this.#arrival, clock.now() + ms);
      await new Promise<void>((resolve) => void timers.after(this.#arrival - clock.now(), resolve));
      if (!this.machine.alive && random.integer(2) === 0) return new Promise(() => undefined);
    }
    const answer = await call();
    this.#tap.answered(this, name, answer);
    return answer;
  }

  #timer(ms: number, run: () => void): Timer {
    let cancelled = false;
    const timer = this.machine.timers.after(ms, () =>
      this.enter(() => {
        if (!cancelled) run();
      }),
    );
    return {
      cancel: () => {
        cancelled = true;
        timer.cancel();
      },
    };
  }

  #network(network: Network): Network {
    const { resolver } = network;
    return {
      udp: async (bind, handler) => {
        const socket = await network.udp(bind, this.#heard(handler));
        return {
          local: socket.local,
          send: (bytes, host, port) => {
            if (this.machine.alive) this.#tap.sent(this, bytes, host, port);
            socket.send(bytes, host, port);
          },
          close: () => socket.close(),
        };
      },
      listen: (options, accept) =>
        network.listen(options, (connection) => {
          const pausable = new PausableConnection(connection, this);
          this.enter(() => accept(pausable));
        }),
      connect: async (options) => new PausableConnection(await this.gate(network.connect(options)), this),
      http: (options) => {
        const client = network.http(options);
        return { request: (request) => this.gate(client.request(request)), close: () => client.close() };
      },
      resolver: {
        naptr: (name) => this.gate(resolver.naptr(name)),
        srv: (name) => this.gate(resolver.srv(name)),
        a: (name) => this.gate(resolver.a(name)),
        aaaa: (name) => this.gate(resolver.aaaa(name)),
      },
    };
  }

  #heard(handler: UdpHandler): UdpHandler {
    return {
      receive: (bytes, host, port) => this.enter(() => handler.receive(bytes, host, port)),
      failed: (error, host, port) => this.enter(() => handler.failed(error, host, port)),
    };
  }
}

class PausableConnection implements Connection {
  readonly #connection: Connection;
  readonly #process: Process;
  #handler: ConnectionHandler | undefined;

  constructor(connection: Connection, process: Process) {
    this.#connection = connection;
    this.#process = process;
  }

  get kind(): Connection["kind"] {
    return this.#connection.kind;
  }

  get local(): Connection["local"] {
    return this.#connection.local;
  }

  get remote(): Connection["remote"] {
    return this.#connection.remote;
  }

  get peerNames(): readonly string[] {
    return this.#connection.peerNames;
  }

  get buffered(): number {
    return this.#connection.buffered;
  }

  get handler(): ConnectionHandler {
    if (this.#handler === undefined) throw new Error("This connection has no handler yet.");
    return this.#handler;
  }

  set handler(handler: ConnectionHandler) {
    this.#handler = handler;
    this.#connection.handler = {
      data: (bytes) => this.#process.enter(() => handler.data(bytes)),
      closed: (error) => this.#process.enter(() => handler.closed(error)),
    };
  }

  send(bytes: Uint8Array): void {
    this.#connection.send(bytes);
  }

  end(): void {
    this.#connection.end();
  }

  destroy(): void {
    this.#connection.destroy();
  }
}

/** A whole number in a range, for the choices of a simulation. */
export function between(random: Random, least: number, most: number): number {
  return least + random.integer(most - least + 1);
}
