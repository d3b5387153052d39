import type { Directory, Lookup } from "./directory/directory.ts";
import { identityOn, serversFor } from "./federation/identity.ts";
import { modelOf } from "./federation/model.ts";
import type { UnionView } from "./federation/plan.ts";
import { unionOf } from "./federation/union-view.ts";
import { UnionViews } from "./federation/union-views.ts";
import { createMessaging, type Messaging } from "./messaging/messaging.ts";
import {
  DELIVERY_OPTIONS,
  type DeliveryOptions,
  MESSAGING_OPTIONS,
  type MessagingOptions,
} from "./messaging/options.ts";
import type { Router } from "./messaging/ports.ts";
import { Mover } from "./moving/mover.ts";
import { Reconciler, type ReconcilerOptions } from "./moving/reconciler.ts";
import { type ProvisionedServer, Pusher } from "./provisioning/pusher.ts";
import { planDelivery } from "./proxy/delivery.ts";
import type { ProxyCore } from "./proxy/proxy-core.ts";
import { recordIn } from "./proxy/steps/facts.ts";
import { learnIfDue } from "./proxy/steps/relay.ts";
import { Accepting } from "./subscription/accept.ts";
import { ComposedAccepting } from "./subscription/composed-accept.ts";
import { Evictor } from "./subscription/evictor.ts";
import { InDialogs } from "./subscription/in-dialog.ts";
import { isOwnTag } from "./subscription/leg.ts";
import { SUBSCRIPTION_OPTIONS, type SubscriptionOptions } from "./subscription/options.ts";
import type { ServerDesk, UnionFound } from "./subscription/ports.ts";
import { PresenceFetch } from "./subscription/presence-fetch.ts";
import { type RegDesk, RegNotifier } from "./subscription/reg-notifier.ts";
import { type ClaimRules, RegSubscriber } from "./subscription/reg-subscriber.ts";
import { Subscriptions } from "./subscription/service.ts";
import { WinfoNotifier } from "./subscription/winfo-notifier.ts";

/** What is carried out beside the proxy, built and registered as its handlers. */
export interface Services {
  readonly mover: Mover;
  readonly reconciler: Reconciler;
  readonly subscriptions: Subscriptions;
  readonly messaging: Messaging;
  /** Null: nothing is ever pushed. */
  readonly pusher: Pusher | null;
  /** After the transport listens and the proxy has started: a lease is opened, and what nobody owns is taken over. */
  start(): Promise<void>;
  /** The subscriptions' lease last. What is owned is given up, so that another proxy may take it at once. */
  stop(): Promise<void>;
}

export interface ServiceOptions {
  /** How long a lease of this proxy lasts without renewal, milliseconds. */
  readonly leaseMs: number;
  /** What differs of SUBSCRIPTION_OPTIONS. */
  readonly subscriptions?: Partial<SubscriptionOptions>;
  /** As they are now. */
  readonly messages: () => MessagingOptions;
  readonly delivery: DeliveryOptions;
  /** As they are now. */
  readonly reconcile: () => ReconcilerOptions;
  /** Servers that take users' rules, and the domains whose users' rules they are, as they are now; null: there never are any. */
  readonly provisioning: (() => Provisioning) | null;
}

export interface Provisioning {
  readonly servers: readonly ProvisionedServer[];
  readonly domains: readonly string[];
}

export const SERVICE_OPTIONS: ServiceOptions = {
  leaseMs: 15_000,
  messages: () => MESSAGING_OPTIONS,
  delivery: DELIVERY_OPTIONS,
  reconcile: () => ({ rate: 0, restMs: 600_000 }),
  provisioning: null,
};

