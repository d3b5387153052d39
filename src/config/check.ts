import { bracketed, isLoopback, isWildcard, splitHostPort } from "../sip/transport/address.ts";
import { checkModels, checkTrees } from "./check-models.ts";
import { checkPolicy, checkProvisioning } from "./check-policy.ts";
import { checkServers } from "./check-servers.ts";
import { checkUnions } from "./check-unions.ts";
import { Checks } from "./checks.ts";
import type { Draft } from "./draft.ts";
import { type Path, type PathFault, printPath } from "./faults.ts";

type Report = (fault: PathFault) => void;

/** Checks the parts of a draft against each other. */
export function checkDraft(draft: Draft, domains: readonly string[], report: Report): void {
  const checks = new Checks(report);
  checkDomains(draft, checks);
  checkListen(draft, checks);
  checkAdmin(draft, checks);
  checkServers(draft, domains, checks);
  checkTrees(draft, checks);
  checkModels(draft, domains, checks);
  checkPolicy(draft, domains, checks);
  checkProvisioning(draft, domains, checks);
  checkTimes(draft, checks);
  checkUnions(draft, checks);
  const home = draft.sections.clients?.home;
  if (home !== undefined) checks.known(["clients", "home"], home, "server", draft.serverNames);
}

function checkDomains(draft: Draft, checks: Checks): void {
  if (draft.written.has("domain") && draft.written.has("domains")) {
    checks.error(["domain"], '"domain" and "domains" are both given.', 'Put all of them into "domains".', "key");
  } else if (!draft.written.has("domain") && !draft.written.has("domains")) {
    checks.warn([], "No domain is given: example.com is served.", 'Add "domain: …".');
  }
  const seen = new Set<string>();
  (draft.sections.domains ?? []).forEach((domain, i) => {
    if (seen.has(domain)) checks.error(["domains", i], `"${domain}" is given twice.`, "Keep one.");
    seen.add(domain);
  });
}

/** Who holds which port. A wildcard address holds it on every address of its family. */
interface Held {
  readonly host: string;
  readonly port: number;
  readonly stream: boolean;
  readonly path: Path;
}

function collide(a: Held, b: Held): boolean {
  if (a.port !== b.port || a.port === 0 || a.stream !== b.stream) return false;
  return (
    a.host === b.host ||
    a.host === "::" ||
    b.host === "::" ||
    ((isWildcard(a.host) || isWildcard(b.host)) && a.host.includes(":") === b.host.includes(":"))
  );
}

function checkListen(draft: Draft, checks: Checks): void {
  const held: Held[] = [];
  for (const { path, value } of draft.listen) {
    const mine: Held = { host: value.host, port: value.port, stream: value.transport !== "udp", path };
    const other = held.find((each) => collide(each, mine));
    if (other !== undefined) {
      checks.error(
        path,
        `Port ${mine.port} of ${mine.host} is taken by ${printPath(other.path)} already.`,
        "Give one of the two another port, or remove it.",
      );
    }
    held.push(mine);

    const secure = value.transport === "tls" || value.transport === "wss";
    for (const key of ["cert", "key"] as const) {
      if (secure && value[key] === undefined)
        checks.error([...path, key], `${value.transport} needs "${key}".`, `Add "${key}: FILE.pem".`);
    }
    for (const key of ["cert", "key", "ca", "verify"] as const) {
      if (!secure && value[key] !== undefined)
        checks.error(
          [...path, key],
          `"${key}" has no meaning for ${value.transport}.`,
          "Remove it, or listen on tls or wss.",
          "key",
        );
    }
    if (secure && value.verify === true && value.ca === undefined)
      checks.error(
        [...path, "verify"],
        'Peers cannot be verified without "ca".',
        'Add "ca: FILE.pem", or write verify: false.',
      );
    if (value.advertise !== undefined && splitHostPort(value.advertise) === undefined) {
      checks.error(
        [...path, "advertise"],
        `"${value.advertise}" is no host and port.`,
        'Write a name or an address, such as "sip.example.com" or "192.0.2.1:5060".',
      );
    }
    if (value.advertise === undefined && isWildcard(value.host)) {
      checks.warn(
        path,
        `${value.host} is no address that peers can answer to: they are told this machine's first one.`,
        'Add "advertise: HOST", the name or address they reach this proxy by.',
      );
    }
  }
  checkPairs(draft, checks);
  const admin = draft.sections.admin;
  if (admin !== undefined) {
    const { host, port } = admin.url;
    const other = held.find((each) => collide(each, { host, port, stream: true, path: [] }));
    if (other !== undefined)
      checks.error(
        ["admin", "url"],
        `Port ${port} of ${host} is taken by ${printPath(other.path)} already.`,
        "Give the admin page another port.",
      );
  }
}

/** RFC 3261 18.2.1: "If a server listens on UDP, it MUST listen on TCP on the same port and interface." */
function checkPairs(draft: Draft, checks: Checks): void {
  // One that is at fault may be the one that is missing.
  if (draft.listen.length < draft.listenWritten) return;
  const tcp = draft.listen.flatMap(({ path, value: { transport, host, port } }) =>
    transport === "tcp" ? [{ host, port, stream: true, path }] : [],
  );
  for (const { path, value } of draft.listen) {
    const { transport, host, port } = value;
    if (transport !== "udp" || port === 0) continue;
    const same = tcp.some(
      (each) => (!isWildcard(host) || isWildcard(each.host)) && collide(each, { host, port, stream: true, path }),
    );
    if (same) continue;
    const address = `${bracketed(host)}:${port}`;
    checks.warn(
      path,
      `There is no TCP listener on ${address}: messages too long for UDP cannot be received (RFC 3261 18.2.1).`,
      `Add "tcp://${address}".`,
    );
  }
}

function checkAdmin(draft: Draft, checks: Checks): void {
  const admin = draft.sections.admin;
  if (admin !== undefined && !isLoopback(admin.url.host) && admin.token === undefined) {
    checks.error(
      ["admin", "token"],
      `Without a token the admin API must not be served on ${admin.url.host}.`,
      'Add "token: …", or use http://127.0.0.1:8060.',
    );
  }
}

function checkTimes(draft: Draft, checks: Checks): void {
  const timers = draft.sections.timers;
  if (timers === undefined) return;
  if (timers.t1 > timers.t2)
    checks.error(
      ["timers", "t1"],
      "T1 is longer than T2.",
      "T2 is the longest interval between retransmissions: make T1 shorter.",
    );
  // RFC 3261 16.6 step 11: "MUST be larger than 3 minutes".
  if (timers.c <= 180_000)
    checks.warn(
      ["timers", "c"],
      "Timer C must be longer than three minutes (RFC 3261 16.6): long ringing is cut off.",
      "Write 181s or more.",
    );
  const decision = draft.sections["decision-time"];
  if (decision !== undefined && decision >= 64 * timers.t1) {
    checks.error(
      ["decision-time"],
      "The sender's own timer F (64 times T1) ends before the decision.",
      `Write less than ${(64 * timers.t1) / 1000}s.`,
    );
  }
}
