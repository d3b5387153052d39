import { PIDF } from "../presence/closed-document.ts";
import { parsePidf } from "../presence/pidf.ts";
import { MalformedDocument, type XmlElement } from "../presence/xml.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { okWithin } from "../sip/dialog/dialog.ts";
import { buildRequest, buildResponse } from "../sip/message/build.ts";
import type { Outbound } from "../sip/transaction/outbound.ts";
import { contactAt } from "./contact.ts";
import type { Handed } from "./ports.ts";

export interface PresenceFetchParts {
  readonly runtime: Runtime;
  readonly outbound: Outbound;
  /** Full AoR by which a server knows the user. */
  nameOn(aor: string, server: string): Promise<string>;
}

/** One question to one server that is under way. */
interface Open {
  readonly callId: string;
  tell(document: XmlElement | null): void;
}

const PREFIX = "cdmf-";
const TAG_CHARACTERS = 20;
/** After this long what has not been told is not known. */
const ANSWER_MS = 2_000;
/** Questions under way; beyond, nothing is known. */
const MOST_OPEN = 2_000;

/**
 * Asks servers once what they show of a user (RFC 6665 4.4.3: a SUBSCRIBE with Expires 0 fetches the state), in his own
 * name, since everybody may see himself. Nothing is kept.
 */
export class PresenceFetch {
  readonly #parts: PresenceFetchParts;
  readonly #open = new Map<string, Open>();

  constructor(parts: PresenceFetchParts) {
    this.#parts = parts;
  }

  /** True for the tag of a question, an old one too: what comes late is answered 481. */
  ownsTag(tag: string): boolean {
    return tag.startsWith(PREFIX);
  }

  /** Server -> its document, of those that told within two seconds. Never rejects. */
  async fetch(aor: string, servers: readonly string[]): Promise<ReadonlyMap<string, XmlElement>> {
    const found = new Map<string, XmlElement>();
    if (this.#open.size + servers.length > MOST_OPEN) return found;
    await Promise.all(
      servers.map(async (server) => {
        const document = await this.#ask(aor, server).catch(() => null);
        if (document !== null) found.set(server, document);
      }),
    );
    return found;
  }

  /** A NOTIFY with our tag. */
  handle(handed: Handed): void {
    const { request } = handed;
    const tag = request.to.tag ?? "";
    const open = this.#open.get(tag);
    if (open === undefined || open.callId !== request.callId) return refuse(handed, 481);
    if (request.method !== "NOTIFY" || request.event?.package !== "presence") return refuse(handed, 489);
    handed.respond(okWithin(request, 200, { localTag: tag, contact: contactAt(handed.transaction.flow.point) }));
    const document = documentIn(request);
    const isOver = request.subscriptionState?.state.toLowerCase() === "terminated";
    if (document !== null || isOver) open.tell(document);
  }

  stop(): void {
    for (const open of this.#open.values()) open.tell(null);
  }

  async #ask(aor: string, server: string): Promise<XmlElement | null> {
    const { runtime, outbound } = this.#parts;
    const identity = await this.#parts.nameOn(aor, server);
    const tag = PREFIX + runtime.random.token(TAG_CHARACTERS);
    const callId = runtime.random.token(24);
    const told = new Promise<XmlElement | null>((resolve) => {
      const timer = runtime.timers.after(ANSWER_MS, () => open.tell(null));
      const open: Open = {
        callId,
        tell: (document) => {
          timer.cancel();
          this.#open.delete(tag);
          resolve(document);
        },
      };
      this.#open.set(tag, open);
    });
    const build = (flow: Parameters<Parameters<Outbound["toServer"]>[1]>[0]) =>
      buildRequest({
        method: "SUBSCRIBE",
        uri: `sip:${identity}`,
        headers: [
          ["Max-Forwards", "70"],
          ["From", `<sip:${identity}>;tag=${tag}`],
          ["To", `<sip:${identity}>`],
          ["Call-ID", callId],
          ["CSeq", "1 SUBSCRIBE"],
          ["Contact", `<${contactAt(flow.point)}>`],
          ["P-Asserted-Identity", `<sip:${identity}>`],
          ["Event", "presence"],
          ["Accept", PIDF],
          ["Expires", "0"],
        ],
      });
    outbound.toServer(server, build, { timeoutMs: ANSWER_MS }).then(
      (reply) => {
        if (typeof reply === "string" || reply.status >= 300) this.#open.get(tag)?.tell(null);
      },
      () => this.#open.get(tag)?.tell(null),
    );
    return told;
  }
}

function documentIn(request: Handed["request"]): XmlElement | null {
  if (request.header("Content-Type")?.split(";")[0]?.trim().toLowerCase() !== PIDF) return null;
  try {
    return parsePidf(request.body);
  } catch (error) {
    if (error instanceof MalformedDocument) return null;
    throw error;
  }
}

function refuse(handed: Handed, status: number): void {
  handed.respond(buildResponse(handed.transaction.request, status));
}
