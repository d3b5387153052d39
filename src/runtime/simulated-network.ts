import { TransportError } from "../base/errors.ts";
import type { Handles } from "./handles.ts";
import type { Address, Connection, ConnectOptions, Listener, ListenOptions, Network, UdpSocket } from "./runtime.ts";
import { simulatedHttp } from "./simulated-http.ts";
import { Side } from "./simulated-stream.ts";
import { handshake } from "./simulated-tls.ts";
import { anyHost, key, SimulatedUdp, sourceHost } from "./simulated-udp.ts";
import { at, type Listening, type Machine, systemError, type World } from "./simulated-world.ts";
import { zoneResolver } from "./zone.ts";

/** Milliseconds after which a SYN without an answer is sent again. */
const SYN_AGAIN = 1000;

/** The network as one machine sees it. After the machine crashed nothing here ever answers. */
export function simulatedNetwork(world: World, machine: Machine, handles: Handles): Network {
  const zone = zoneResolver(world.zone);
  /** Name servers are one link away from everybody. */
  const asked =
    <T>(ask: (name: string) => Promise<T>) =>
    (name: string) =>
      new Promise<T>((resolve, reject) => {
        const [from = ""] = machine.addresses;
        const round = 2 * world.delay(from, "dns");
        world.queue.schedule(world.queue.now + round, () => {
          if (machine.alive) ask(name).then(resolve, reject);
        });
      });
  return {
    async udp(bind, handler): Promise<UdpSocket> {
      const local = bound(machine, bind, machine.udp);
      return new SimulatedUdp(world, machine, handles, local, handler);
    },
    listen: async (options, accept) => listen(machine, handles, options, accept),
    connect: (options) =>
      new Promise<Connection>((resolve, reject) => {
        new Attempt(world, machine, handles, options, resolve, (reason) => {
          const to = `${options.remote.host} port ${options.remote.port}`;
          if (machine.alive) reject(new TransportError(`No ${options.kind} connection to ${to}: ${reason}`));
        });
      }),
    http: () => simulatedHttp(world, machine, handles),
    resolver: {
      naptr: asked(zone.naptr),
      srv: asked(zone.srv),
      a: asked(zone.a),
      aaaa: asked(zone.aaaa),
    },
  };
}

/** The address to bind, or the system's refusal. */
function bound(machine: Machine, bind: Address, taken: ReadonlyMap<string, unknown>): Address {
  const { host } = bind;
  const own = host === anyHost(host) || host === "127.0.0.1" || host === "::1" || machine.addresses.includes(host);
  if (!own || !machine.alive) throw systemError("EADDRNOTAVAIL", `bind ${at(bind)}`);
  const local = { host, port: bind.port === 0 ? machine.freePort() : bind.port };
  if (taken.has(key(local)) || taken.has(key({ host: anyHost(host), port: local.port }))) {
    throw systemError("EADDRINUSE", `bind ${at(local)}`);
  }
  return local;
}

function listen(
  machine: Machine,
  handles: Handles,
  options: ListenOptions,
  accept: (connection: Connection) => void,
): Listener {
  const local = bound(machine, options.address, machine.listeners);
  const listening: Listening = { machine, handles, options, local, accept, live: 0 };
  machine.listeners.set(key(local), listening);
  handles.opened(listening, `${options.kind} listener ${at(local)}`);
  return {
    local,
    async close() {
      if (machine.listeners.get(key(local)) === listening) machine.listeners.delete(key(local));
      handles.closed(listening);
    },
  };
}

function listenerAt(machine: Machine, to: Address): Listening | undefined {
  return machine.listeners.get(key(to)) ?? machine.listeners.get(key({ host: anyHost(to.host), port: to.port }));
}

interface Met {
  /** The listener closes the connection right after the client thinks it is open. */
  readonly reset: boolean;
  readonly clientSees: readonly string[];
  readonly serverSees: readonly string[];
}

/** One attempt to connect, from SYN to the end of the handshakes. */
class Attempt {
  readonly #world: World;
  readonly #machine: Machine;
  readonly #handles: Handles;
  readonly #options: ConnectOptions;
  readonly #local: Address;
  readonly #deadline: number;
  readonly #resolve: (connection: Connection) => void;
  readonly #reject: (reason: string) => void;
  #over = false;

