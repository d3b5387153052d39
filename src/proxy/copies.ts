import { DirectoryUnavailable } from "../base/errors.ts";
import { CREDIT_MS, creditFor } from "../federation/credit.ts";
import { identitiesOf } from "../federation/identity.ts";
import { modelOf } from "../federation/model.ts";
import { fansOut, unionOf } from "../federation/union-view.ts";
import type { Editor } from "../sip/message/edit.ts";
import type { SipRequest } from "../sip/message/message.ts";
import type { Outbound } from "../sip/transaction/outbound.ts";
import type { Core } from "./core.ts";
import type { Exchange } from "./exchange.ts";
import { isSecure } from "./next-hop.ts";
import { lookUp } from "./steps/resolve.ts";

/**
 * What a user of several servers writes from one of them is shown to his others, so that each of his devices has the whole
 * conversation (draft, "Conversation Consistency": multi-device IM). A copy is a MESSAGE of ours to himself: Request-URI
 * and From are his, To is whom he wrote to, the body is as he wrote it, and it is marked:
 *
 *     Codomain-Copy: sent
 *
 * What is marked and comes back is absorbed: it is never copied, answered upstream or stored. Where a server takes the
 * mark away, credits tell (models.md, "Unioned"): it has as many as it could send on. One try, beside the sender's way.
 */
export const COPY_HEADER = "Codomain-Copy";

const TRY_MS = 8_000;
/** Copies under way; beyond, none are made. */
const MOST_UNDER_WAY = 1_000;

/** Of the way here, of the two it was between, or for us only. */
const NOT_COPIED = [
  "Via",
  "Route",
  "Record-Route",
  "Contact",
  "Authorization",
  "Proxy-Authorization",
  "P-Preferred-Identity",
  "Request-Disposition",
  "Max-Breadth",
];

/** Said by devices, not written by people: RFC 3994 (is composing), RFC 5438 (disposition notifications). */
const NOT_WRITTEN = /^\s*(?:application\/im-iscomposing\+xml|message\/imdn\+xml)\s*(?:;|$)/i;

export class Copies {
  readonly #core: Core;
  readonly #outbound: Outbound;
  #underWay = 0;
  /** There may be users of several servers: a configuration names some, or one has been written to. */
  #anybody = false;

  constructor(core: Core, outbound: Outbound) {
    this.#core = core;
    this.#outbound = outbound;
  }

  configure(): void {
    const { models, unions } = this.#core.options;
    this.#anybody ||= unions.trees.length > 0 || models.some(({ model }) => model.model === "unioned");
  }

