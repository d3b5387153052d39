import { describe, expect, it } from "vitest";
import { DirectoryUnavailable } from "../../src/base/errors.ts";
import type { Change } from "../../src/directory/directory.ts";
import type { MessageStore, QueueRef, StoredMessage } from "../../src/directory/messages.ts";
import type { Plan } from "../../src/federation/plan.ts";
import { createMessaging } from "../../src/messaging/messaging.ts";
import { DELIVERY_OPTIONS, MESSAGING_OPTIONS } from "../../src/messaging/options.ts";
import type { MessagingParts } from "../../src/messaging/ports.ts";
import type { Reply } from "../../src/sip/transaction/outbound.ts";
import type { Flow } from "../../src/sip/transport/transport.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { virtualRuntime } from "../directory/virtual-runtime.ts";

const QUEUE: QueueRef = { recipient: "joe@example.com", sender: "ann@example.com", fence: 7 };
const RELAY: Plan = {
  kind: "relay",
  server: "west",
  binding: null,
  subdomain: null,
  identity: null,
  unlearn: null,
  reasons: [],
};

const BOUND: Change = { kind: "binding", aor: QUEUE.recipient, server: "west", previous: null, epoch: 2 };

/** One queue with one message is there to be taken; everything takes the time the test gives it. */
function setUp(
  given: {
    whereMs?: number;
    reply?: Reply;
    endFails?: number;
    broken?: boolean;
    deferMs?: number;
    plan?: Plan;
    sips?: boolean;
  } = {},
) {
  const runtime = virtualRuntime(1);
  const did: string[] = [];
  const wait = (ms: number) => new Promise<void>((resolve) => runtime.timers.after(ms, resolve));
  const message: StoredMessage = {
    id: "m1",
    ...QUEUE,
    origin: null,
    callId: "c",
    fromTag: "t",
    cseq: 1,
    requestUri: given.sips ? "sips:joe@example.com" : "sip:joe@example.com",
    request: given.broken ? "nothing" : "MESSAGE sip:joe@example.com SIP/2.0\r\nCall-ID: c\r\nCSeq: 1 MESSAGE\r\n\r\n",
    receivedAt: runtime.clock.wall(),
    expiresAt: runtime.clock.wall() + 3_600_000,
    tries: 0,
  };
  let taken = false;
  let change: (change: Change) => void = () => undefined;
  let up: (server: string) => void = () => undefined;
  let failures = given.endFails ?? 0;
  const messages: Partial<MessageStore> = {
    async take() {
      if (taken) return [];
      taken = true;
      return [{ ...QUEUE, message, server: "west" }];
    },
    async end(id, end) {
      if (failures-- > 0) throw new DirectoryUnavailable("away");
      did.push(`end ${id} ${end.state}`);
      return { ended: true, next: null };
    },
    async defer(_queue, _delayMs, detail) {
      await wait(given.deferMs ?? 0);
      did.push(`defer ${detail}`);
      return true;
    },
    async wake([recipient]) {
      did.push(`wake ${recipient}`);
      return 0;
    },
    wakeBound: async () => 0,
    overdue: async () => [],
    sweep: async () => 0,
    count: async () => ({ messages: 1, queues: 1, octets: 1 }),
  };
  const parts: MessagingParts = {
    runtime,
    telemetry: new Telemetry(),
    directory: {
      messages: messages as MessageStore,
      learn: () => Promise.reject(new Error("nobody learns")),
      unlearn: () => Promise.reject(new Error("nobody unlearns")),
      onChange: (listener) => {
        change = listener;
        return () => undefined;
      },
    },
    outbound: {
      async toServer(server, build, options) {
        if (given.broken) build(null as unknown as Flow);
        did.push(`to ${server} for ${options?.timeoutMs}`);
        await wait(10);
        return given.reply ?? "timeout";
      },
      hasTls: async (server) => server === "west",
      toUri: () => Promise.reject(new Error("nobody is asked by URI")),
    },
    router: {
      async where() {
        await wait(given.whereMs ?? 0);
        return { plan: given.plan ?? RELAY, allow: () => Promise.resolve(), instead: () => [] };
      },
      proves: () => false,
      nameOn: (aor) => aor,
      canonical: (aor) => aor,
      onServerUp: (listener) => {
        up = listener;
        return () => undefined;
      },
      domains: ["example.com"],
      learnedMs: 1_000,
      retryAfterS: 1,
    },
    options: () => MESSAGING_OPTIONS,
  };
  const { deliverer } = createMessaging(parts, DELIVERY_OPTIONS);
  deliverer.start();
  return { runtime, deliverer, did, bound: () => change(BOUND), up: () => up("west") };
}

