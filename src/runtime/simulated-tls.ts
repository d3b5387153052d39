import type { PeerCertificate } from "node:tls";
import type { ConnectOptions, TlsMaterial } from "./runtime.ts";
import { checkSipIdentity, sipIdentities } from "./tls-identity.ts";

/** What stands for a certificate in a simulation: who signed it and what it is for. */
export interface SimulatedCertificate {
  readonly issuer: string;
  /** As in a subjectAltName: `DNS:east.example.com, URI:sip:example.com`. */
  readonly names: string;
}

/** Text for `cert` (and `key`) of TlsMaterial. It is trusted by those whose `ca` is the issuer's name. */
export function simulatedCertificate(certificate: SimulatedCertificate): string {
  return JSON.stringify(certificate);
}

/**
 * What a TLS handshake comes to.
 * `refused` by the client: it never connects; by the server: the client connects and is then cut off, as TLS 1.3 has it.
 */
export type Handshake =
  | { readonly refused: "client" | "server"; readonly reason: string }
  | { readonly refused?: never; readonly clientSees: readonly string[]; readonly serverSees: readonly string[] };

export function handshake(options: ConnectOptions, server: TlsMaterial | undefined): Handshake {
  const client = options.tls;
  const serverCertificate = read(server?.cert);
  if (serverCertificate === undefined) return { refused: "client", reason: "the server has no certificate" };
  const trusted = trusts(client, serverCertificate);
  if (client?.verify !== false) {
    if (!trusted) return { refused: "client", reason: "unable to verify the first certificate" };
    const wrong = checkSipIdentity(options.serverName ?? options.remote.host, {
      subjectaltname: serverCertificate.names,
    } as PeerCertificate);
    if (wrong !== undefined) return { refused: "client", reason: wrong.message };
  }
  const clientCertificate = read(client?.cert);
  const known = clientCertificate !== undefined && trusts(server, clientCertificate);
  if (server?.verify === true && !known) return { refused: "server", reason: "certificate required" };
  return {
    clientSees: trusted ? sipIdentities(serverCertificate.names) : [],
    serverSees: known ? sipIdentities(clientCertificate.names) : [],
  };
}

function trusts(who: TlsMaterial | undefined, certificate: SimulatedCertificate): boolean {
  return who?.ca !== undefined && who.ca === certificate.issuer;
}

function read(text: string | undefined): SimulatedCertificate | undefined {
  return text === undefined ? undefined : (JSON.parse(text) as SimulatedCertificate);
}
