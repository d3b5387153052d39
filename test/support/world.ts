import { askingDialog, inDialog } from "../../src/demo/dialog.ts";
import { createExampleServer, type ExampleServer, type ExampleServerOptions } from "../../src/demo/example-server.ts";
import { Stack } from "../../src/demo/stack.ts";
import { createMemoryDatabase, type MemoryDatabase } from "../../src/directory/memory.ts";
import type { MemoryOptions } from "../../src/directory/memory-store.ts";
import type { ProxyOptions } from "../../src/proxy/options.ts";
import { PROBE_USER } from "../../src/proxy/prober.ts";
import { createSimulation, type Faults, type Simulation, type Zone } from "../../src/runtime/simulated.ts";
import type { ServiceOptions } from "../../src/services.ts";
import { buildRequest, buildResponse, type HeaderPair } from "../../src/sip/message/build.ts";
import type { SipRequest, SipResponse } from "../../src/sip/message/message.ts";
import { parseUri, type SipUri } from "../../src/sip/message/uri.ts";
import type { ClientTransaction, ServerTransaction } from "../../src/sip/transaction/transaction.ts";
import type { Tap } from "./process.ts";
import { leftAt, type ProxyNode, type ProxyNodeOptions, startProxy } from "./proxy-node.ts";

/** A whole domain in one process on virtual time: proxies on one database, example servers, clients. */
export interface World {
  readonly simulation: Simulation;
  readonly database: MemoryDatabase;
  readonly proxies: readonly ProxyNode[];
  readonly servers: Readonly<Record<string, ExampleServer>>;
  /** The servers that answer what the test says. */
  readonly scripted: Readonly<Record<string, Client>>;
  /** @param script what it does with requests; without it each is answered 200. */
  client(host: string, script?: Script): Client;
  /** A proxy that was killed starts again at its address, with an empty memory. Does not drive the simulation. */
  restart(host: string): Promise<void>;
  /** As by a reload of every proxy's configuration, at this moment; proxies that start later start with it. */
  configure(change: Partial<ProxyOptions>): void;
  /** Runs until nothing is open any more, and says what is left all the same. */
  leftOver(): Promise<readonly string[]>;
  /** Ends everything; rejects where something is left open. */
  stop(): Promise<void>;
}

/** What a scripted server does with a request; probes are answered without it. */
export type Script = (transaction: ServerTransaction, self: Client) => void;

export interface WorldOptions {
  readonly seed?: number;
  readonly proxies?: number;
  /** With a script: a bare user agent in the server's place. */
  readonly servers?: Readonly<
    Record<string, Partial<ExampleServerOptions> & { readonly viaProxy?: number; readonly script?: Script }>
  >;
  readonly options?: Partial<ProxyOptions>;
  readonly serverOptions?: Partial<ProxyOptions["servers"][number]>;
  /** Of single servers, over `serverOptions`. */
  readonly each?: Readonly<Record<string, Partial<ProxyOptions["servers"][number]>>>;
  readonly database?: MemoryOptions;
  readonly services?: Partial<ServiceOptions>;
  /** Of every proxy; default: nobody decides. */
  readonly policy?: ProxyNodeOptions["policy"];
  /** Milliseconds on the proxies' wires to the database, over what the database takes; what is on them when a proxy is killed may be lost. */
  readonly wireMs?: readonly [number, number];
  /** Of every proxy. */
  readonly tap?: Tap;
  readonly faults?: Partial<Faults>;
  readonly zone?: Zone;
  /** How long name servers take, virtual milliseconds; default: no time. */
  readonly dnsMs?: number;
  /** Of every proxy's second listener, for what goes down in trees; none: there is none. */
  readonly downPort?: number;
  /** Nodes of a server, where they are not the one the server listens on. */
  readonly uris?: Readonly<Record<string, string | readonly string[]>>;
}

