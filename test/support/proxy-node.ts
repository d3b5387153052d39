import { createDirectoryCache } from "../../src/directory/cache.ts";
import type { Directory } from "../../src/directory/directory.ts";
import type { MemoryDatabase } from "../../src/directory/memory.ts";
import type { Policy } from "../../src/policy/policy.ts";
import type { ProxyOptions } from "../../src/proxy/options.ts";
import { ProxyCore } from "../../src/proxy/proxy-core.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import type { SimulatedRuntime, Simulation } from "../../src/runtime/simulated.ts";
import { createServices, SERVICE_OPTIONS, type ServiceOptions, type Services } from "../../src/services.ts";
import { createTransactionLayer } from "../../src/sip/transaction/layer.ts";
import type { TransactionLayer } from "../../src/sip/transaction/transaction.ts";
import { createTransportLayer } from "../../src/sip/transport/layer.ts";
import type { PointOptions } from "../../src/sip/transport/options.ts";
import type { TransportLayer } from "../../src/sip/transport/transport.ts";
import { type EventName, type Events, Telemetry } from "../../src/telemetry/events.ts";
import { Process, type Tap, type Wire } from "./process.ts";

/** One proxy of a simulated domain, from its start to its stop or death. */
export interface ProxyNode {
  readonly host: string;
  readonly runtime: SimulatedRuntime;
  readonly process: Process;
  readonly core: ProxyCore;
  readonly directory: Directory;
  readonly transport: TransportLayer;
  readonly transactions: TransactionLayer;
  readonly telemetry: Telemetry;
  readonly services: Services;
  /** Everything of these kinds that was told. */
  readonly told: Partial<{ [N in EventName]: Events[N][] }>;
  stop(): Promise<void>;
  /** As by `kill -9`. */
  kill(): void;
}

export interface ProxyNodeOptions {
  readonly proxy: ProxyOptions;
  readonly services?: Partial<ServiceOptions>;
  /** How long name servers take, virtual milliseconds; default: no time. */
  readonly dnsMs?: number;
  readonly wire: Wire;
  /** Of a second listener, for what goes down in trees. */
  readonly downPort?: number;
  /** Default: nobody decides. */
  readonly policy?: (parts: {
    readonly runtime: Runtime;
    readonly telemetry: Telemetry;
    readonly directory: Directory;
  }) => Policy;
  /** Of a proxy that was killed, to be started again in its place. */
  readonly machine?: SimulatedRuntime;
  /** The how-manieth run at this address; default the first. */
  readonly run?: number;
  readonly tap?: Tap;
}

const KEPT: readonly EventName[] = [
  "request",
  "learned",
  "unlearned",
  "conflict",
  "loop",
  "warning",
  "bound",
  "refused",
  "evicted",
  "proofRemoved",
  "health",
  "spread",
  "copied",
];

/** Does not drive the simulation. Rejects where the database does not answer: then it is as if the proxy had been killed. */
export async function startProxy(
  simulation: Simulation,
  host: string,
  database: MemoryDatabase,
  options: ProxyNodeOptions,
): Promise<ProxyNode> {
  const machine = options.machine ?? simulation.runtime([host]);
  const process = new Process(machine, options.run ?? 1, options.wire, options.tap);
  try {
    return await start(process, host, database, options);
  } catch (error) {
    process.kill();
    throw error;
  }
}

async function start(
  process: Process,
  host: string,
  database: MemoryDatabase,
  options: ProxyNodeOptions,
): Promise<ProxyNode> {
  const { dnsMs = 0 } = options;
  const runtime = dnsMs === 0 ? process.runtime : withSlowNames(process.runtime, dnsMs);
  const telemetry = new Telemetry();
  const told: Record<string, unknown[]> = {};
  for (const name of KEPT) {
    told[name] = [];
    telemetry.on(name, (event) => told[name]!.push(event));
  }
  const ownDirectory = database.directory(`proxy-${host}`);
  const directory = process.attach(ownDirectory);
  await directory.start();
  const cache = createDirectoryCache(directory, runtime, { entries: 1_000 });
  const points = (["udp", "tcp"] as const).flatMap((transport): PointOptions[] => [
    { transport, host, port: 5060 },
    ...(options.downPort === undefined
      ? []
      : [{ transport, host, port: options.downPort, direction: "down" as const }]),
  ]);
  const transport = createTransportLayer(runtime, telemetry, {
    points,
    limits: { sources: 1_000, udpFlows: 1_000 },
  });
  const transactions = createTransactionLayer(runtime, transport, telemetry, { maxCompletedBytes: 64 << 20 });
  const core = new ProxyCore(
    {
      runtime,
      telemetry,
      transport,
      transactions,
      directory,
      cache,
      ...(options.policy && { policy: options.policy({ runtime, telemetry, directory }) }),
    },
    options.proxy,
  );
  const services = createServices(core, directory, { ...SERVICE_OPTIONS, ...options.services });
  await core.prepare();
  await transport.start();
  await core.start();
  await services.start();
  return {
    host,
    runtime: process.machine,
    process,
    core,
    directory,
    transport,
    transactions,
    telemetry,
    services,
    told: told as ProxyNode["told"],
    async stop() {
      await services.stop();
      core.stop();
      transactions.stop();
      await transport.stop();
      await directory.stop();
    },
    kill() {
      process.kill();
      void ownDirectory.stop();
    },
  };
}

function withSlowNames(machine: Runtime, ms: number): Runtime {
  const { clock, timers, random, network } = machine;
  const slowly =
    <T>(ask: (name: string) => Promise<T>) =>
    async (name: string): Promise<T> => {
      await new Promise<void>((resolve) => timers.after(ms, resolve));
      return ask(name);
    };
  const { resolver } = network;
  return {
    clock,
    timers,
    random,
    network: {
      udp: (bind, handler) => network.udp(bind, handler),
      listen: (options, accept) => network.listen(options, accept),
      connect: (options) => network.connect(options),
      http: (options) => network.http(options),
      resolver: {
        naptr: slowly((name) => resolver.naptr(name)),
        srv: slowly((name) => resolver.srv(name)),
        a: slowly((name) => resolver.a(name)),
        aaaa: slowly((name) => resolver.aaaa(name)),
      },
    },
  };
}

/** What of its traffic is open at a proxy, a line each. */
export function leftAt(proxy: ProxyNode): string[] {
  const { core, transactions } = proxy;
  const { server, client, completed } = transactions.counts();
  const left = {
    "server transactions": server,
    "client transactions": client,
    "completed transactions": completed,
    "open exchanges": core.open,
    "open forks": core.openForks.size,
    "waiting requests": core.openForks.waiting,
    "forked subscriptions": core.subscriptionForks.size,
  };
  return Object.entries(left).flatMap(([what, count]) => (count === 0 ? [] : [`${proxy.host}: ${count} ${what}`]));
}
