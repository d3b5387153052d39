import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
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
import { Accepting } from "../src/subscription/accept.ts";
import { InDialogs } from "../src/subscription/in-dialog.ts";
import { SUBSCRIPTION_OPTIONS } from "../src/subscription/options.ts";
import type { Handed } from "../src/subscription/ports.ts";
import { Subscriptions } from "../src/subscription/service.ts";
import { Telemetry } from "../src/telemetry/events.ts";
import { table } from "./systems.ts";

// Memory of a held subscription, and of one with a leg, in one process:
//   node --expose-gc --import tsx bench/held-memory.ts [--subscriptions 1000000] [--watchers 10] [--json]

/** Octets a subscription. */
export interface HeldMemory {
  readonly subscriptions: number;
  readonly heldHeap: number;
  readonly heldResident: number;
  /** Microseconds of processor time to accept one, without a network or a database. */
  readonly acceptUs: number;
  readonly liveHeap: number;
  readonly liveResident: number;
  readonly extendUs: number;
}

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

function notifyText(subscribe: SipRequest, user: string): string {
  const body = `<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:${user}">
  <tuple id="a1"><status><basic>open</basic></status><contact priority="0.8">sip:${user}</contact><note>at the desk</note></tuple>
</presence>
`;
  return [
    `NOTIFY ${subscribe.header("Contact")?.replace(/[<>]/g, "")} SIP/2.0`,
    "Via: SIP/2.0/UDP east.example.com;branch=z9hG4bKn1",
    "Max-Forwards: 70",
    `From: ${subscribe.header("To")};tag=east${subscribe.callId}`,
    `To: ${subscribe.header("From")}`,
    `Call-ID: ${subscribe.callId}`,
    "CSeq: 1 NOTIFY",
    "Contact: <sip:east.example.com>",
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
  visited: () => Promise.resolve([]),
  grant: () => Promise.resolve(),
  revoke: () => Promise.resolve(),
  spend: () => Promise.resolve(false),
};

/** The subscription layer alone: rows are written nowhere, watchers and servers answer at once. */
export async function measureHeld(count: number, watchers: number): Promise<HeldMemory> {
  const gc = (globalThis as { gc?: () => void }).gc;
  if (gc === undefined) throw new Error("Run it with node --expose-gc.");
  const runtime = createRealRuntime();
  let changed: (change: Change) => void = () => undefined;
  /** SUBSCRIBEs of legs that are to be told of. */
  let asked: SipRequest[] = [];
  const built = (build: BuildRequest): SipRequest => {
    const request = build(FLOW);
    return request instanceof SipRequest ? request : request.build();
  };
  const outbound: Outbound = {
    hasTls: () => Promise.resolve(true),
    toUri: (_uri, _connection, build): Promise<Reply> => {
      built(build);
      return Promise.resolve(OK);
    },
    toServer: (_server, build): Promise<Reply> => {
      asked.push(built(build));
      return Promise.resolve(OK);
    },
  };
  const subscriptions = new Subscriptions(
    {
      runtime,
      telemetry: new Telemetry(),
      directory: {
        leases: LEASES,
        subscriptions: ROWS,
        unions: UNIONS,
        onChange: (listener) => {
          changed = listener;
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
        union: () => "away",
        mayBeMissing: () => false,
        traits: () => null,
        onUp: () => () => undefined,
      },
      points: () => [POINT],
    },
    { ...SUBSCRIPTION_OPTIONS, leaseMs: 3_600_000 },
  );
  await subscriptions.start();
  // What it remembers of requests for 32 s is not a subscription's.
  let accepting: Accepting | null = new Accepting(subscriptions);
  const inDialogs = new InDialogs(subscriptions);
  let refused = 0;
  const handedOf = (request: SipRequest, server: string, aor: string): Handed => ({
    transaction: { request, flow: FLOW, receivedAt: 0, completed: false, respond: () => undefined },
    request,
    origin: { kind: "server", server },
    aor,
    event: "presence",
    sender: {
      aor: request.from.uri.kind === "sip" ? `${request.from.uri.user}@${request.from.uri.host}` : "",
      trusted: true,
    },
    respond: (response) => {
      if (response.status !== 200) refused++;
    },
  });
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  const before = use(gc);
  let started = process.cpuUsage();
  for (let i = 0; i < count; i++) {
    const request = received(subscribeText(i, watchers)) as SipRequest;
    const uri = request.requestUri;
    const aor = uri.slice(uri.indexOf(":") + 1);
    void accepting.subscribe(handedOf(request, "west", aor), {
      kind: "presence",
      aor,
      server: null,
      epoch: 0,
      known: true,
    });
    if (i % PIECE === PIECE - 1) await turn();
  }
  await turn();
  const acceptUs = spent(started) / count;
  if (subscriptions.counts.held !== count || refused > 0)
    throw new Error(`${subscriptions.counts.held} of ${count} are held, ${refused} were refused`);
  accepting = null;
  const held = use(gc);

  started = process.cpuUsage();
  for (let user = 0; user < count / watchers; user++) {
    const aor = `user${user}@example.com`;
    changed({ kind: "binding", aor, server: "east", previous: null, epoch: 1 });
    if (user % Math.max(1, Math.floor(PIECE / watchers)) !== 0 && user < count / watchers - 1) continue;
    await turn();
    for (const subscribe of asked) {
      const at = subscribe.requestUri;
      const name = at.slice(at.indexOf(":") + 1);
      await inDialogs.handle(handedOf(received(notifyText(subscribe, name)) as SipRequest, "east", ""));
    }
    asked = [];
  }
  await turn();
  const extendUs = spent(started) / count;
  if (subscriptions.counts.live !== count) throw new Error(`${subscriptions.counts.live} of ${count} have a leg`);
  const live = use(gc);
  const each = (later: Use, key: keyof Use): number => (later[key] - before[key]) / count;
  const result = {
    subscriptions: count,
    heldHeap: each(held, "heap"),
    heldResident: each(held, "resident"),
    acceptUs,
    liveHeap: each(live, "heap"),
    liveResident: each(live, "resident"),
    extendUs,
  };
  await subscriptions.stop();
  return result;
}

/** Subscriptions made before the process turns to other things. */
const PIECE = 500;

function spent(since: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since);
  return user + system;
}

interface Use {
  readonly heap: number;
  readonly resident: number;
}

function use(gc: () => void): Use {
  gc();
  gc();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heap: heapUsed + external, resident: rss };
}

