import { type CountingRuntime, Handles } from "./handles.ts";
import { RealHttp } from "./real-http.ts";
import { realRandom } from "./real-random.ts";
import { realResolver } from "./real-resolver.ts";
import { connectBytes, listenBytes } from "./real-stream.ts";
import { RealTimers, realClock } from "./real-time.ts";
import { openUdp } from "./real-udp.ts";
import { connectWebSocket, listenWebSocket } from "./real-websocket.ts";
import type { Network, Resolver } from "./runtime.ts";

export interface RealOptions {
  /** Instead of the system's DNS: `zoneResolver(zone, realResolver())` for a test's names. */
  readonly resolver?: Resolver;
}

/** The machine this process runs on: Node's clock, timers, sockets and DNS, and cryptographic randomness. */
export function createRealRuntime(options: RealOptions = {}): CountingRuntime {
  const handles = new Handles();
  const network: Network = {
    udp: (bind, handler) => openUdp(handles, bind, handler),
    listen: (how, accept) =>
      how.kind === "tcp" || how.kind === "tls"
        ? listenBytes(handles, how, accept)
        : listenWebSocket(handles, how, accept),
    connect: (how) =>
      how.kind === "tcp" || how.kind === "tls" ? connectBytes(handles, how) : connectWebSocket(handles, how),
    http: (how) => new RealHttp(handles, how),
    resolver: options.resolver ?? realResolver(),
  };
  return {
    clock: realClock,
    timers: new RealTimers(handles),
    random: realRandom(),
    network,
    leaks: () => handles.leaks(),
  };
}
