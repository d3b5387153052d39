import { okWithin, requestWithin, uacDialog } from "../../src/sip/dialog/dialog.ts";
import { buildResponse, type HeaderPair } from "../../src/sip/message/build.ts";
import type { SipRequest, SipResponse } from "../../src/sip/message/message.ts";
import type { ServerTransaction } from "../../src/sip/transaction/transaction.ts";
import type { Client, Outgoing, World } from "./world.ts";

/** What a watcher was told: state, reason, and of the document whether somebody is open in it. */
export interface Told {
  readonly at: number;
  readonly cseq: number;
  readonly state: string;
  readonly reason: string | undefined;
  readonly expires: number | undefined;
  readonly shown: "open" | "closed" | "nothing";
  readonly body: string;
  readonly contact: string;
  readonly request: SipRequest;
}

/** A watcher as it may be anywhere: one subscription, every NOTIFY of which is kept. */
export class Watcher {
  readonly world: World;
  readonly client: Client;
  readonly told: Told[] = [];
  /** What NOTIFYs are answered with; 0: nothing. */
  answer = 200;
  event = "presence";
  accept = "application/pidf+xml";
  answerHeaders: readonly HeaderPair[] = [];
  /** Of its 200s; null: that of its SUBSCRIBE. */
  contact: string | null = null;
  sent: SipRequest | null = null;
  #ok: SipResponse | SipRequest | null = null;
  #cseq = 1;

  constructor(world: World, host: string) {
    this.world = world;
    this.client = world.client(host, (transaction) => this.#notified(transaction));
  }

  /** Statuses and documents in order: `pending`, `active open`, `terminated rejected`. */
  get saw(): string[] {
    return this.told.map((each) =>
      [each.state, each.reason, each.shown === "nothing" ? undefined : each.shown].filter(Boolean).join(" "),
    );
  }

  get last(): Told | undefined {
    return this.told.at(-1);
  }

  begin(to: string, expires = 600, options: Parameters<Client["request"]>[2] = {}): Outgoing {
    const headers: HeaderPair[] = [...(options.headers ?? []), ["Accept", this.accept]];
    const request = this.client.request("SUBSCRIBE", to, { ...options, headers });
    this.sent = request.edit().set("Event", this.event).set("Expires", String(expires)).build();
    return this.client.beginRequest(this.sent, options.proxy);
  }

  async subscribe(to: string, expires = 600, options: Parameters<Client["request"]>[2] = {}): Promise<SipResponse> {
    const outgoing = this.begin(to, expires, options);
    await this.client.all(outgoing);
    this.#ok = outgoing.responses.at(-1)!;
    return this.#ok;
  }

  /** The next SUBSCRIBE in the dialog, to where the proxy said, or to another. */
  again(expires: number, options: { cseq?: number; proxy?: string; headers?: readonly HeaderPair[] } = {}): Outgoing {
    this.#cseq = options.cseq ?? this.#cseq + 1;
    const base = uacDialog(this.sent!, this.#ok!);
    const dialog = { ...base, remoteTarget: this.last?.contact || base.remoteTarget };
    const request = requestWithin(dialog, {
      method: "SUBSCRIBE",
      cseq: this.#cseq,
      contact: `sip:${this.client.host}:5060`,
      headers: [["Event", this.event], ["Expires", String(expires)], ...(options.headers ?? [])],
    });
    const host = /@([^:;]+)/.exec(dialog.remoteTarget)?.[1] ?? "127.0.0.1";
    return this.client.beginRequest(request, options.proxy ?? host);
  }

  async refresh(expires: number, options: Parameters<Watcher["again"]>[1] = {}): Promise<SipResponse> {
    const outgoing = this.again(expires, options);
    await this.client.all(outgoing);
    return outgoing.responses.at(-1)!;
  }

  #ownContact(): string {
    const contacts = this.sent?.contacts ?? [];
    return (contacts === "*" ? undefined : contacts[0]?.uri.raw) ?? `sip:${this.client.host}:5060`;
  }

  #notified(transaction: ServerTransaction): void {
    const { request } = transaction;
    if (request.method !== "NOTIFY") return transaction.respond(buildResponse(request, 405));
    this.#ok ??= request;
    const state = request.subscriptionState!;
    const { contacts } = request;
    this.told.push({
      at: this.world.simulation.now,
      cseq: request.cseq.number,
      state: state.state,
      reason: state.reason,
      expires: state.expires,
      shown: request.body === "" ? "nothing" : /<basic>open</.test(request.body) ? "open" : "closed",
      body: request.body,
      contact: contacts === "*" ? "" : (contacts[0]?.uri.raw ?? ""),
      request,
    });
    if (this.answer === 0) return;
    if (this.answer === 200) {
      return transaction.respond(
        okWithin(request, 200, { localTag: request.to.tag ?? "w", contact: this.contact ?? this.#ownContact() }),
      );
    }
    transaction.respond(buildResponse(request, this.answer, undefined, { headers: this.answerHeaders }));
  }
}