  constructor(
    world: World,
    machine: Machine,
    handles: Handles,
    options: ConnectOptions,
    resolve: (connection: Connection) => void,
    reject: (reason: string) => void,
  ) {
    this.#world = world;
    this.#machine = machine;
    this.#handles = handles;
    this.#options = options;
    this.#resolve = resolve;
    this.#reject = reject;
    const { remote, local } = options;
    this.#local = {
      host: sourceHost(machine, local?.host ?? anyHost(remote.host), remote.host),
      port: local?.port || machine.freePort(),
    };
    this.#deadline = world.queue.now + options.timeoutMs;
    world.queue.schedule(this.#deadline, () => this.#fail("no answer in time"));
    this.#syn();
  }

  #syn(): void {
    const { remote } = this.#options;
    const { conditions, chance, queue } = this.#world;
    this.#later(this.#oneWay(), () => {
      const lost = chance.chance(conditions.between(this.#local.host, remote.host).loss);
      if (!lost && !this.#world.unreachable(this.#machine, this.#local, remote)) this.#knock();
      else if (queue.now + SYN_AGAIN < this.#deadline) this.#later(SYN_AGAIN, () => this.#syn());
    });
  }

  /** The SYN has arrived. */
  #knock(): void {
    const { remote, kind } = this.#options;
    const there = this.#world.machineAt(remote.host, this.#machine);
    const listening = there && listenerAt(there, remote);
    const answer = listening === undefined ? { refused: "connect ECONNREFUSED" } : this.#meet(listening);
    const back = this.#oneWay();
    if (listening === undefined || "refused" in answer) {
      this.#later(back, () => this.#fail("refused" in answer ? answer.refused : ""));
      return;
    }
    // TLS and WebSocket take one more round trip, and are cut off with their listener.
    this.#later(kind === "tcp" ? 0 : back + this.#oneWay(), () => {
      if (listenerAt(listening.machine, listening.local) === listening) this.#establish(listening, back, answer);
      else this.#later(back, () => this.#fail("closed by the peer"));
    });
  }

  /** What this listener says to us: no, or a connection, which it may reset at once. */
  #meet(listening: Listening): { refused: string } | Met {
    const { kind } = this.#options;
    const full = listening.live >= listening.options.maxConnections;
    if (kind === "tcp" && listening.options.kind === "tcp") return { reset: full, clientSees: [], serverSees: [] };
    if (full) return { refused: "closed by the peer" };
    if (kind !== listening.options.kind) return { refused: "the peer does not speak this protocol" };
    if (kind === "ws") return { reset: false, clientSees: [], serverSees: [] };
    const outcome = handshake(this.#options, listening.options.tls);
    if (outcome.refused === "client") return { refused: outcome.reason };
    if (outcome.refused === "server") return { reset: true, clientSees: [], serverSees: [] };
    return { reset: false, ...outcome };
  }

  #establish(listening: Listening, back: number, met: Met): void {
    const { kind, remote } = this.#options;
    const here = new Side(this.#world, this.#machine, this.#handles, {
      kind,
      local: this.#local,
      remote,
      peerNames: met.clientSees,
    });
    const there = new Side(this.#world, listening.machine, listening.handles, {
      kind,
      local: remote,
      remote: this.#local,
      peerNames: met.serverSees,
    });
    here.peer = there;
    there.peer = here;
    there.notBefore(this.#world.queue.now + back);
    this.#world.record(() => `${kind} ${at(this.#local)} > ${at(remote)} open`, 4);
    if (met.reset) there.refuse();
    else {
      listening.live++;
      there.released = () => listening.live--;
      listening.accept(there);
    }
    this.#world.queue.schedule(this.#world.queue.now + back, () => {
      if (this.#over || !this.#machine.alive) here.destroy();
      else {
        this.#over = true;
        this.#resolve(here);
      }
    });
  }

  #fail(reason: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#reject(reason);
  }

  #later(ms: number, run: () => void): void {
    this.#world.queue.schedule(this.#world.queue.now + ms, () => {
      if (!this.#over && this.#machine.alive) run();
    });
  }

  #oneWay(): number {
    const { remote } = this.#options;
    const own = this.#world.machineAt(remote.host, this.#machine) === this.#machine;
    return own ? 0.05 : this.#world.delay(this.#local.host, remote.host);
  }
}
