import { createExampleServer, type ExampleServer, type ExampleServerOptions } from "../../src/demo/example-server.ts";
import { Stack } from "../../src/demo/stack.ts";
import { createDirectoryCache } from "../../src/directory/cache.ts";
import type { Directory } from "../../src/directory/directory.ts";
import { createMemoryDatabase, type MemoryDatabase } from "../../src/directory/memory.ts";
import type { ProxyOptions } from "../../src/proxy/options.ts";
import { ProxyCore } from "../../src/proxy/proxy-core.ts";
import { createSimulation, type SimulatedRuntime, type Simulation } from "../../src/runtime/simulated.ts";
import { buildRequest, buildResponse, type HeaderPair } from "../../src/sip/message/build.ts";
import type { SipRequest, SipResponse } from "../../src/sip/message/message.ts";
import { parseUri, type SipUri } from "../../src/sip/message/uri.ts";
import { createTransactionLayer } from "../../src/sip/transaction/layer.ts";
import type { TransactionLayer } from "../../src/sip/transaction/transaction.ts";
import { createTransportLayer } from "../../src/sip/transport/layer.ts";
import type { TransportLayer } from "../../src/sip/transport/transport.ts";
import { type EventName, type Events, Telemetry } from "../../src/telemetry/events.ts";

/** A whole domain in one process on virtual time: proxies on one database, example servers, clients. */
export interface World {
  readonly simulation: Simulation;
  readonly database: MemoryDatabase;
  readonly proxies: readonly ProxyNode[];
  readonly servers: Readonly<Record<string, ExampleServer>>;
  client(host: string): Client;
  stop(): Promise<void>;
}

export interface ProxyNode {
  readonly host: string;
  readonly runtime: SimulatedRuntime;
  readonly core: ProxyCore;
  readonly directory: Directory;
  readonly transport: TransportLayer;
  readonly transactions: TransactionLayer;
  readonly telemetry: Telemetry;
  /** Everything of these kinds that was told. */
  readonly told: Partial<{ [N in EventName]: Events[N][] }>;
  stop(): Promise<void>;
}

export interface WorldOptions {
  readonly seed?: number;
  readonly proxies?: number;
  readonly servers?: Readonly<Record<string, Partial<ExampleServerOptions> & { readonly viaProxy?: number }>>;
  readonly options?: Partial<ProxyOptions>;
  readonly serverOptions?: Partial<ProxyOptions["servers"][number]>;
}

const DOMAIN = "example.com";
const KEPT: readonly EventName[] = [
  "request",
  "learned",
  "unlearned",
  "conflict",
  "loop",
  "warning",
  "bound",
  "refused",
  "proofRemoved",
  "health",
];