describe("the while for which a queue is taken (concurrency.md 7)", () => {
  it("a try gets Timer F, and no more than what is left of it", async () => {
    const fast = setUp();
    await fast.runtime.advance(5_000);
    expect(fast.did).toEqual(["to west for 32000", "defer no answer: west"]);
    const slow = setUp({ whereMs: 10_000 });
    await slow.runtime.advance(15_000);
    expect(slow.did[0]).toBe("to west for 26000");
    for (const each of [fast, slow]) await each.deliverer.stop();
  });

  it("what cannot be made into a request any more fails, and blocks nobody behind it", async () => {
    const { runtime, deliverer, did } = setUp({ broken: true });
    await runtime.advance(1_000);
    expect(did).toEqual(["end m1 failed"]);
    await deliverer.stop();
  });

  it("a binding told while the queue is being given up makes it due when that is done", async () => {
    const { runtime, deliverer, did, bound } = setUp({ deferMs: 200 });
    await runtime.advance(100);
    bound();
    await runtime.advance(500);
    // The first found it in somebody's hands, and passed it over.
    expect(did).toEqual(["to west for 32000", "wake joe@example.com", "defer no answer: west", "wake joe@example.com"]);
    await deliverer.stop();
  });

  it("a server told to be up while its queue is being given up because nobody can be asked makes it due", async () => {
    const none = { retryAfter: null, warning: null, unlearn: null, reasons: [] };
    const plan: Plan = { kind: "reject", status: 480, phrase: "Temporarily Unavailable", ...none };
    const { runtime, deliverer, did, up } = setUp({ deferMs: 200, plan });
    await runtime.advance(100);
    up();
    await runtime.advance(500);
    expect(did).toEqual(["defer null", "wake joe@example.com"]);
    await deliverer.stop();
  });

  it("to a SIPS URI: of the servers that may have him those with TLS are asked", async () => {
    const stages = { stages: [["north", "west"]], proving: [], identities: {}, reasons: [] };
    const { runtime, deliverer, did } = setUp({ sips: true, plan: { kind: "fork", ...stages } as unknown as Plan });
    await runtime.advance(100);
    expect(did).toEqual(["to west for 32000", "defer no answer: west"]);
    await deliverer.stop();
    const none = setUp({ sips: true, plan: { ...RELAY, server: "north" } as Plan });
    await none.runtime.advance(100);
    expect(none.did).toEqual(["end m1 failed"]);
    await none.deliverer.stop();
  });

  it("nothing is sent once it is nearly over: the queue is another's soon", async () => {
    const { runtime, deliverer, did } = setUp({ whereMs: 39_000 });
    await runtime.advance(60_000);
    expect(did).toEqual([]);
    expect(deliverer.inFlight).toBe(0);
    await deliverer.stop();
    await runtime.advance(1_000);
    expect(runtime.pending).toBe(0);
  });

  it("what could not be removed is tried again while it lasts, and given up to the next taking after that", async () => {
    const reply = { status: 200, header: () => undefined } as unknown as Reply;
    const soon = setUp({ reply, endFails: 3 });
    await soon.runtime.advance(5_000);
    expect(soon.did.at(-1)).toBe("end m1 delivered");
    const never = setUp({ reply, endFails: 1_000 });
    await never.runtime.advance(60_000);
    expect(never.did).toEqual(["to west for 32000"]);
    expect(never.deliverer.inFlight).toBe(0);
    for (const each of [soon, never]) await each.deliverer.stop();
  });
});
