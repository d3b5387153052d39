import { networkInterfaces } from "node:os";
import { createAdmin } from "./admin/admin.ts";
import type { CaptureConfig, Config, ListenConfig, NodeConfig, ServerConfig } from "./config/config.ts";
import { diffConfig } from "./config/diff.ts";
import { createDirectoryCache } from "./directory/cache.ts";
import type { Directory } from "./directory/directory.ts";
import { createDirectory } from "./directory/postgres/directory.ts";
import type { MessagingOptions } from "./messaging/options.ts";
import { PolicyService } from "./policy/service.ts";
import type { ProxyOptions, ServerOptions } from "./proxy/options.ts";
import { ProxyCore } from "./proxy/proxy-core.ts";
import type { Runtime } from "./runtime/runtime.ts";
import { createServices, type Provisioning, SERVICE_OPTIONS } from "./services.ts";
import { parseUri, type SipUri, tryAorOf } from "./sip/message/uri.ts";
import { createTransactionLayer } from "./sip/transaction/layer.ts";
import { createTransportLayer } from "./sip/transport/layer.ts";
import type { PointOptions, TransportOptions } from "./sip/transport/options.ts";
import type { ListenPoint } from "./sip/transport/transport.ts";
import { SUBSCRIPTION_OPTIONS, type SubscriptionOptions } from "./subscription/options.ts";
import { type CaptureOptions, createCapture } from "./telemetry/capture.ts";
import type { Telemetry } from "./telemetry/events.ts";
import { createLogger } from "./telemetry/logger.ts";
import { createMetrics } from "./telemetry/metrics.ts";

/** The one place that builds everything, from configuration to listening, and stops it in reverse order. It decides nothing. */

export interface ServerParts {
  readonly runtime: Runtime;
  readonly telemetry: Telemetry;
  readonly version: string;
  /** In place of the configuration's database: simulations bring their own. */
  readonly directory?: Directory;
  /** Reads the configuration anew, for a reload over the admin API. */
  readonly reread?: () => Config;
}

export interface RunningServer {
  readonly points: readonly ListenPoint[];
  /** URL of the admin page; null: none is served. */
  readonly admin: string | null;
  readonly database: string;
  readonly proxy: ProxyCore;
  readonly directory: Directory;
  /** What changed, and what of it needs a restart and was left. */
  reload(config: Config): readonly string[];
  /** New work is turned away; resolves when what is open has ended, or after `limitMs`. */
  drain(limitMs: number): Promise<void>;
  stop(): Promise<void>;
}

