import { z } from "zod";
import { canonicalHost, defaultPort, familyOf, splitHostPort } from "../sip/transport/address.ts";
import type { AdminConfig, ListenTransport, NodeConfig } from "./config.ts";

/** What single values look like, and what they become. */

type Context = z.core.$RefinementCtx<string>;

/** Reports a fault with its remedy; returns what zod wants returned. */
function bad(context: Context, input: unknown, message: string, fix: string): never {
  context.issues.push({ code: "custom", input, message, params: { fix } });
  return z.NEVER as never;
}

const TRANSPORTS: readonly ListenTransport[] = ["udp", "tcp", "tls", "ws", "wss"];
const LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?";
const HOST_NAME = new RegExp(`^${LABEL}(?:\\.${LABEL})*\\.?$`);
/** RFC 3261 25.1: user, without the characters that only a URI can hold. */
const USER = "[A-Za-z0-9\\-_.!~*'()&=+$,;?/%]+";

const DURATION = /^(\d{1,12}(?:\.\d{1,3})?) ?(ms|s|m|h|d)$/;
const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const MAX_DURATION = 10 * 365 * 86_400_000;

/** Milliseconds of `500ms`, `10s`, `5m`, `24h`, `7d`; undefined for what is no duration. */
export function parseDuration(text: string): number | undefined {
  const match = DURATION.exec(text);
  if (match === null) return undefined;
  const ms = Math.round(Number(match[1]) * UNITS[match[2]!]!);
  return ms <= MAX_DURATION ? ms : undefined;
}

export const DURATION_FIX = 'Write a number and a unit: "500ms", "10s", "5m", "24h" or "7d".';

/** A duration of at least `least` milliseconds; comes out as milliseconds. */
export const duration = (least = 1) =>
  z
    .string({ error: DURATION_FIX })
    .meta({ pattern: DURATION.source })
    .transform((text, context): number => {
      const ms = parseDuration(text);
      if (ms === undefined) return bad(context, text, `"${text}" is no duration.`, DURATION_FIX);
      if (ms < least) return bad(context, text, `"${text}" is too short.`, `Write at least "${least}ms".`);
      return ms;
    });

const SIZE = /^(\d{1,9}) ?(B|kB|MB|GB|KiB|MiB|GiB)$/;
const SIZES: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1000,
  MB: 1000 ** 2,
  GB: 1000 ** 3,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
};

export const SIZE_FIX = 'Write a number and a unit: "64KiB", "512MiB" or "1GiB".';

/** Octets. */
export const size = () =>
  z
    .string({ error: SIZE_FIX })
    .meta({ pattern: SIZE.source })
    .transform((text, context): number => {
      const match = SIZE.exec(text);
      if (match === null) return bad(context, text, `"${text}" is no size.`, SIZE_FIX);
      return Number(match[1]) * SIZES[match[2]!]!;
    });

export function isHostName(text: string): boolean {
  return text.length <= 253 && HOST_NAME.test(text);
}

/** A DNS name, lower case. */
export const hostName = (what: string) =>
  z.string().transform((text, context): string => {
    if (!isHostName(text))
      return bad(
        context,
        text,
        `"${text}" is no ${what}.`,
        'Write a name such as "example.com", without scheme or port.',
      );
    return canonicalHost(text);
  });

export interface ListenUrl {
  readonly url: string;
  readonly transport: ListenTransport;
  readonly host: string;
  readonly port: number;
}