export async function createWorld(given: WorldOptions = {}): Promise<World> {
  const simulation = createSimulation({ seed: given.seed ?? 1 });
  const names = given.servers ?? { east: {}, west: {}, north: {} };
  const hosts = Object.fromEntries(Object.keys(names).map((name, i) => [name, `127.0.0.${11 + i}`]));
  const servers: Record<string, ExampleServer> = {};
  for (const [name, options] of Object.entries(names)) {
    const { viaProxy, ...rest } = options;
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
  const database = createMemoryDatabase(simulation.runtime(["127.0.0.200"]));
  const proxies: ProxyNode[] = [];
  for (let i = 0; i < (given.proxies ?? 1); i++) {
    proxies.push(await startProxy(simulation, `127.0.0.${1 + i}`, database, worldOptions(hosts, given)));
  }
  // What one proxy asked while the other was not there yet is asked again with the next round.
  if (proxies.length > 1) await simulation.advance(10_500);
  const clients: Client[] = [];
  return {
    simulation,
    database,
    proxies,
    servers,
    client(host) {
      const client = new Client(simulation, host);
      clients.push(client);
      return client;
    },
    async stop() {
      for (const client of clients) await simulation.finish(client.stop());
      for (const proxy of proxies) await simulation.finish(proxy.stop());
      for (const server of Object.values(servers)) await simulation.finish(server.stop());
    },
  };
}

function worldOptions(hosts: Readonly<Record<string, string>>, given: WorldOptions): ProxyOptions {
  return {
    domains: [DOMAIN],
    servers: Object.entries(hosts).map(([name, host]) => ({
      name,
      nodes: [parseUri(`sip:${host}:5060`) as SipUri],
      balance: "round-robin",
      names: [],
      identities: {},
      onward: "none",
      claims: ["register"],
      proves: ["MESSAGE", "INVITE", "SUBSCRIBE"],
      subdomain: null,
      ...given.serverOptions,
    })),
    models: [],
    routing: "proxy",
    recurse: false,
    clients: { authenticate: "none", realm: DOMAIN, home: null },
    decisionMs: 8_000,
    timerCMs: 181_000,
    learnedMs: 86_400_000,
    retryAfterS: 10,
    health: { intervalMs: 10_000, failures: 3, timeoutMs: 2_000 },
    maxWaiting: 10_000,
    ...given.options,
  };
}

export async function startProxy(
  simulation: Simulation,
  host: string,
  database: MemoryDatabase,
  options: ProxyOptions,
): Promise<ProxyNode> {
  const runtime = simulation.runtime([host]);
  const telemetry = new Telemetry();
  const told: Record<string, unknown[]> = {};
  for (const name of KEPT) {
    told[name] = [];
    telemetry.on(name, (event) => told[name]!.push(event));
  }
  const directory = database.directory(`proxy-${host}`);
  await simulation.finish(directory.start());
  const cache = createDirectoryCache(directory, runtime, {});
  const points = (["udp", "tcp"] as const).map((transport) => ({ transport, host, port: 5060 }));
  const transport = createTransportLayer(runtime, telemetry, { points });
  const transactions = createTransactionLayer(runtime, transport, telemetry, { maxCompletedBytes: 64 << 20 });
  const core = new ProxyCore({ runtime, telemetry, transport, transactions, directory, cache }, options);
  await simulation.finish(transport.start());
  await simulation.finish(core.start());
  return {
    host,
    runtime,
    core,
    directory,
    transport,
    transactions,
    telemetry,
    told: told as ProxyNode["told"],
    async stop() {
      core.stop();
      transactions.stop();
      await transport.stop();
      await directory.stop();
    },
  };
}

/** A bare user agent: what it sends and gets is what the tests assert on. */
export class Client {
  readonly host: string;
  readonly stack: Stack;
  /** Requests it got; each is answered 200. */
  readonly requests: SipRequest[] = [];
  readonly #simulation: Simulation;
  readonly #started: Promise<void>;
  #calls = 0;

  constructor(simulation: Simulation, host: string) {
    this.host = host;
    this.#simulation = simulation;
    this.stack = new Stack(
      simulation.runtime([host]),
      { host, port: 5060 },
      {
        onRequest: (transaction) => {
          this.requests.push(transaction.request);
          transaction.respond(okFor(transaction.request));
        },
        onAck: () => undefined,
        onCancel: () => undefined,
      },
    );
    this.#started = simulation.finish(this.stack.start());
  }

  /** Every response that came, the final one last; empty where nobody answered. */
  async send(method: string, to: string, options: SendOptions = {}): Promise<SipResponse[]> {
    await this.#started;
    const responses: SipResponse[] = [];
    const request = this.request(method, to, options);
    const ended = new Promise<void>((resolve) => {
      void this.stack.send(
        request,
        {
          onResponse: (response) => {
            responses.push(response);
            if (response.status >= 200) resolve();
          },
          onTimeout: () => resolve(),
          onTransportError: () => resolve(),
        },
        { host: options.proxy ?? "127.0.0.1", port: 5060 },
      );
    });
    await this.#simulation.finish(ended);
    return responses;
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
        ["Max-Forwards", "70"],
        ["From", `<${from}>;tag=t${this.#calls}`],
        ["To", `<${to}>`],
        ["Call-ID", options.callId ?? `call-${this.#calls}@${this.host}`],
        ["CSeq", `1 ${method}`],
        ["Contact", `<sip:${this.host}:5060>`],
        ...(method === "SUBSCRIBE" ? [["Event", "presence"] as const, ["Expires", "600"] as const] : []),
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
  readonly callId?: string;
  readonly headers?: readonly HeaderPair[];
  readonly body?: string;
  readonly proxy?: string;
}

function okFor(request: SipRequest): SipResponse {
  return buildResponse(request, 200, "OK", { toTag: "client" });
}
