import type { Directory } from "./directory/directory.ts";
import { identityOn } from "./federation/identity.ts";
import { Mover } from "./moving/mover.ts";
import { NO_HANDLERS } from "./proxy/handlers.ts";
import type { ProxyCore } from "./proxy/proxy-core.ts";
import { Evictor } from "./subscription/evictor.ts";

/** What is carried out beside the proxy, built and registered as its handlers. */
export interface Services {
  readonly mover: Mover;
  /** After the transport listens and the proxy has started: a lease is opened, and what nobody owns is taken over. */
  start(): Promise<void>;
  /** In reverse order; what is owned is given up, so that another proxy may take it at once. */
  stop(): Promise<void>;
}

export interface ServiceOptions {
  /** How long a lease of this proxy lasts without renewal, milliseconds. */
  readonly leaseMs: number;
}

export const SERVICE_OPTIONS: ServiceOptions = { leaseMs: 15_000 };

/** The one place that joins subscription/ and messaging/ to the proxy; the program and the simulation build the same. */
export function createServices(proxy: ProxyCore, directory: Directory, _options: ServiceOptions): Services {
  proxy.handlers = NO_HANDLERS;
  const { runtime, telemetry, outbound } = proxy;
  const evictor = new Evictor({
    runtime,
    telemetry,
    directory,
    outbound,
    servers: () => proxy.evictedByRegister,
    nameOn: (aor, server) => nameOn(proxy, aor, server),
  });
  const mover = new Mover(
    { runtime, telemetry, directory, models: () => proxy.models },
    `${directory.proxy}-${runtime.random.token(8)}`,
  );
  return {
    mover,
    async start() {
      evictor.start();
      mover.start();
    },
    async stop() {
      evictor.stop();
      await mover.stop();
    },
  };
}

/** Full AoR by which a server knows the user; his own, where his record cannot be read now. */
async function nameOn(proxy: ProxyCore, aor: string, server: string): Promise<string> {
  const known = await proxy.cache.lookup(aor).catch(() => null);
  const record = known?.state === "bound" || known?.state === "no-binding" ? known.user : null;
  return identityOn(proxy.identities, aor, server, record);
}
