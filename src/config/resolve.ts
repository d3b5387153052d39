import { createPrivateKey, X509Certificate } from "node:crypto";
import { resolve } from "node:path";
import { isLoopback } from "../sip/transport/address.ts";
import { nodesOf } from "./check-servers.ts";
import type {
  CaptureConfig,
  Config,
  DatabaseConfig,
  ExclusiveConfig,
  ListenConfig,
  ModelRule,
  ServerConfig,
  TlsConfig,
} from "./config.ts";
import type { Draft, Sections } from "./draft.ts";
import type { Path, PathFault } from "./faults.ts";
import { resolvePolicy } from "./resolve-policy.ts";
import { canonicalAor } from "./scalars.ts";

/** Where files named in the configuration come from. */
export interface Files {
  /** Relative paths are relative to this directory. */
  readonly base: string;
  read(path: string): string;
}

type Report = (fault: PathFault) => void;

/** A checked draft with its defaults filled in and its files read. Worth nothing where a fault was reported. */
export function resolveConfig(
  draft: Draft,
  sections: Sections,
  domains: readonly string[],
  files: Files,
  hostName: string,
  report: Report,
): Config {
  const listen = draft.listen.map((each) => resolveListen(each, files, report));
  const { clients, messages, subscriptions, timers, limits, health } = sections;
  return {
    domains,
    proxyName: sections["proxy-name"] ?? `${hostName}-${listen[0]?.port ?? 5060}`,
    listen,
    database: resolveDatabase(sections.database, files),
    admin: { ...sections.admin.url, token: sections.admin.token ?? null },
    servers: [...draft.servers].map(([name, each]) => resolveServer(name, each.value)),
    trees: [...draft.trees].map(([name, { value }]) => ({ name, root: value.root, children: value.children })),
    models: draft.models.map((each) => resolveModel(each.value)),
    clients: { authenticate: clients.authenticate, realm: clients.realm ?? domains[0]!, home: clients.home ?? null },
    messages: {
      absent: messages.absent,
      keepMs: messages.keep,
      rememberMs: messages.remember,
      perRecipient: messages["per-recipient"],
      octetsPerRecipient: messages["octets-per-recipient"],
      perSender: messages["per-sender"],
      routing: messages.routing,
      copies: messages.copies === "on",
    },
    subscriptions: {
      hold: subscriptions.hold,
      holdEvents: subscriptions["hold-events"],
      unreachable: subscriptions.unreachable,
      longestExpiryMs: subscriptions["longest-expiry"],
      shortestExpiryMs: subscriptions["shortest-expiry"],
      notifyIntervalMs: subscriptions["notify-interval"],
      perWatcher: subscriptions["per-watcher"],
      perUser: subscriptions["per-user"],
      perOrigin: subscriptions["per-origin"],
      most: subscriptions.most,
    },
    exclusive: resolveExclusive(sections.exclusive),
    reconcile: { usersPerSecond: sections.reconcile["users-per-second"], restMs: sections.reconcile.rest },
    policy: resolvePolicy(sections.policy, domains, files, report),
    routing: sections.routing,
    decisionMs: sections["decision-time"],
    recurse: sections.recurse,
    timers,
    limits: {
      messagesPerSecond: limits["messages-per-second"],
      connections: limits.connections,
      connectionsPerSource: limits["connections-per-source"],
      connectionIdleMs: limits["connection-idle"],
      transactions: limits.transactions,
      completedBytes: limits["completed-bytes"],
      cacheEntries: limits["cache-entries"],
    },
    health: { intervalMs: health.interval, timeoutMs: health.timeout, failures: health.failures },
    learnedMs: sections.learned,
    absentMs: sections["absent-memory"],
    logging: sections.logging,
    capture: resolveCapture(sections.capture),
  };
}

function resolveCapture(value: Sections["capture"]): CaptureConfig | null {
  return value === undefined ? null : { ...value.hep, agent: value.agent, key: value.key ?? null };
}

