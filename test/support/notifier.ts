import { type Dialog, okWithin, requestWithin, uasDialog, withTarget } from "../../src/sip/dialog/dialog.ts";
import { buildResponse, type HeaderPair } from "../../src/sip/message/build.ts";
import type { SipRequest } from "../../src/sip/message/message.ts";
import type { ServerTransaction } from "../../src/sip/transaction/transaction.ts";
import { pidf } from "./presence.ts";
import type { Client, Outgoing, Script } from "./world.ts";

export interface Policy {
  /** 0: no answer at all. */
  readonly status: number;
  readonly headers?: readonly HeaderPair[];
  /** Granted, seconds; default: what was asked for. */
  readonly expires?: number;
  /** Subscription-State of the NOTIFY that follows; null: none follows. Default: active, or terminated where it ends. */
  readonly state?: string | null;
  /** NOTIFY before the answer (RFC 6665 4.1.2.4). */
  readonly notifyFirst?: boolean;
}

/** One dialog of a scripted server's. */
export interface Served {
  dialog: Dialog;
  cseq: number;
  /** Of the last SUBSCRIBE. */
  expires: number;
  over: boolean;
  readonly subscribes: SipRequest[];
  readonly notifies: Outgoing[];
}

const ACCEPT: Policy = { status: 200 };

/** A presence server that does exactly what a test says. */
export class Notifier {
  readonly name: string;
  /** SUBSCRIBEs outside a dialog, and within one. */
  policy: (request: SipRequest) => Policy = () => ACCEPT;
  refreshPolicy: (request: SipRequest, served: Served) => Policy = () => ACCEPT;
  basic: "open" | "closed" = "open";
  /** Told apart in the documents, so that an old one is known when it is seen. */
  version = 0;
  event = "presence";
  /** Put into every document. */
  more = "";
  /** Contact of its dialogs; null: where it is. */
  contact: string | null = null;
  /** Further headers of every NOTIFY. */
  headers: readonly HeaderPair[] = [];
  readonly served: Served[] = [];
  readonly firsts: SipRequest[] = [];
  #client: Client | null = null;

  constructor(name: string) {
    this.name = name;
  }

  get script(): Script {
    return (transaction, self) => {
      this.#client = self;
      this.#onRequest(transaction, self);
    };
  }

  /** Dialogs that live. */
  get live(): Served[] {
    return this.served.filter((each) => !each.over);
  }

  /** Tells one, or all that live. */
  notify(served: Served, state?: string, basic: "open" | "closed" | null = this.basic): Outgoing {
    const value = state ?? `active;expires=${served.expires}`;
    if (value.startsWith("terminated")) served.over = true;
    served.cseq++;
    const contact = this.contact ?? `sip:${this.#client!.host}:5060`;
    const body = basic === null ? "" : this.document(served, basic);
    const headers: HeaderPair[] = [
      ["Event", this.event],
      ["Subscription-State", value],
      ...this.headers,
      ...(basic === null ? [] : [["Content-Type", "application/pidf+xml"] as const]),
    ];
    const request = requestWithin(served.dialog, { method: "NOTIFY", cseq: served.cseq, contact, headers, body });
    const host = /@([^:;]+)/.exec(served.dialog.remoteTarget)?.[1] ?? "127.0.0.1";
    const outgoing = this.#client!.beginRequest(request, host);
    served.notifies.push(outgoing);
    return outgoing;
  }

  document(served: Served, basic: "open" | "closed"): string {
    const user = /sip:([^@>;]+)@/.exec(served.dialog.local)?.[1] ?? "";
    return pidf(`${user}@example.com`, basic)
      .replace('id="t1"', `id="${this.name}-${++this.version}"`)
      .replace("</tuple>", `$&${this.more}`);
  }

  #onRequest(transaction: ServerTransaction, self: Client): void {
    const { request } = transaction;
    if (request.method !== "SUBSCRIBE") return transaction.respond(buildResponse(request, 200));
    if (request.to.tag === undefined) return this.#first(transaction, self);
    const served = this.served.find((each) => each.dialog.localTag === request.to.tag);
    if (served === undefined || served.over) return transaction.respond(buildResponse(request, 481));
    served.subscribes.push(request);
    this.#answer(transaction, self, served, this.refreshPolicy(request, served));
  }

  #first(transaction: ServerTransaction, self: Client): void {
    const { request } = transaction;
    this.firsts.push(request);
    const policy = this.policy(request);
    const dialog = uasDialog(request, `${this.name}-${this.firsts.length}`);
    const served: Served = {
      dialog,
      cseq: 0,
      expires: 0,
      over: policy.status >= 300,
      subscribes: [request],
      notifies: [],
    };
    if (policy.status >= 200 && policy.status < 300) this.served.push(served);
    this.#answer(transaction, self, served, policy);
  }

  #answer(transaction: ServerTransaction, self: Client, served: Served, policy: Policy): void {
    const { request } = transaction;
    if (policy.status === 0) return;
    if (policy.status >= 300) {
      if ([404, 481, 489].includes(policy.status)) served.over = true;
      return transaction.respond(
        buildResponse(request, policy.status, undefined, { toTag: "x", headers: policy.headers ?? [] }),
      );
    }
    served.dialog = withTarget(served.dialog, request);
    served.expires = policy.expires ?? request.expires ?? 3600;
    const tell = (): void => {
      if (policy.state === null) return;
      const state = policy.state ?? (served.expires === 0 ? "terminated;reason=timeout" : undefined);
      this.notify(served, state, state?.startsWith("pending") ? null : this.basic);
    };
    const ok = (): void =>
      transaction.respond(
        okWithin(request, policy.status, {
          localTag: served.dialog.localTag,
          contact: this.contact ?? `sip:${self.host}:5060`,
          headers: [["Expires", String(served.expires)], ...(policy.headers ?? [])],
        }),
      );
    if (policy.notifyFirst) tell();
    ok();
    if (!policy.notifyFirst) tell();
  }
}