/** @throws CodomainError with one plain sentence where something cannot be had: an address in use, no database. */
export async function startServer(config: Config, parts: ServerParts): Promise<RunningServer> {
  const { runtime, telemetry } = parts;
  const stops: Array<() => void | Promise<void>> = [];
  const stop = async (): Promise<void> => {
    for (const each of stops.splice(0).reverse()) await each();
  };
  try {
    const logger = createLogger(telemetry, { level: config.logging.level, clock: runtime.clock });
    stops.push(() => logger.stop());
    const directory = parts.directory ?? (await createDirectory(runtime, telemetry, directoryOptions(config)));
    await directory.start();
    stops.push(() => directory.stop());
    const cache = createDirectoryCache(directory, runtime, {
      entries: config.limits.cacheEntries,
      absentMs: config.absentMs,
    });
    let trusted = serverHosts(config);
    const transport = createTransportLayer(
      runtime,
      telemetry,
      transportOptions(config, (host) => trusted.has(host)),
    );
    const transactions = createTransactionLayer(runtime, transport, telemetry, {
      t1: config.timers.t1,
      t2: config.timers.t2,
      t4: config.timers.t4,
      maxTransactions: config.limits.transactions,
      maxCompletedBytes: config.limits.completedBytes,
    });
    const policy = new PolicyService({ runtime, telemetry, directory }, config.policy);
    stops.push(() => policy.stop());
    const proxy = new ProxyCore(
      { runtime, telemetry, transport, transactions, directory, cache, policy },
      proxyOptions(config, config.listen),
    );
    stops.push(() => proxy.stop());
    let current = config;
    let provisioning = provisioningOf(config);
    // Registered before anything can come in.
    const services = createServices(proxy, directory, {
      ...SERVICE_OPTIONS,
      messages: () => messagingOptions(current),
      subscriptions: subscriptionOptions(config),
      reconcile: () => ({ rate: current.reconcile.usersPerSecond, restMs: current.reconcile.restMs }),
      provisioning: () => provisioning,
    });
    const { deliverer } = services.messaging;
    if (config.capture !== null) {
      const capture = await createCapture(runtime, telemetry, captureOptions(config.capture));
      stops.push(() => capture.stop());
    }
    await proxy.prepare();
    await transport.start();
    stops.push(async () => {
      transactions.stop();
      await transport.stop();
    });
    const metrics = createMetrics(runtime, telemetry, {
      servers: () => proxy.servers(),
      transactions: () => transactions.counts(),
      cached: () => cache.size,
      openForks: () => proxy.openForks.size,
      waiting: () => proxy.openForks.waiting,
      subscriptions: () => services.subscriptions.counts,
      stored: () => ({ ...deliverer.waiting, inFlight: deliverer.inFlight }),
      parts: () => services.subscriptions.standings,
    });
    stops.push(() => metrics.stop());
    const reload = (next: Config): readonly string[] => {
      const changes = diffConfig(current, next);
      policy.configure(next.policy);
      proxy.configure(proxyOptions(next, config.listen));
      trusted = serverHosts(next);
      logger.setLevel(next.logging.level);
      current = next;
      provisioning = provisioningOf(next);
      const lines = changes.map((change) => (change.restart ? `${change.path} (needs a restart)` : change.path));
      telemetry.emit("configReloaded", { changes: lines });
      return lines;
    };
    // Ready is who has asked the servers once: until then no answer proves anything.
    await proxy.start();
    await services.start();
    stops.push(() => services.stop());
    const admin = await createAdmin(runtime, {
      listen: config.admin,
      version: parts.version,
      directory,
      cache,
      proxy,
      mover: services.mover,
      checker: services.reconciler.checker,
      policy,
      pusher: services.pusher,
      domains: () => current.domains,
      routing: () => current.messages.routing,
      realm: () => current.clients.realm,
      canonicalAor,
      listening: () => transport.points,
      metrics: () => metrics.text(),
      counts: (name) => metrics.values(name),
      reload: parts.reread === undefined ? null : () => reload(parts.reread!()),
      warn: (what, detail) => telemetry.emit("warning", { what, detail }),
    });
    stops.push(() => admin.stop());
    return {
      points: transport.points,
      admin: admin.url,
      database:
        config.database.kind === "embedded"
          ? `embedded, ${config.database.path}`
          : withoutPassword(config.database.url),
      proxy,
      directory,
      reload,
      drain: (limitMs) => drained(runtime, proxy, limitMs),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function subscriptionOptions({ subscriptions }: Config): Partial<SubscriptionOptions> {
  const { longestExpiryMs, shortestExpiryMs, notifyIntervalMs, perWatcher, perUser, perOrigin, most } = subscriptions;
  const { expires, notify } = SUBSCRIPTION_OPTIONS;
  const longest = Math.floor(longestExpiryMs / 1000);
  return {
    expires: { default: Math.min(expires.default, longest), least: Math.ceil(shortestExpiryMs / 1000), most: longest },
    caps: { perWatcher, perUser, perOrigin, inAll: most },
    notify: { ...notify, minIntervalMs: notifyIntervalMs },
  };
}

function drained(runtime: Runtime, proxy: ProxyCore, limitMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = runtime.timers.after(limitMs, resolve);
    void proxy.drain().then(() => {
      timer.cancel();
      resolve();
    });
  });
}

function directoryOptions(config: Config) {
  return {
    database: config.database.kind === "embedded" ? ("embedded" as const) : config.database.url,
    dataDirectory: config.database.kind === "embedded" ? config.database.path : "",
    proxy: config.proxyName,
  };
}

function captureOptions({ host, port, agent, key }: CaptureConfig): CaptureOptions {
  return { url: { host, port }, agentId: agent, ...(key === null ? {} : { key }) };
}

/** Addresses of the servers: no limit per source applies to them. */
function serverHosts(config: Config): ReadonlySet<string> {
  return new Set(config.servers.flatMap((server) => server.nodes.map((node) => node.host)));
}

function transportOptions(config: Config, trusted: (host: string) => boolean): TransportOptions {
  return {
    points: config.listen.map(pointOptions),
    localAddresses: localAddresses(),
    trusted,
    limits: {
      idleMs: config.limits.connectionIdleMs,
      connections: config.limits.connections,
      connectionsPerSource: config.limits.connectionsPerSource,
      messagesPerSecond: config.limits.messagesPerSecond,
      messageBurst: config.limits.messagesPerSecond * 2,
    },
  };
}

function pointOptions(listen: ListenConfig): PointOptions {
  const { tls } = listen;
  return {
    transport: listen.transport,
    host: listen.host,
    port: listen.port,
    direction: listen.direction,
    unknown: listen.unknown,
    ...(listen.advertise === null ? {} : { sentBy: listen.advertise }),
    ...(tls === null
      ? {}
      : { tls: { cert: tls.cert, key: tls.key, verify: tls.verify, ...(tls.ca === null ? {} : { ca: tls.ca }) } }),
  };
}

function localAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((each) => (each ?? []).map((address) => address.address));
}