/** The same in a process of its own, so that nothing else is in it. */
export async function measureHeldApart(count: number, watchers: number): Promise<HeldMemory> {
  const self = fileURLToPath(import.meta.url);
  const heap = `--max-old-space-size=${Math.max(2_000, Math.ceil(count / 150))}`;
  const args = ["--expose-gc", heap, "--import", "tsx", self, "--json"];
  const size = ["--subscriptions", String(count), "--watchers", String(watchers)];
  const { stdout } = await promisify(execFile)(process.execPath, [...args, ...size]);
  return JSON.parse(stdout) as HeldMemory;
}

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      subscriptions: { type: "string", default: "100000" },
      watchers: { type: "string", default: "10" },
      json: { type: "boolean", default: false },
    },
  });
  const [count, watchers] = [Number(values.subscriptions), Number(values.watchers)];
  if (values.json) console.log(JSON.stringify(await measureHeld(count, watchers)));
  else console.log(memoryTable(await measureHeldApart(count, watchers)));
}

export function memoryTable(memory: HeldMemory): string {
  const row = (what: string, heap: number, octets: number, us: number): string[] => [
    what,
    String(memory.subscriptions),
    heap.toFixed(0),
    octets.toFixed(0),
    us.toFixed(1),
  ];
  return table([
    ["", "subscriptions", "heap octets each", "resident octets each", "cpu us each to make"],
    row("held", memory.heldHeap, memory.heldResident, memory.acceptUs),
    row("with a leg", memory.liveHeap, memory.liveResident, memory.extendUs),
  ]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await run(process.argv.slice(2));
