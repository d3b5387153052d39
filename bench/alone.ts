import type { Change } from "../src/directory/directory.ts";
import type { Leases } from "../src/directory/leases.ts";
import type { SubscriptionStore } from "../src/directory/subscriptions.ts";
import type { UnionStore } from "../src/directory/unions.ts";
import { NO_POLICY } from "../src/policy/policy.ts";
import { createRealRuntime } from "../src/runtime/real.ts";
import { SipRequest, type SipResponse } from "../src/sip/message/message.ts";
import { parseMessage } from "../src/sip/message/parse.ts";
import type { BuildRequest, Outbound, Reply } from "../src/sip/transaction/outbound.ts";
import type { Flow, ListenPoint } from "../src/sip/transport/transport.ts";
import { InDialogs } from "../src/subscription/in-dialog.ts";
import { SUBSCRIPTION_OPTIONS } from "../src/subscription/options.ts";
import type { Handed, UnionNow } from "../src/subscription/ports.ts";
import { Subscriptions } from "../src/subscription/service.ts";
import { Telemetry } from "../src/telemetry/events.ts";

const POINT: ListenPoint = {
  index: 0,
  transport: "udp",
  host: "127.0.0.1",
  port: 5160,
  sentBy: "127.0.0.1:5160",
  direction: "up",
  unknown: "refuse",
};
const FLOW: Flow = {
  transport: "udp",
  reliable: false,
  point: POINT,
  remoteHost: "127.0.0.1",
  remotePort: 5180,
  peerNames: [],
  connectionId: 0,
  send: () => undefined,
  watch: () => () => undefined,
};

/** Messages as they come from the network: a text of their own each, so that whatever is cut from one keeps all of it. */
const received = (text: string): SipRequest | SipResponse =>
  parseMessage(Buffer.from(text, "latin1").toString("latin1"));

function subscribeText(i: number, watchers: number): string {
  const user = `user${Math.floor(i / watchers)}@example.com`;
  const watcher = `watcher${Math.floor(i / watchers) ^ (i % watchers)}`;
  return [
    `SUBSCRIBE sip:${user} SIP/2.0`,
    `Via: SIP/2.0/UDP west.example.com:5060;branch=z9hG4bK${i}.east0`,
    `Via: SIP/2.0/TLS 10.1.2.3:50612;received=192.0.2.9;branch=z9hG4bKnashds${i}`,
    "Record-Route: <sip:west.example.com;lr;ftag=8a7b6c5d>",
    "Max-Forwards: 69",
    `From: "Watcher ${i}" <sip:${watcher}@example.com>;tag=8a7b6c5d${i}`,
    `To: <sip:${user}>`,
    `Call-ID: ${String(i).padStart(24, "a84b4c76e66710f1")}@10.1.2.3`,
    "CSeq: 1 SUBSCRIBE",
    `Contact: <sip:${watcher}@10.1.2.3:50612;transport=tls;ob>`,
    `P-Asserted-Identity: <sip:${watcher}@example.com>`,
    "Event: presence",
    "Accept: application/pidf+xml, application/rlmi+xml, multipart/related",
    "Supported: eventlist, 100rel, norefersub",
    "User-Agent: Example/5.14 (desktop)",
    "Expires: 3600",
    "Content-Length: 0",
    "\r\n",
  ].join("\r\n");
}

function notifyText(subscribe: SipRequest, user: string, server: string): string {
  const body = `<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:${user}">
  <tuple id="a1"><status><basic>open</basic></status><contact priority="0.8">sip:${user}</contact><note>at the desk in the ${server}</note></tuple>
</presence>
`;
  return [
    `NOTIFY ${subscribe.header("Contact")?.replace(/[<>]/g, "")} SIP/2.0`,
    `Via: SIP/2.0/UDP ${server}.example.com;branch=z9hG4bKn1`,
    "Max-Forwards: 70",
    `From: ${subscribe.header("To")};tag=${server}${subscribe.callId}`,
    `To: ${subscribe.header("From")}`,
    `Call-ID: ${subscribe.callId}`,
    "CSeq: 1 NOTIFY",
    `Contact: <sip:${server}.example.com>`,
    "Event: presence",
    "Subscription-State: active;expires=3600",
    "Content-Type: application/pidf+xml",
    `Content-Length: ${body.length}`,
    "",
    body,
  ].join("\r\n");
}

const OK = received(
  [
    "SIP/2.0 200 OK",
    "Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1",
    "From: <sip:a@example.com>;tag=1",
    "To: <sip:b@example.com>;tag=2",
    "Call-ID: 1",
    "CSeq: 1 NOTIFY",
    "Expires: 3600",
    "Content-Length: 0",
    "\r\n",
  ].join("\r\n"),
) as SipResponse;

const LEASES: Leases = {
  open: () => Promise.resolve("bench"),
  renew: () => Promise.resolve("renewed"),
  close: () => Promise.resolve(),
  endLapsed: () => Promise.resolve([]),
  contactOf: () => Promise.resolve(null),
};