/** Requests that may wait on open forks, and forked SUBSCRIBEs remembered. */
const MAX_WAITING = 100_000;
const RETRY_AFTER_S = 10;

/** The configuration as the proxy layer wants it. @param listening what is listened on, since the start. */
function proxyOptions(config: Config, listening: Config["listen"]): ProxyOptions {
  return {
    domains: config.domains,
    servers: config.servers.map(serverOptions),
    models: config.models.map(({ match, ...model }) => ({ match, model })),
    routing: config.routing,
    recurse: config.recurse,
    clients: config.clients,
    decisionMs: config.decisionMs,
    hold: { users: config.subscriptions.hold, events: config.subscriptions.holdEvents },
    absentMessages: config.messages.absent,
    imRouting: { algorithm: config.messages.routing, copies: config.messages.copies },
    unions: {
      trees: config.trees,
      downListener: listening.some((listen) => listen.direction === "down"),
      unreachable: config.subscriptions.unreachable,
    },
    exclusive: { damping: config.exclusive.damping, graceMs: config.exclusive.graceMs },
    timerCMs: config.timers.c,
    learnedMs: config.learnedMs,
    retryAfterS: RETRY_AFTER_S,
    health: config.health,
    maxWaiting: MAX_WAITING,
  };
}

function provisioningOf({ servers, policy }: Config): Provisioning {
  const domains = Object.entries(policy.domains).filter(([, each]) => each.way === "central");
  return {
    servers: servers.flatMap(({ name, xcap }) => (xcap === null ? [] : [{ name, ...xcap }])),
    domains: domains.map(([domain]) => domain),
  };
}

function messagingOptions({ messages }: Config): MessagingOptions {
  const { keepMs, rememberMs, perRecipient, octetsPerRecipient, perSender } = messages;
  return { keepMs, traceMs: rememberMs, limits: { perRecipient, octetsPerRecipient, perSender } };
}

function serverOptions(server: ServerConfig): ServerOptions {
  return {
    name: server.name,
    nodes: server.nodes.map(nodeUri),
    balance: server.balance,
    names: server.names,
    identities: server.identities,
    onward: server.onward,
    neverDenies: server.policy === "none",
    preserves: server.preserves,
    claims: server.claims,
    proves: server.proves,
    subdomain: server.subdomain,
    repoint: server.repoint,
    offers: server.offers,
    evict: server.evict,
    reginfo: server.reginfo,
  };
}

function nodeUri(node: NodeConfig): SipUri {
  const uri = parseUri(node.uri);
  if (uri.kind !== "sip") throw new TypeError(`${node.uri} is no SIP URI`);
  return uri;
}

function canonicalAor(text: string): string | undefined {
  try {
    return tryAorOf(parseUri(/^sips?:/i.test(text) ? text : `sip:${text}`));
  } catch {
    return undefined;
  }
}

function withoutPassword(url: string): string {
  return url.replace(/:[^:@/]*@/, ":…@");
}
