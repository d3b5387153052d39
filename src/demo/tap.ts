import type { Runtime } from "../runtime/runtime.ts";

/** One datagram that an example server sent or got. */
export interface Tapped {
  /** Monotonic milliseconds. */
  readonly at: number;
  readonly from: number;
  readonly to: number;
  /** latin1. */
  readonly text: string;
}

/** The same runtime, every datagram of its sockets shown to `see`. Addresses are told apart by their ports alone. */
export function tapped(runtime: Runtime, see: (datagram: Tapped) => void): Runtime {
  const show = (from: number, to: number, bytes: Uint8Array): void => {
    see({ at: runtime.clock.now(), from, to, text: Buffer.from(bytes).toString("latin1") });
  };
  return {
    ...runtime,
    clock: runtime.clock,
    timers: runtime.timers,
    random: runtime.random,
    network: {
      listen: (options, accept) => runtime.network.listen(options, accept),
      connect: (options) => runtime.network.connect(options),
      http: (options) => runtime.network.http(options),
      resolver: runtime.network.resolver,
      udp: async (bind, handler) => {
        const socket = await runtime.network.udp(bind, {
          receive: (bytes, host, port) => {
            show(port, bind.port, bytes);
            handler.receive(bytes, host, port);
          },
          failed: (error, host, port) => handler.failed(error, host, port),
        });
        return {
          local: socket.local,
          send: (bytes, host, port) => {
            show(bind.port, port, bytes);
            socket.send(bytes, host, port);
          },
          close: () => socket.close(),
        };
      },
    },
  };
}
