import type { UserRecord } from "../../directory/directory.ts";
import type { ClaimFacts, DecisionSettings, Facts, Origin } from "../../federation/facts.ts";
import { identitiesOf, serversFor } from "../../federation/identity.ts";
import { modelOf } from "../../federation/model.ts";
import { claimOfPublish, claimOfRegister, registrationOf } from "../../federation/register.ts";
import { type Sender, senderOf } from "../../federation/sender.ts";
import { WATCHERINFO } from "../../federation/watcherinfo.ts";
import { isGoverned } from "../../policy/policy.ts";
import type { SipRequest } from "../../sip/message/message.ts";
import { lowerAscii } from "../../sip/message/text.ts";
import type { Core } from "../core.ts";
import type { Exchange } from "../exchange.ts";
import type { Known } from "./resolve.ts";

/** What `decide` looks at, gathered. The same for traffic and for `explain`. */
export interface Asked {
  readonly method: string;
  readonly event: string;
  readonly origin: Origin;
  readonly aor: string;
  readonly regServer: string | null;
  readonly sender: { readonly aor: string; readonly trusted: boolean };
  readonly claim: ClaimFacts;
  readonly mayQueue: boolean;
  readonly direction: Facts["direction"];
  readonly credit: Facts["credit"];
  readonly without: readonly string[];
}

export function gatherFacts(core: Core, asked: Asked, lookup: Known): Facts {
  const record = recordIn(lookup);
  const found = modelOf(core.models, asked.aor, record);
  return {
    now: core.runtime.clock.wall(),
    method: asked.method,
    event: asked.event,
    origin: asked.origin,
    aor: asked.aor,
    regServer: asked.regServer,
    sender: asked.sender,
    lookup,
    directoryAvailable: core.directory.available,
    model: found.model,
    modelFrom: found.from,
    servers: serversFor(core.identities, asked.aor, record, core.rotation.facts),
    identities: identitiesOf(core.identities, asked.aor, record),
    claim: asked.claim,
    mayQueue: asked.mayQueue,
    direction: asked.direction,
    credit: asked.credit,
    settings: settingsFor(core, asked),
    without: asked.without,
  };
}

/** Of whom no rules are kept here nobody is told here. */
function settingsFor({ settings, policy }: Core, { event, aor }: Asked): DecisionSettings {
  const isLeft = event.startsWith(WATCHERINFO) && settings.watcherinfo && !isGoverned(policy, aor);
  return isLeft ? { ...settings, watcherinfo: false } : settings;
}

/** The user's own record, where it is known that he has one. */
export function recordIn(lookup: Known): UserRecord | null {
  return lookup.state === "bound" || lookup.state === "no-binding" ? lookup.user : null;
}

/** Whose claim a REGISTER or PUBLISH is; `none` for every other method. */
export function claimOf(core: Core, request: SipRequest, origin: Origin): ClaimFacts {
  const server = origin.kind === "server" ? origin.server : null;
  if (request.method === "REGISTER") return claimOfRegister(registrationOf(request), server, core.origins);
  if (request.method === "PUBLISH") return claimOfPublish(request, server);
  return "none";
}

export function askedOf(core: Core, exchange: Exchange): Asked {
  return {
    method: exchange.method,
    event: exchange.event,
    origin: exchange.origin,
    aor: exchange.aor,
    regServer: regServerOf(exchange),
    sender: exchange.sender,
    claim: claimOf(core, exchange.request, exchange.origin),
    mayQueue: exchange.mayQueue,
    direction: exchange.transaction.flow.point.direction,
    credit: exchange.credit,
    without: exchange.without,
  };
}

function regServerOf(exchange: Exchange): string | null {
  if (exchange.event !== "reg" || exchange.method !== "SUBSCRIBE") return null;
  const { uri } = exchange.request;
  return uri.kind === "sip" && uri.user === "reg" ? (uri.params.get("server") ?? null) : null;
}

/** Servers differ in whether `Presence` is `presence` (RFC 6665 8.2.1 compares octets): what one of them might take it for, it is. */
export function eventOf(request: SipRequest): string {
  return lowerAscii(request.event?.package ?? "");
}

/** Who sends it: read from the headers only when asked for, which most requests are not. */
export class SenderFacts implements Sender {
  readonly #core: Core;
  readonly #request: SipRequest;
  readonly #origin: Origin;
  #found: Sender | null = null;

  constructor(core: Core, request: SipRequest, origin: Origin) {
    this.#core = core;
    this.#request = request;
    this.#origin = origin;
  }

  get aor(): string {
    return this.#sender().aor;
  }

  get trusted(): boolean {
    return this.#sender().trusted;
  }

  #sender(): Sender {
    this.#found ??= senderOf(this.#request, this.#origin, (server, name) => this.#core.canonical(name, server));
    return this.#found;
  }
}
