import type { PeerCertificate, SecureContextOptions, TLSSocket } from "node:tls";
import type { TlsMaterial } from "./runtime.ts";
import { sipIdentities } from "./tls-identity.ts";

/** RFC 5922 identities of a peer whose certificate was verified; nothing from one that was not. */
export function peerNames(socket: TLSSocket): readonly string[] {
  if (!socket.authorized) return [];
  const certificate: PeerCertificate | undefined = socket.getPeerCertificate();
  return sipIdentities(certificate?.subjectaltname);
}

/** Undefined keys left out: node:tls takes an undefined `ca` and a missing one for different things. */
export function secureContext(tls: TlsMaterial | undefined): SecureContextOptions {
  return {
    minVersion: "TLSv1.2",
    ...(tls?.cert !== undefined && { cert: tls.cert }),
    ...(tls?.key !== undefined && { key: tls.key }),
    ...(tls?.ca !== undefined && { ca: tls.ca }),
  };
}

/** What a listener asks of its clients: with `verify` a certificate or no connection; with a `ca` only, a look at what is offered. */
export function clientDemands(tls: TlsMaterial | undefined): { requestCert: boolean; rejectUnauthorized: boolean } {
  const verify = tls?.verify === true;
  return { requestCert: verify || tls?.ca !== undefined, rejectUnauthorized: verify };
}