const ROWS: SubscriptionStore = {
  insert: () => Promise.resolve({ outcome: "inserted", slot: { server: null, epoch: 0 } }),
  update: () => Promise.resolve("done"),
  remove: () => Promise.resolve(),
  take: () => Promise.resolve([]),
  owned: () => Promise.resolve([]),
  load: () => Promise.resolve([]),
  ownerOf: () => Promise.resolve(null),
  list: () => Promise.resolve([]),
  count: () => Promise.resolve({ held: 0, live: 0, composed: 0, reg: 0, winfo: 0 }),
};

const UNIONS: UnionStore = {
  enter: (_owner, { id }, { servers }) =>
    Promise.resolve({ outcome: "entered", chain: id, servers, slot: { server: null, epoch: 0 } }),
  visit: () => Promise.resolve("taken"),
  leave: () => Promise.resolve(),
  arrived: () => Promise.resolve(),
  fate: () => Promise.resolve("arrived"),
  visited: () => Promise.resolve([]),
  grant: () => Promise.resolve(),
  revoke: () => Promise.resolve(),
  spend: () => Promise.resolve(false),
};

interface Asked {
  readonly server: string;
  readonly subscribe: SipRequest;
}

/** The subscription layer alone: rows are written nowhere, watchers and servers answer at once. */
export class Alone {
  readonly subscriptions: Subscriptions;
  /** Requests that were not accepted. */
  refused = 0;
  readonly #inDialogs: InDialogs;
  readonly #watchers: number;
  #changed: (change: Change) => void = () => undefined;
  /** Milliseconds that nobody had to wait for. */
  #passed = 0;
  /** SUBSCRIBEs of legs that are to be told of. */
  #asked: Asked[] = [];

  /**
   * @param watchers of each user, and users of each watcher.
   * @param servers of each user, where he is on several.
   */
  constructor(watchers: number, servers: readonly string[]) {
    this.#watchers = watchers;
    const real = createRealRuntime();
    const union: UnionNow = { servers, credits: {}, visited: true, below: {}, fromRoot: false };
    const outbound: Outbound = {
      hasTls: () => Promise.resolve(true),
      toUri: (_uri, _connection, build): Promise<Reply> => {
        built(build);
        return Promise.resolve(OK);
      },
      toServer: (server, build): Promise<Reply> => {
        this.#asked.push({ server, subscribe: built(build) });
        return Promise.resolve(OK);
      },
    };
    this.subscriptions = new Subscriptions(
      {
        runtime: { ...real, clock: { now: () => real.clock.now() + this.#passed, wall: () => real.clock.wall() } },
        telemetry: new Telemetry(),
        directory: {
          leases: LEASES,
          subscriptions: ROWS,
          unions: UNIONS,
          onChange: (listener) => {
            this.#changed = listener;
            return () => undefined;
          },
        },
        outbound,
        policy: NO_POLICY,
        servers: {
          takesLegs: () => true,
          learned: () => undefined,
          isMember: () => false,
          nameOn: (aor) => ({ identity: aor, uri: `sip:${aor}` }),
          union: () => union,
          mayBeMissing: () => false,
          isServer: () => true,
          traits: () => null,
          onUp: () => () => undefined,
        },
        points: () => [POINT],
      },
      { ...SUBSCRIPTION_OPTIONS, leaseMs: 3_600_000 },
    );
    this.#inDialogs = new InDialogs(this.subscriptions);
  }

  /** Watcher number `i` subscribes, by way of server west. */
  subscribe(i: number): Handed {
    const request = received(subscribeText(i, this.#watchers)) as SipRequest;
    const uri = request.requestUri;
    return this.#handedOf(request, "west", uri.slice(uri.indexOf(":") + 1));
  }

  /** Time goes by in which nothing happens: what was kept for a while is forgotten when it is looked at next. */
  pass(ms: number): void {
    this.#passed += ms;
  }

  bind(user: number, server: string): void {
    this.#changed({ kind: "binding", aor: `user${user}@example.com`, server, previous: null, epoch: 1 });
  }

  /** Servers that were asked tell what they have. */
  async tell(): Promise<void> {
    const asked = this.#asked;
    this.#asked = [];
    for (const { server, subscribe } of asked) {
      const name = subscribe.requestUri.slice(subscribe.requestUri.indexOf(":") + 1);
      const notify = received(notifyText(subscribe, name, server)) as SipRequest;
      await this.#inDialogs.handle(this.#handedOf(notify, server, ""));
    }
  }

  #handedOf(request: SipRequest, server: string, aor: string): Handed {
    return {
      transaction: { request, flow: FLOW, receivedAt: 0, completed: false, respond: () => undefined },
      request,
      origin: { kind: "server", server },
      aor,
      event: "presence",
      sender: {
        aor: request.from.uri.kind === "sip" ? `${request.from.uri.user}@${request.from.uri.host}` : "",
        trusted: true,
      },
      spender: "",
      respond: (response) => {
        if (response.status !== 200) this.refused++;
      },
    };
  }
}

function built(build: BuildRequest): SipRequest {
  const request = build(FLOW);
  return request instanceof SipRequest ? request : request.build();
}

/** Until what is under way has been carried out. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