const DOMAIN = "example.com";
export async function createWorld(given: WorldOptions = {}): Promise<World> {
  const simulation = createSimulation({
    seed: given.seed ?? 1,
    ...(given.zone === undefined ? {} : { zone: given.zone }),
  });
  const clients: Client[] = [];
  const names = given.servers ?? { east: {}, west: {}, north: {} };
  const hosts = Object.fromEntries(Object.keys(names).map((name, i) => [name, `127.0.0.${11 + i}`]));
  const servers: Record<string, ExampleServer> = {};
  const scripted: Record<string, Client> = {};
  for (const [name, options] of Object.entries(names)) {
    const { viaProxy, script, ...rest } = options;
    if (script !== undefined) {
      scripted[name] = new Client(simulation, hosts[name]!, behindProbes(script));
      await simulation.finish(scripted[name].started);
      continue;
    }
    const server = createExampleServer(simulation.runtime([hosts[name]!]), {
      name,
      listen: { host: hosts[name]!, port: 5060 },
      users: [],
      domain: DOMAIN,
      proxy: { host: `127.0.0.${1 + (viaProxy ?? 0)}`, port: 5060 },
      onUnknown: "404",
      ...rest,
    });
    servers[name] = server;
    await simulation.finish(server.start());
  }
  const database = createMemoryDatabase(simulation.runtime(["127.0.0.200"]), given.database);
  const proxies: ProxyNode[] = [];
  let runs = 1;
  let nodeOptions = {
    proxy: worldOptions(hosts, given),
    wire: { runtime: simulation.runtime(["127.0.0.201"]), latencyMs: given.wireMs ?? [0, 0] },
    ...(given.services === undefined ? {} : { services: given.services }),
    ...(given.policy === undefined ? {} : { policy: given.policy }),
    ...(given.dnsMs === undefined ? {} : { dnsMs: given.dnsMs }),
    ...(given.downPort === undefined ? {} : { downPort: given.downPort }),
    ...(given.tap === undefined ? {} : { tap: given.tap }),
  } satisfies ProxyNodeOptions;
  const reconfigure = ({ process, core, telemetry }: ProxyNode): void =>
    process.enter(() => {
      core.configure(nodeOptions.proxy);
      telemetry.emit("configReloaded", { changes: [] });
    });
  for (let i = 0; i < (given.proxies ?? 1); i++) {
    proxies.push(await simulation.finish(startProxy(simulation, `127.0.0.${1 + i}`, database, nodeOptions)));
  }
  // What one proxy asked while the other was not there yet is asked again with the next round.
  if (proxies.length > 1) await simulation.advance(10_500);
  if (given.faults !== undefined) simulation.faults(given.faults);
  return {
    simulation,
    database,
    proxies,
    servers,
    scripted,
    client(host, script) {
      const client = new Client(
        simulation,
        host,
        script &&
          ((transaction, self) => {
            self.requests.push(transaction.request);
            script(transaction, self);
          }),
      );
      clients.push(client);
      return client;
    },
    async restart(host) {
      const index = proxies.findIndex((proxy) => proxy.host === host);
      const machine = proxies[index]!.runtime.restart();
      runs++;
      const given = nodeOptions;
      proxies[index] = await startProxy(simulation, host, database, { ...given, machine, run: runs });
      // What was changed while it started it has not read.
      if (given !== nodeOptions) reconfigure(proxies[index]);
    },
    configure(change) {
      nodeOptions = { ...nodeOptions, proxy: { ...nodeOptions.proxy, ...change } };
      proxies.forEach(reconfigure);
    },
    async leftOver() {
      await simulation.advance(IDLE_MS);
      return proxies.filter((proxy) => proxy.process.alive).flatMap((proxy) => leftAt(proxy));
    },
    async stop() {
      for (const client of [...clients, ...Object.values(scripted)]) await simulation.finish(client.stop());
      for (const proxy of proxies) if (proxy.process.alive) await simulation.finish(proxy.stop());
      for (const server of Object.values(servers)) await simulation.finish(server.stop());
      // What was on its way to the database arrives; then nothing may be left anywhere.
      await simulation.advance(1_000 + 2 * (given.database?.latencyMs?.[1] ?? 0));
      const leaks = simulation.leaks();
      if (leaks.length > 0) throw new Error(`still open when the world has ended: ${leaks.join("; ")}`);
    },
  };
}

function worldOptions(hosts: Readonly<Record<string, string>>, given: WorldOptions): ProxyOptions {
  return {
    domains: [DOMAIN],
    servers: Object.entries(hosts).map(([name, host]) => ({
      name,
      nodes: [given.uris?.[name] ?? `sip:${host}:5060`].flat().map((uri) => parseUri(uri) as SipUri),
      balance: "round-robin",
      names: [],
      identities: {},
      onward: "none",
      neverDenies: false,
      preserves: [],
      claims: ["register"],
      proves: ["MESSAGE", "INVITE", "SUBSCRIBE"],
      subdomain: null,
      repoint: true,
      offers: [],
      evict: "reginfo",
      reginfo: "contact",
      ...given.serverOptions,
      ...given.each?.[name],
    })),
    models: [],
    routing: "proxy",
    recurse: false,
    clients: { authenticate: "none", realm: DOMAIN, home: null },
    decisionMs: 8_000,
    hold: { users: "known", events: ["presence"] },
    absentMessages: "refuse",
    imRouting: { algorithm: "all", copies: false },
    unions: { trees: [], downListener: false, unreachable: "wait" },
    exclusive: { damping: { limit: 6, windowMs: 60_000 }, graceMs: 5_000 },
    timerCMs: 181_000,
    learnedMs: 86_400_000,
    retryAfterS: 10,
    health: { intervalMs: 10_000, failures: 3, timeoutMs: 2_000 },
    maxWaiting: 10_000,
    ...given.options,
  };
}

