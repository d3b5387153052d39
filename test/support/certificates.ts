import { createSign, generateKeyPairSync, type KeyObject } from "node:crypto";

/** PEM texts. */
export interface Issued {
  readonly cert: string;
  readonly key: string;
}

export interface Subject {
  readonly dns?: readonly string[];
  readonly uri?: readonly string[];
  /** IPv4 addresses. */
  readonly ip?: readonly string[];
  readonly expired?: boolean;
}

/** A certificate authority that lives as long as the test. */
export interface Authority {
  /** PEM text of its own certificate, for `ca`. */
  readonly ca: string;
  issue(subject: Subject): Issued;
}

/** X.509 version 3 (RFC 5280), just as much of it as SIP's identities need: P-256 keys, subjectAltName. */
export function createAuthority(name: string): Authority {
  const keys = newKeys();
  const basic = extension("551d13", sequence(boolean(true)), true);
  const ca = certificate(name, name, keys.publicKey, keys.privateKey, [basic], false);
  return {
    ca,
    issue(subject) {
      const own = newKeys();
      const names = [
        ...(subject.dns ?? []).map((text) => der(0x82, Buffer.from(text))),
        ...(subject.uri ?? []).map((text) => der(0x86, Buffer.from(text))),
        ...(subject.ip ?? []).map((text) => der(0x87, Buffer.from(text.split(".").map(Number)))),
      ];
      const extensions = names.length === 0 ? [] : [extension("551d11", sequence(...names), false)];
      return {
        cert: certificate("test", name, own.publicKey, keys.privateKey, extensions, subject.expired === true),
        key: own.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
      };
    },
  };
}

function newKeys(): { publicKey: KeyObject; privateKey: KeyObject } {
  return generateKeyPairSync("ec", { namedCurve: "P-256" });
}

let serial = 1;

function certificate(
  subject: string,
  issuer: string,
  publicKey: KeyObject,
  issuerKey: KeyObject,
  extensions: readonly Buffer[],
  expired: boolean,
): string {
  // ecdsa-with-SHA256
  const algorithm = sequence(oid("2a8648ce3d040302"));
  const parts = [
    der(0xa0, der(0x02, Buffer.of(2))),
    der(0x02, Buffer.from([0x10, ...Buffer.from((serial++).toString(16).padStart(8, "0"), "hex")])),
    algorithm,
    commonName(issuer),
    sequence(der(0x17, Buffer.from("200101000000Z")), der(0x18, Buffer.from(`${expired ? 2021 : 2120}0101000000Z`))),
    commonName(subject),
    publicKey.export({ type: "spki", format: "der" }),
  ];
  if (extensions.length > 0) parts.push(der(0xa3, sequence(...extensions)));
  const body = sequence(...parts);
  const signature = createSign("sha256").update(body).sign(issuerKey);
  const whole = sequence(body, algorithm, der(0x03, Buffer.of(0), signature));
  const lines = whole.toString("base64").match(/.{1,64}/g) ?? [];
  return ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----", ""].join("\n");
}

function commonName(text: string): Buffer {
  return sequence(der(0x31, sequence(oid("550403"), der(0x0c, Buffer.from(text)))));
}

function extension(id: string, value: Buffer, critical: boolean): Buffer {
  return sequence(oid(id), ...(critical ? [boolean(true)] : []), der(0x04, value));
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, ...parts);
}

function boolean(value: boolean): Buffer {
  return der(0x01, Buffer.of(value ? 0xff : 0));
}

function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, "hex"));
}

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.of(tag, length), content]);
  if (length < 0x100) return Buffer.concat([Buffer.of(tag, 0x81, length), content]);
  return Buffer.concat([Buffer.of(tag, 0x82, length >> 8, length & 0xff), content]);
}