/** The one place that joins subscription/, messaging/ and moving/ to the proxy; the program and the simulation build the same. */
export function createServices(proxy: ProxyCore, directory: Directory, options: ServiceOptions): Services {
  const { runtime, telemetry, outbound } = proxy;
  const named = (aor: string, server: string) => nameOn(proxy, aor, server);
  const evictor = new Evictor({
    runtime,
    telemetry,
    directory,
    outbound,
    servers: () => proxy.evictedByRegister,
    nameOn: named,
  });
  const owner = `${directory.proxy}-${runtime.random.token(8)}`;
  const mover = new Mover({ runtime, telemetry, directory, models: () => proxy.models }, owner);
  const reconciler = new Reconciler(
    {
      runtime,
      telemetry,
      directory,
      outbound,
      models: () => proxy.models,
      servers: () => proxy.rotation.facts,
      nodeOf: (server) => proxy.rotation.nodes(server)[0],
      nameOn: named,
    },
    owner,
    options.reconcile,
  );
  const subscriptions = new Subscriptions(
    {
      runtime,
      telemetry,
      directory,
      outbound,
      servers: serverDesk(proxy),
      policy: proxy.policy,
      points: () => proxy.transport.points,
    },
    {
      ...SUBSCRIPTION_OPTIONS,
      leaseMs: options.leaseMs,
      retryAfterS: proxy.options.retryAfterS,
      ...options.subscriptions,
    },
  );
  const accepting = new Accepting(subscriptions);
  const composedAccepting = new ComposedAccepting(subscriptions, accepting);
  const inDialogs = new InDialogs(subscriptions);
  const regNotifier = new RegNotifier(subscriptions, regDesk(proxy, directory));
  subscriptions.serve("reg", regNotifier);
  const winfoNotifier = new WinfoNotifier(subscriptions, {
    directory,
    policy: proxy.policy,
    identity: (aor, server) => (server === null ? aor : identityOn(proxy.identities, aor, server)),
  });
  subscriptions.serve("winfo", winfoNotifier);
  const regSubscriber = new RegSubscriber({
    runtime,
    telemetry,
    directory,
    outbound,
    offering: () => proxy.options.servers.filter((each) => each.offers.includes("reg")).map((each) => each.name),
    domain: () => proxy.options.domains[0]!,
    rules: (aor) => claimRules(proxy, aor),
    nameOn: named,
  });
  const presenceFetch = new PresenceFetch({ runtime, outbound, nameOn: named });
  subscriptions.registry.watched = (aor, isWatched) => regSubscriber.watched(aor, isWatched);
  const endHealth = telemetry.on("health", ({ server, up }) => {
    if (up) return;
    // It is told of a node before the server is looked at again.
    runtime.timers.soon(() => {
      if (proxy.rotation.nodes(server).length === 0) subscriptions.wentDown(server);
    });
  });
  const endReloads = telemetry.on("configReloaded", () => {
    regSubscriber.reconfigured(subscriptions.registry.users());
    subscriptions.reconfigured();
  });
  const messaging = createMessaging(
    { runtime, telemetry, directory, outbound, router: routerOf(proxy), options: options.messages },
    options.delivery,
  );
  const pusher = options.provisioning === null ? null : pusherOf(proxy, directory, options.provisioning);
  proxy.handlers = {
    ownsTag: (tag) => isOwnTag(tag) || regSubscriber.ownsTag(tag) || presenceFetch.ownsTag(tag),
    inDialog(handed) {
      if (presenceFetch.ownsTag(handed.request.to.tag ?? "")) {
        presenceFetch.handle(handed);
        return "answered";
      }
      if (!regSubscriber.ownsTag(handed.request.to.tag ?? "")) return inDialogs.handle(handed);
      regSubscriber.handle(handed);
      return "answered";
    },
    hold: (handed, { server, epoch, known, searched }) =>
      accepting.subscribe(handed, { kind: "presence", aor: handed.aor, server, epoch, known, searched }),
    compose: (handed, plan) => composedAccepting.subscribe(handed, plan),
    winfo: (handed) => winfoNotifier.subscribe(accepting, handed),
    reginfo: (handed, { server, aor }) => regNotifier.subscribe(accepting, handed, server, aor),
    store: (handed, plan) => messaging.keeper.store(handed, plan),
    keep: (handed, untaken) => messaging.keeper.keep(handed, untaken),
    presence: (aor) => subscriptions.composing.activity(aor),
    fetchPresence: (aor, servers) => presenceFetch.fetch(aor, servers),
    claimedAgain: (aor) => messaging.deliverer.claimedAgain(aor),
  };
  return {
    mover,
    reconciler,
    subscriptions,
    messaging,
    pusher,
    async start() {
      regNotifier.start();
      winfoNotifier.start();
      await subscriptions.start();
      evictor.start();
      mover.start();
      reconciler.start();
      messaging.deliverer.start();
      pusher?.start();
    },
    async stop() {
      await pusher?.stop();
      await messaging.deliverer.stop();
      evictor.stop();
      await mover.stop();
      await reconciler.stop();
      endReloads();
      endHealth();
      regSubscriber.stop();
      presenceFetch.stop();
      await subscriptions.stop();
      regNotifier.stop();
      winfoNotifier.stop();
    },
  };
}

function pusherOf(proxy: ProxyCore, directory: Directory, provisioning: () => Provisioning): Pusher {
  return new Pusher({
    runtime: proxy.runtime,
    telemetry: proxy.telemetry,
    directory,
    servers: () => provisioning().servers,
    domains: () => provisioning().domains,
    ownDomains: () => proxy.options.domains,
    lookup: async (aor) => proxy.cache.peek(aor) ?? (await proxy.cache.lookup(aor)),
    serversOf: (aor, known) => {
      const { model } = modelOf(proxy.models, aor, "user" in known ? known.user : null);
      if (model.model !== "unioned") return known.state === "bound" ? [known.binding.server] : [];
      return unionOf(model, proxy.settings.unions.trees, proxy.rotation.facts)?.members ?? [];
    },
    nameOn: (aor, server, record) => identityOn(proxy.identities, aor, server, record),
  });
}

