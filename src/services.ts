import type { Directory } from "./directory/directory.ts";
import { NO_HANDLERS } from "./proxy/handlers.ts";
import type { ProxyCore } from "./proxy/proxy-core.ts";

/** What is carried out beside the proxy, built and registered as its handlers. */
export interface Services {
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
export function createServices(proxy: ProxyCore, _directory: Directory, _options: ServiceOptions): Services {
  proxy.handlers = NO_HANDLERS;
  return {
    start: () => Promise.resolve(),
    stop: () => Promise.resolve(),
  };
}