/** `udp://127.0.0.1:5060`; the host is an IP address, the port optional. */
export const listenUrl = () =>
  z.string().transform((text, context): ListenUrl => {
    const match = /^([A-Za-z]+):\/\/(\[[^\]]*\]|[^:/?#]*)(?::(\d{1,5}))?\/?$/.exec(text);
    const form = 'Write it as "udp://127.0.0.1:5060" or "tcp://[::1]:5060"; udp, tcp, tls, ws and wss are known.';
    if (match === null) return bad(context, text, `"${text}" is no address to listen on.`, form);
    const transport = match[1]!.toLowerCase() as ListenTransport;
    if (!TRANSPORTS.includes(transport)) return bad(context, text, `"${match[1]}" is no transport.`, form);
    const host = match[2]!;
    if (familyOf(host) === undefined) {
      const fix =
        host === "localhost"
          ? 'Write "127.0.0.1" or "[::1]".'
          : "Write one of this machine's addresses, or 0.0.0.0 with `advertise` for all of them.";
      return bad(context, text, `"${host}" is no IP address.`, fix);
    }
    const port = match[3] === undefined ? defaultPort(transport) : Number(match[3]);
    if (port > 65535)
      return bad(context, text, `${port} is no port.`, "Write a port from 1 to 65535, or 0 for any free one.");
    return { url: text, transport, host: canonicalHost(host), port };
  });

/** `udp://127.0.0.1:9060`: a Homer collector. */
export const collectorUrl = () =>
  z.string().transform((text, context): { host: string; port: number } => {
    const form = 'Write it as "udp://127.0.0.1:9060", with an IP address and a port.';
    const match = /^udp:\/\/(\[[^\]]*\]|[^:/?#]*):(\d{1,5})\/?$/i.exec(text);
    if (match === null) return bad(context, text, `"${text}" is no address of a collector.`, form);
    const port = Number(match[2]);
    if (familyOf(match[1]!) === undefined) return bad(context, text, `"${match[1]}" is no IP address.`, form);
    if (port < 1 || port > 65535) return bad(context, text, `${port} is no port.`, "Write a port from 1 to 65535.");
    return { host: canonicalHost(match[1]!), port };
  });

/** `sip:127.0.0.11:5060`, `sips:east.example.com`, `sip:east.example.com;transport=tcp`: where a server is, no user in it. */
export const serverUri = () =>
  z.string().transform((text, context): NodeConfig => {
    const form = 'Write it as "sip:127.0.0.11:5060", "sips:host" or "sip:host;transport=tcp".';
    const match = /^(sips?):([^;?]*)((?:;[^;?]*)*)$/i.exec(text);
    if (match === null) return bad(context, text, `"${text}" is no SIP URI of a server.`, form);
    if (match[2]!.includes("@"))
      return bad(context, text, `"${text}" names a user, not a server.`, `Leave out everything up to the "@".`);
    const address = splitHostPort(match[2]!);
    if (
      address === undefined ||
      (familyOf(address.host) === undefined && !isHostName(address.host)) ||
      /^[\d.]+$/.test(address.host) !== (familyOf(address.host) === 4)
    ) {
      return bad(context, text, `"${match[2]}" is no host and port.`, form);
    }
    let transport: ListenTransport | null = null;
    for (const parameter of match[3]!.split(";").slice(1)) {
      const value = /^transport=(\w+)$/i.exec(parameter)?.[1]?.toLowerCase() as ListenTransport | undefined;
      if (value === undefined)
        return bad(
          context,
          text,
          `The parameter "${parameter}" has no meaning here.`,
          "Only transport=udp, tcp, tls, ws or wss may follow the host.",
        );
      if (!TRANSPORTS.includes(value))
        return bad(context, text, `"${value}" is no transport.`, "Write transport=udp, tcp, tls, ws or wss.");
      transport = value;
    }
    const secure = match[1]!.toLowerCase() === "sips";
    if (secure && (transport === "udp" || transport === "ws")) {
      return bad(
        context,
        text,
        `"sips" cannot go over ${transport}.`,
        "Leave the transport out, or write sip: in place of sips:.",
      );
    }
    return { uri: text, secure, host: canonicalHost(address.host), port: address.port ?? null, transport };
  });

/** `user@host` with the host in lower case; undefined for what is no address of record. */
export function canonicalAor(text: string): string | undefined {
  const match = new RegExp(`^(${USER})@(.+)$`).exec(text);
  if (match === null || !isHostName(match[2]!)) return undefined;
  return `${match[1]}@${canonicalHost(match[2]!)}`;
}

/** `*.lab@example.com`: `*` stands for any run of characters, also of the host. */
export const aorPattern = () =>
  z.string().transform((text, context): string => {
    const match = new RegExp(`^(${USER})@([A-Za-z0-9.*-]+)$`).exec(text);
    if (match === null)
      return bad(
        context,
        text,
        `"${text}" matches no address.`,
        'Write a pattern of addresses such as "*@example.com" or "*.lab@example.com".',
      );
    return `${match[1]}@${match[2]!.toLowerCase()}`;
  });

export const databaseUrl = () =>
  z.string().transform((text, context): string => {
    if (text === "embedded" || /^embedded:.+$/.test(text)) return text;
    const form = 'Write "embedded", "embedded:/path" or "postgres://user@host/database".';
    // The text itself may hold a password: it is not repeated.
    if (!/^postgres(ql)?:\/\//.test(text)) return bad(context, text, "This names no database.", form);
    if (!URL.canParse(text))
      return bad(
        context,
        text,
        "This is no database URL.",
        `${form} Escape special characters of the password (%40 for "@").`,
      );
    return text;
  });

/** The base of a decision point's endpoints, without a slash at its end. */
export const pointUrl = () =>
  z.string().transform((text, context): string => {
    const form = 'Write it as "https://pdp.example.com".';
    if (!/^https?:\/\//i.test(text) || !URL.canParse(text))
      return bad(context, text, `"${text}" is no HTTP address.`, form);
    const url = new URL(text);
    if (url.username !== "" || url.password !== "")
      return bad(context, text, "This address holds a password.", 'Put it into "token".');
    if (url.search !== "" || url.hash !== "") return bad(context, text, `"${text}" has more than host and path.`, form);
    return url.href.replace(/\/+$/, "");
  });

/** Where the admin API and page are served; plain HTTP. */
export const adminUrl = () =>
  z.string().transform((text, context): Pick<AdminConfig, "url" | "host" | "port"> => {
    const form = 'Write it as "http://127.0.0.1:8060".';
    const match = /^(https?):\/\/(\[[^\]]*\]|[^:/?#]*)(?::(\d{1,5}))?\/?$/.exec(text);
    if (match === null) return bad(context, text, `"${text}" is no address for the admin page.`, form);
    if (match[1] === "https")
      return bad(
        context,
        text,
        "The admin page is served over plain HTTP only.",
        "Write http:// here, and put a reverse proxy in front of it for TLS.",
      );
    if (familyOf(match[2]!) === undefined) return bad(context, text, `"${match[2]}" is no IP address.`, form);
    const port = match[3] === undefined ? 80 : Number(match[3]);
    if (port > 65535)
      return bad(context, text, `${port} is no port.`, "Write a port from 1 to 65535, or 0 for any free one.");
    return { url: text.replace(/\/$/, ""), host: canonicalHost(match[2]!), port };
  });