/** Longer than any timer of a transaction or fork runs on after the last message: 64*T1 after the decision, and T4. */
const IDLE_MS = 80_000;

/** What every server answers alike: is it alive, and does it have a user that cannot exist? */
function behindProbes(script: Script): Script {
  return (transaction, self) => {
    const { request } = transaction;
    if (request.method === "OPTIONS" && request.uri.kind === "sip" && request.uri.user === undefined) {
      transaction.respond(buildResponse(request, 200));
    } else if (request.requestUri.includes(PROBE_USER)) {
      transaction.respond(buildResponse(request, 404));
    } else {
      self.requests.push(request);
      script(transaction, self);
    }
  };
}

/** A request under way. */
export interface Outgoing {
  readonly request: SipRequest;
  readonly responses: readonly SipResponse[];
  /** Status codes of the responses, in order. */
  readonly statuses: readonly number[];
  /** The last status of a final response; 0: none yet. */
  readonly final: number;
  /** Virtual ms from sending to the first final response; undefined: none yet. */
  readonly tookMs: number | undefined;
  readonly ended: boolean;
  /** The final status, once it has ended; does not drive the simulation. */
  readonly done: Promise<number>;
  cancel(reason?: string): void;
}

/** A bare user agent: what it sends and gets is what the tests assert on. */
export class Client {
  readonly host: string;
  readonly stack: Stack;
  /** Requests it got. */
  readonly requests: SipRequest[] = [];
  readonly acks: SipRequest[] = [];
  /** INVITEs it got that were cancelled. */
  readonly cancelled: SipRequest[] = [];
  readonly cancels: SipRequest[] = [];
  /** An INVITE of its that was cancelled: answered 487 unless told otherwise. */
  onCancel: (invite: ServerTransaction) => void = (invite) =>
    invite.respond(buildResponse(invite.request, 487, undefined, { toTag: `at-${this.host}` }));
  readonly started: Promise<void>;
  readonly #simulation: Simulation;
  #calls = 0;

  /** @param script what is done with requests; without it each is answered 200. */
  constructor(simulation: Simulation, host: string, script?: Script) {
    this.host = host;
    this.#simulation = simulation;
    this.stack = new Stack(
      simulation.runtime([host]),
      { host, port: 5060 },
      {
        onRequest: (transaction) => {
          if (script !== undefined) return script(transaction, this);
          this.requests.push(transaction.request);
          transaction.respond(okFor(transaction.request));
        },
        onAck: (ack) => void this.acks.push(ack),
        onCancel: (invite, cancel) => {
          this.cancelled.push(invite.request);
          this.cancels.push(cancel);
          this.onCancel(invite);
        },
      },
    );
    this.started = this.stack.start();
  }

  /** Requests of this method that it got. */
  seen(method: string): SipRequest[] {
    return this.requests.filter((request) => request.method === method);
  }

  /** Sends without waiting for anything. */
  begin(method: string, to: string, options: SendOptions = {}): Outgoing {
    return this.beginRequest(this.request(method, to, options), options.proxy);
  }

  beginRequest(request: SipRequest, proxy = "127.0.0.1"): Outgoing {
    const responses: SipResponse[] = [];
    const begun = this.#simulation.now;
    const simulation = this.#simulation;
    let transaction: ClientTransaction | undefined;
    let cancelled = false;
    let tookMs: number | undefined;
    let ended = false;
    let settle: () => void = () => undefined;
    const over = new Promise<void>((resolve) => {
      settle = resolve;
    });
    const end = (): void => {
      ended = true;
      settle();
    };
    void this.started
      .then(() =>
        this.stack.send(
          request,
          {
            onResponse: (response) => {
              responses.push(response);
              if (response.status < 200) return;
              tookMs ??= simulation.now - begun;
              end();
            },
            onTimeout: end,
            onTransportError: end,
          },
          { host: proxy, port: 5060 },
        ),
      )
      .then((sent) => {
        transaction = sent;
        if (cancelled) sent.cancel();
      });
    const final = (): number => responses.findLast((response) => response.status >= 200)?.status ?? 0;
    return {
      request,
      responses,
      done: over.then(final),
      get statuses() {
        return responses.map((response) => response.status);
      },
      get final() {
        return final();
      },
      get tookMs() {
        return tookMs;
      },
      get ended() {
        return ended;
      },
      cancel(reason) {
        cancelled = true;
        transaction?.cancel(reason);
      },
    };
  }

