import type { Runtime } from "../../src/runtime/runtime.ts";

/**
 * The same runtime, whose UDP loses what it sends: one datagram in `1 / loss`, drawn from a seed of its own, so that the
 * program above is tried through the seam it always uses.
 * @param loss 0 to 1.
 */
export function lossy<R extends Runtime>(runtime: R, loss: number, seed: number): R {
  let state = seed >>> 0 || 1;
  const lost = (): boolean => {
    // xorshift32
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 0x1_0000_0000 < loss;
  };
  const { network } = runtime;
  return {
    ...runtime,
    network: {
      resolver: network.resolver,
      listen: (options, accept) => network.listen(options, accept),
      connect: (options) => network.connect(options),
      http: (options) => network.http(options),
      async udp(bind, handler) {
        const socket = await network.udp(bind, handler);
        return {
          local: socket.local,
          send: (bytes, host, port) => {
            if (!lost()) socket.send(bytes, host, port);
          },
          close: () => socket.close(),
        };
      },
    },
  };
}
