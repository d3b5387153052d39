import type { PeerCertificate } from "node:tls";

/**
 * The SIP domain identities in a subjectAltName (RFC 5922 7.1), lower-case: the hosts of its `sip:` URIs that name no user;
 * only where there is none, its DNS names.
 * @param subjectAltName as Node prints it: `DNS:a.example, URI:sip:b.example`, unusual values as JSON strings.
 */
export function sipIdentities(subjectAltName: string | undefined): readonly string[] {
  const uris: string[] = [];
  const names: string[] = [];
  for (const [type, value] of alternatives(subjectAltName ?? "")) {
    if (type === "URI") {
      const host = /^sip:([^@:;?]+|\[[^\]@]*\])(?::\d+)?$/i.exec(value)?.[1];
      if (host !== undefined) uris.push(host.toLowerCase());
    } else if (type === "DNS") {
      names.push(value.toLowerCase());
    }
  }
  return uris.length > 0 ? uris : names;
}

function* alternatives(text: string): Iterable<readonly [type: string, value: string]> {
  for (const match of text.matchAll(/(?:^|, )([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,"]*)/g)) {
    const [, type = "", value = ""] = match;
    yield [type, value.startsWith('"') ? String(JSON.parse(value)) : value];
  }
}

/**
 * Is this certificate for `name`? Whole names only, no wildcards (RFC 5922 7.2); an address matches the certificate's addresses.
 * @returns what is wrong, in the form node:tls asks of checkServerIdentity.
 */
export function checkSipIdentity(name: string, certificate: PeerCertificate): Error | undefined {
  const wanted = name.toLowerCase().replace(/\.$/, "");
  const found: string[] = [...sipIdentities(certificate.subjectaltname)];
  for (const [type, value] of alternatives(certificate.subjectaltname ?? "")) {
    if (type === "IP Address") found.push(value.toLowerCase());
  }
  if (found.includes(wanted)) return undefined;
  const said = found.length === 0 ? "no name" : found.join(", ");
  return new Error(`The certificate of ${name} is for ${said} (RFC 5922 7.3).`);
}