function serverDesk(proxy: ProxyCore): ServerDesk {
  const views = new UnionViews();
  return {
    takesLegs: (server) => proxy.rotation.server(server)?.repoint ?? true,
    learned: (aor, server, epoch, isThere) => void learned(proxy, aor, server, epoch, isThere).catch(() => undefined),
    nameOn: async (aor, server) => {
      const identity = await nameOn(proxy, aor, server);
      const subdomain = proxy.settings.subdomains[server];
      const host = identity.lastIndexOf("@") + 1;
      return { identity, uri: `sip:${subdomain === undefined ? identity : identity.slice(0, host) + subdomain}` };
    },
    union: (aor, view) => {
      const known = proxy.cache.peek(aor);
      if (known !== undefined) return unionNow(proxy, views, aor, view, known);
      return proxy.cache.lookup(aor).then(
        (each) => unionNow(proxy, views, aor, view, each),
        () => "away" as const,
      );
    },
    isMember: (aor, server) => {
      const known = proxy.cache.peek(aor);
      const { model } = modelOf(proxy.models, aor, known === undefined ? null : recordIn(known));
      // Unioned by his own record, which is not at hand: it may be.
      if (model.model !== "unioned") return known === undefined;
      return unionOf(model, proxy.settings.unions.trees, proxy.rotation.facts)?.members.includes(server) === true;
    },
    mayBeMissing: (server) =>
      proxy.settings.unions.unreachable === "without" &&
      proxy.rotation.facts.some((each) => each.name === server && each.neverDenies),
    isServer: (host, port) => proxy.serverAt(host, port) !== undefined,
    traits: (server) => proxy.rotation.facts.find((each) => each.name === server) ?? null,
    onUp: (listener) => proxy.onServerUp(listener),
  };
}

/** What a leg's server has said of a partitioned user is what it would have said to a proxied SUBSCRIBE (models.md, "Lifetimes"). */
async function learned(proxy: ProxyCore, aor: string, server: string, epoch: number, isThere: boolean): Promise<void> {
  if (!isThere) {
    const { outcome } = await proxy.directory.unlearn(aor, server, epoch);
    const reason = "404 to a SUBSCRIBE";
    if (outcome === "unbound") proxy.telemetry.emit("unlearned", { aor, server, reason });
    return;
  }
  const known = await proxy.cache.lookup(aor);
  const proves = proxy.rotation.facts.find((each) => each.name === server)?.proves.includes("SUBSCRIBE");
  if (proves && known.state === "bound" && known.binding.server === server && known.binding.origin === "learned")
    learnIfDue(proxy, aor, server);
}

/** As the decision about a SUBSCRIBE finds it (federation/unioned.ts). */
function unionNow(proxy: ProxyCore, views: UnionViews, aor: string, view: UnionView, known: Lookup): UnionFound {
  const record = known.state === "bound" || known.state === "no-binding" ? known.user : null;
  const { model } = modelOf(proxy.models, aor, record);
  if (model.model !== "unioned") return "elsewise";
  const servers = serversFor(proxy.identities, aor, record, proxy.rotation.facts);
  return views.of(model, proxy.settings.unions, servers, view) ?? "elsewise";
}

function regDesk(proxy: ProxyCore, directory: Directory): RegDesk {
  return {
    directory,
    reader: (server) => {
      const options = proxy.rotation.server(server);
      const contact = options?.nodes[0]?.raw;
      return options === undefined || contact === undefined ? null : { contact, reads: options.reginfo };
    },
    identity: (aor, server, record) => identityOn(proxy.identities, aor, server, record),
    lookup: (aor) => proxy.cache.peek(aor) ?? proxy.cache.lookup(aor),
  };
}

/** Where stored messages go: the decision that traffic is told. */
function routerOf(proxy: ProxyCore): Router {
  return {
    where: (message) => planDelivery(proxy, message),
    proves: (server) => proxy.rotation.facts.some((each) => each.name === server && each.proves.includes("MESSAGE")),
    nameOn: (aor, server) => identityOn(proxy.identities, aor, server),
    canonical: (aor, server) => proxy.canonical(aor, server),
    onServerUp: (listener) => proxy.onServerUp(listener),
    get domains() {
      return proxy.options.domains;
    },
    get learnedMs() {
      return proxy.options.learnedMs;
    },
    get retryAfterS() {
      return proxy.options.retryAfterS;
    },
  };
}

/** How what a server says of this user's registration is judged; null: he is not of the exclusive model. */
async function claimRules(proxy: ProxyCore, aor: string): Promise<ClaimRules | null> {
  if (!proxy.options.domains.includes(aor.slice(aor.lastIndexOf("@") + 1))) return null;
  const known = await proxy.cache.lookup(aor);
  const record = known.state === "bound" || known.state === "no-binding" ? known.user : null;
  const { model } = modelOf(proxy.models, aor, record);
  return model.model === "exclusive" ? { conflict: model.conflict, ...proxy.settings.exclusive } : null;
}

/** Full AoR by which a server knows the user; his own, where his record cannot be read now. */
async function nameOn(proxy: ProxyCore, aor: string, server: string): Promise<string> {
  const known = await proxy.cache.lookup(aor).catch(() => null);
  const record = known?.state === "bound" || known?.state === "no-binding" ? known.user : null;
  return identityOn(proxy.identities, aor, server, record);
}
