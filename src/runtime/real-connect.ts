import type { TcpSocketConnectOpts } from "node:net";
import { isIP } from "node:net";
import { TransportError } from "../base/errors.ts";
import { secureContext } from "./real-tls.ts";
import type { ConnectOptions } from "./runtime.ts";
import { checkSipIdentity } from "./tls-identity.ts";

/** Where to and where from, as node:net wants it. Hosts are addresses, so no name is looked up. */
export function endpoints(options: ConnectOptions): TcpSocketConnectOpts {
  const { remote, local } = options;
  return {
    host: remote.host,
    port: remote.port,
    ...(local !== undefined && { localAddress: local.host }),
    ...(local !== undefined && local.port !== 0 && { localPort: local.port }),
  };
}

/** Who must be at the other end: the name asked for, else the address itself (RFC 5922 7.3). */
export function serverDemands(options: ConnectOptions) {
  const name = options.serverName ?? options.remote.host;
  return {
    ...secureContext(options.tls),
    rejectUnauthorized: options.tls?.verify !== false,
    // RFC 6066 3: SNI carries names, never addresses.
    ...(isIP(name) === 0 && { servername: name }),
    checkServerIdentity: (_host: string, certificate: Parameters<typeof checkSipIdentity>[1]) =>
      checkSipIdentity(name, certificate),
  };
}

/** @param cause what the system or the TLS library said. */
export function cannotConnect(options: ConnectOptions, cause: Error): TransportError {
  const { kind, remote } = options;
  return new TransportError(`No ${kind} connection to ${remote.host} port ${remote.port}: ${cause.message}`, { cause });
}