function resolveExclusive(value: Sections["exclusive"]): ExclusiveConfig {
  const damping = value.flaps === 0 ? null : { limit: value.flaps, windowMs: value["flap-window"] };
  return { graceMs: value.grace, damping };
}

function resolveListen({ path, value }: Draft["listen"][number], files: Files, report: Report): ListenConfig {
  return {
    url: value.url,
    transport: value.transport,
    host: value.host,
    port: value.port,
    advertise: value.advertise ?? null,
    direction: value.direction,
    unknown: value.unknown ?? (isLoopback(value.host) ? "client" : "refuse"),
    tls: value.transport === "tls" || value.transport === "wss" ? readTls(path, value, files, report) : null,
  };
}

function readTls(path: Path, value: Draft["listen"][number]["value"], files: Files, report: Report): TlsConfig | null {
  const error = (key: string, message: string, fix: string): undefined => {
    report({ severity: "error", path: [...path, key], at: "value", message, fix });
    return undefined;
  };
  const pem = (key: "cert" | "key" | "ca"): string | undefined => {
    const given = value[key];
    if (given === undefined) return undefined;
    let text = given;
    if (!given.includes("-----BEGIN")) {
      const file = resolve(files.base, given);
      try {
        text = files.read(file);
      } catch (cause) {
        return error(
          key,
          `${file} cannot be read (${(cause as NodeJS.ErrnoException).code ?? "unknown error"}).`,
          "Correct the path, or make the file readable.",
        );
      }
    }
    try {
      if (key === "key") createPrivateKey(text);
      else new X509Certificate(text);
      return text;
    } catch {
      const what = key === "key" ? "private key without a pass phrase" : "certificate";
      return error(
        key,
        `This holds no ${what} in PEM form.`,
        key === "key"
          ? "Name the file that begins with -----BEGIN PRIVATE KEY-----."
          : "Name the file that begins with -----BEGIN CERTIFICATE-----.",
      );
    }
  };
  const cert = pem("cert");
  const key = pem("key");
  const ca = pem("ca");
  if (cert === undefined || key === undefined) return null;
  if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) {
    error(
      "key",
      "This key does not belong to the certificate.",
      "Name the key the certificate was made for; the chain's first certificate must be the server's own.",
    );
  }
  return { cert, key, ca: ca ?? null, verify: value.verify ?? ca !== undefined };
}

function resolveDatabase(text: string, files: Files): DatabaseConfig {
  if (text === "embedded") return { kind: "embedded", path: resolve("data") };
  if (text.startsWith("embedded:"))
    return { kind: "embedded", path: resolve(files.base, text.slice("embedded:".length)) };
  return { kind: "postgres", url: text };
}

function resolveServer(
  name: string,
  value: Draft["servers"] extends ReadonlyMap<string, { value: infer V }> ? V : never,
): ServerConfig {
  return {
    name,
    nodes: nodesOf(value).map((each) => each.node),
    balance: value.balance,
    names: value.names,
    identities: Object.fromEntries(
      Object.entries(value.identities).map(([user, identity]) => [canonicalAor(user) ?? user, identity]),
    ),
    onward: value.onward,
    claims: value.claims,
    proves: value.proves,
    reginfo: value.reginfo,
    evict: value.evict,
    preserves: value.preserves,
    policy: value.policy,
    offers: value.offers,
    repoint: value.repoint === true || value.repoint === "yes",
    subdomain: value.subdomain ?? null,
    xcap:
      value.xcap === undefined
        ? null
        : { ...value.xcap, user: value.xcap.user ?? null, password: value.xcap.password ?? null },
  };
}

function resolveModel(value: Draft["models"][number]["value"]): ModelRule {
  const { match } = value;
  if (value.model === "partitioned") return { match, model: "partitioned" };
  if (value.model === "exclusive")
    return { match, model: "exclusive", conflict: value.conflict, refuseWith: value["refuse-with"] };
  if (value.style === "hierarchical") return { match, model: "unioned", style: "hierarchical", tree: value.tree ?? "" };
  return { match, model: "unioned", style: "peer", servers: value.servers ?? [] };
}