  /** A whole call: INVITE, ACK, BYE. The statuses of the INVITE and the BYE. Does not drive the simulation. */
  async call(to: string, options: SendOptions = {}): Promise<readonly number[]> {
    const invite = this.begin("INVITE", to, options);
    if ((await invite.done) !== 200) return [invite.final];
    const dialog = askingDialog(invite.request, invite.responses.at(-1)!);
    const proxy = { host: options.proxy ?? "127.0.0.1", port: 5060 };
    this.stack.sendAck(inDialog(dialog, "ACK", []), proxy);
    return [invite.final, (await this.stack.ask(inDialog(dialog, "BYE", []), proxy))?.status ?? 0];
  }

  /** Sends, and drives the simulation until every one of these requests has ended. */
  async all(...outgoing: Outgoing[]): Promise<number[]> {
    await this.#simulation.run(() => outgoing.every((each) => each.ended));
    return outgoing.map((each) => each.final);
  }

  /** Every response that came, the final one last; empty where nobody answered. */
  async send(method: string, to: string, options: SendOptions = {}): Promise<readonly SipResponse[]> {
    const outgoing = this.begin(method, to, options);
    await this.all(outgoing);
    return outgoing.responses;
  }

  async status(method: string, to: string, options: SendOptions = {}): Promise<number> {
    return (await this.send(method, to, options)).at(-1)?.status ?? 0;
  }

  request(method: string, to: string, options: SendOptions = {}): SipRequest {
    this.#calls++;
    const from = options.from ?? `sip:watcher@${DOMAIN}`;
    return buildRequest({
      method,
      uri: to,
      headers: [
        ["Max-Forwards", String(options.maxForwards ?? 70)],
        ["From", `<${from}>;tag=${options.fromTag ?? `t${this.#calls}`}`],
        ["To", `<${options.toUser ?? to}>`],
        ["Call-ID", options.callId ?? `call-${this.#calls}@${this.host}`],
        ["CSeq", `${options.cseq ?? 1} ${method}`],
        ...(options.contacts ?? [`<sip:${this.host}:5060>`]).map((value) => ["Contact", value] as const),
        ...(method === "SUBSCRIBE"
          ? [["Event", "presence"] as const, ["Expires", String(options.expires ?? 600)] as const]
          : []),
        ...(options.headers ?? []),
      ],
      ...(options.body === undefined ? {} : { body: options.body }),
    });
  }

  stop(): Promise<void> {
    return this.stack.stop();
  }
}

export interface SendOptions {
  readonly from?: string;
  readonly fromTag?: string;
  /** To, where it is not the Request-URI. */
  readonly toUser?: string;
  readonly callId?: string;
  readonly cseq?: number;
  /** Of a SUBSCRIBE, seconds. */
  readonly expires?: number;
  readonly maxForwards?: number;
  /** Default: the client's own address. */
  readonly contacts?: readonly string[];
  readonly headers?: readonly HeaderPair[];
  readonly body?: string;
  readonly proxy?: string;
}

function okFor(request: SipRequest): SipResponse {
  return buildResponse(request, 200, "OK", { toTag: "client" });
}

/** A script that answers every request with this status; 0: never. */
export function always(status: number, headers: readonly HeaderPair[] = []): Script {
  return (transaction, self) => {
    if (status > 0) reply(transaction, self, status, headers);
  };
}

/** Answers as a user agent does: its own tag and Contact, the Record-Route of what makes a dialog. */
export function reply(
  transaction: ServerTransaction,
  self: Client,
  status: number,
  headers: readonly HeaderPair[] = [],
): void {
  const { request } = transaction;
  const routes = request.headers("Record-Route").map((route): HeaderPair => ["Record-Route", route]);
  const contact: HeaderPair[] = status < 300 ? [["Contact", `<sip:${self.host}:5060>`]] : [];
  transaction.respond(
    buildResponse(request, status, undefined, {
      toTag: `at-${self.host}`,
      headers: [...(status < 300 ? routes : []), ...contact, ...headers],
    }),
  );
}