  /** A MESSAGE was answered 2xx. */
  sent(exchange: Exchange): void {
    if (exchange.facts?.model.model === "unioned") this.#anybody = true;
    const { options, telemetry } = this.#core;
    if (!this.#anybody || !options.imRouting.copies || !isFirst(exchange)) return;
    this.#copy(exchange).catch((error: Error) => {
      if (error instanceof DirectoryUnavailable) return;
      telemetry.emit("warning", { what: "a copy of what a user wrote", detail: error.message });
    });
  }

  async #copy(exchange: Exchange): Promise<void> {
    const core = this.#core;
    const { aor, trusted } = exchange.sender;
    const isOurs = core.options.domains.includes(aor.slice(aor.lastIndexOf("@") + 1));
    if (!trusted || !isOurs || aor === exchange.aor || !isWritten(exchange.request)) return;
    const known = await lookUp(core, aor);
    const record = known.state === "bound" || known.state === "no-binding" ? known.user : null;
    const { model } = modelOf(core.models, aor, record);
    if (model.model !== "unioned" || known.state === "unavailable") return;
    const { facts } = core.rotation;
    const union = unionOf(model, core.settings.unions.trees, facts);
    const { origin, request } = exchange;
    const from = origin.kind === "server" ? origin.server : null;
    if (union === null || (from !== null && !union.members.includes(from))) return;
    if ((await core.imRouting.settingOf(aor)).algorithm !== "all") return;
    const servers = facts.filter(({ name, up }) => up && name !== from && union.members.includes(name));
    const itself = { request, event: "", aor, sender: { aor } };
    const count = union.members.length;
    const grants = servers
      .filter(fansOut)
      .flatMap(({ name }) => [name, `${name}/sent`])
      .map((name) => ({ ...creditFor(itself, name), count }));
    const until = core.runtime.clock.wall() + CREDIT_MS;
    if (grants.length > 0) await core.directory.unions.grant(core.runtime.random.token(20), grants, until);
    const names = identitiesOf(core.identities, aor, record);
    await Promise.all(servers.map(({ name }) => this.#send(request, aor, name, names?.[name] ?? aor)));
  }

  async #send(request: SipRequest, aor: string, server: string, identity: string): Promise<void> {
    const { telemetry, runtime, settings } = this.#core;
    if (this.#underWay >= MOST_UNDER_WAY) return telemetry.emit("limited", { what: "copies", source: server });
    this.#underWay++;
    try {
      const name = { identity, host: settings.subdomains[server] ?? null };
      const callId = runtime.random.token(20);
      const tag = runtime.random.token(10);
      const date = new Date(runtime.clock.wall()).toUTCString();
      const build = () => copyOf(request, name, { callId, tag, date });
      const reply = await this.#outbound.toServer(server, build, {
        timeoutMs: TRY_MS,
        size: request.raw.length,
        secure: isSecure(request),
      });
      telemetry.emit("copied", { aor, server, status: typeof reply === "string" ? 0 : reply.status });
    } finally {
      this.#underWay--;
    }
  }
}

/** What a server sends on of what it was sent was copied when it came here first. */
function isFirst({ sentOn, direction, origin }: Exchange): boolean {
  return !sentOn && direction === "up" && (origin.kind === "server" || origin.kind === "client");
}

function isWritten(request: SipRequest): boolean {
  const type = request.header("Content-Type") ?? "";
  if (NOT_WRITTEN.test(type)) return false;
  return !isCpim(type) || !/^content-type:\s*message\/imdn\+xml/im.test(request.body);
}

function isCpim(type: string): boolean {
  return /^\s*message\/cpim\s*(?:;|$)/i.test(type);
}

function copyOf(
  request: SipRequest,
  name: { readonly identity: string; readonly host: string | null },
  own: { readonly callId: string; readonly tag: string; readonly date: string },
): Editor<SipRequest> {
  const editor = request.edit();
  for (const header of NOT_COPIED) editor.remove(header);
  const at = name.identity.lastIndexOf("@");
  // RFC 3261 26.2.2: what was written over TLS is shown over TLS or not at all.
  const scheme = isSecure(request) ? "sips" : "sip";
  editor.setRequestUri(`${scheme}:${name.identity.slice(0, at)}@${name.host ?? name.identity.slice(at + 1)}`);
  editor.set("From", `<${scheme}:${name.identity}>;tag=${own.tag}`);
  editor.set("Call-ID", own.callId);
  editor.set("CSeq", "1 MESSAGE");
  editor.set("Max-Forwards", "70");
  editor.set("P-Asserted-Identity", `<sip:${name.identity}>`);
  if (!request.has("Date")) editor.append("Date", own.date);
  editor.append(COPY_HEADER, "sent");
  const body = isCpim(request.header("Content-Type") ?? "") ? withoutNotifications(request.body) : request.body;
  editor.set("Content-Length", String(body.length));
  return body === request.body ? editor : editor.body(body);
}

/** RFC 5438 6.2: who wrote it wants to hear of it from whom he wrote to, not from his own devices. */
function withoutNotifications(body: string): string {
  const end = body.indexOf("\r\n\r\n");
  if (end < 0) return body;
  return body.slice(0, end + 2).replace(/^[\w.-]+\.disposition-notification:.*\r\n/gim, "") + body.slice(end + 2);
}
