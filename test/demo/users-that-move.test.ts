import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { answeringDialog, type Dialog, inDialog } from "../../src/demo/dialog.ts";
import { createExampleServer, type ExampleServer, type ExampleServerOptions } from "../../src/demo/example-server.ts";
import { isOpen, markOf } from "../../src/demo/presence-agent.ts";
import { Stack } from "../../src/demo/stack.ts";
import type { Watch, WatchOptions } from "../../src/demo/watches.ts";
import { printReginfo, type RegistrationState } from "../../src/presence/reginfo.ts";
import { createSimulation, type Simulation } from "../../src/runtime/simulated.ts";
import { buildRequest, buildResponse, type HeaderPair } from "../../src/sip/message/build.ts";
import type { SipRequest } from "../../src/sip/message/message.ts";
import type { ServerTransaction } from "../../src/sip/transaction/transaction.ts";

/** Example servers as the exclusive model needs them: one with users, one whose users watch, and a proxy that the test plays. */
let simulation: Simulation;
let east: ExampleServer;
let west: ExampleServer;
let proxy: Stack;
/** What the proxy got, and how it answers; default 200. */
let asked: SipRequest[];
let answer: (request: SipRequest) => { readonly status: number; readonly headers?: readonly HeaderPair[] };
/** Dialogs of SUBSCRIBEs the proxy has accepted. */
let dialogs: Dialog[];

const PROXY = { host: "127.0.0.1", port: 5060 };
const EAST = { host: "127.0.0.11", port: 5060 };
const WEST = { host: "127.0.0.12", port: 5060 };

beforeEach(async () => {
  simulation = createSimulation({ seed: 3 });
  asked = [];
  dialogs = [];
  answer = () => ({ status: 200 });
  proxy = new Stack(simulation.runtime([PROXY.host]), PROXY, { onRequest: play, onAck: () => {}, onCancel: () => {} });
  await simulation.finish(proxy.start());
});

afterEach(async () => {
  await simulation.finish(Promise.all([east, west].map((server) => server.stop())));
  await simulation.finish(proxy.stop());
  await simulation.idle();
  expect(simulation.leaks()).toEqual([]);
});

async function servers(options: Partial<ExampleServerOptions> = {}): Promise<void> {
  const common = { domain: "example.com", onUnknown: "404", users: [], proxy: PROXY, ...options } as const;
  east = createExampleServer(simulation.runtime([EAST.host]), { ...common, name: "east", listen: EAST });
  // West's users watch: its proxy is east itself where the test plays none.
  west = createExampleServer(simulation.runtime([WEST.host]), { ...common, name: "west", listen: WEST, proxy: EAST });
  await simulation.finish(Promise.all([east.start(), west.start()]));
}

function play(transaction: ServerTransaction): void {
  const { request } = transaction;
  asked.push(request);
  const { status, headers = [] } = answer(request);
  const more: HeaderPair[] = [];
  let toTag = `p${asked.length}`;
  if (request.method === "SUBSCRIBE" && status < 300) {
    more.push(["Contact", `<${proxy.uri}>`], ["Expires", String(request.expires)]);
    if (request.to.tag === undefined) dialogs.push(answeringDialog(request, toTag));
    else toTag = request.to.tag;
  }
  if (request.method === "REGISTER" && status < 300 && request.expires !== 0)
    more.push(["Contact", `${request.header("Contact")};expires=${request.expires}`]);
  transaction.respond(buildResponse(request, status, undefined, { toTag, headers: [...more, ...headers] }));
}

function notify(dialog: Dialog, state: string, body = "", event = "presence"): Promise<number> {
  const headers: HeaderPair[] = [
    ["Contact", `<${proxy.uri}>`],
    ["Event", event],
    ["Subscription-State", state],
  ];
  return simulation.finish(proxy.ask(inDialog(dialog, "NOTIFY", headers, body))).then((each) => each?.status ?? 0);
}

const registers = () => asked.filter((request) => request.method === "REGISTER");
const reginfo = (version: number, registration: Partial<RegistrationState>) =>
  printReginfo({
    version,
    state: "partial",
    registrations: [{ aor: "sip:alice@example.com", id: "r1", state: "active", contacts: [], ...registration }],
  });
const contact = (event: "rejected" | "deactivated" | "expired", more = {}) =>
  ({ id: "c1", uri: "sip:127.0.0.11:5060", state: "terminated", event, ...more }) as const;

describe("a user who logs in", () => {
  test("is claimed by a REGISTER with the server as contact, refreshed halfway under one Call-ID, CSeq rising", async () => {
    await servers();
    expect((await simulation.finish(east.login("alice", 100)))?.status).toBe(200);
    await simulation.advance(101_000);
    const [first, second, third] = registers();
    expect(registers()).toHaveLength(3);
    expect(first?.header("Contact")).toBe("<sip:127.0.0.11:5060>");
    expect([second?.callId, third?.callId]).toEqual([first?.callId, first?.callId]);
    expect(registers().map((each) => each.cseq.number)).toEqual([1, 2, 3]);
  });

  test("is deregistered when he goes, and his next login is a registration of its own", async () => {
    await servers();
    await simulation.finish(east.login("alice", 100));
    await simulation.finish(east.logout("alice"));
    await simulation.advance(200_000);
    expect(registers().map((each) => each.expires)).toEqual([100, 0]);
    expect(east.keeps("alice")).toBe(false);
    await simulation.finish(east.login("alice", 100));
    expect(registers()[2]?.callId).not.toBe(registers()[0]?.callId);
  });

  test("asks for Min-Expires after 423, again after 500 as Retry-After says, and lets go of him after 403", async () => {
    await servers();
    const answers = [
      { status: 423, headers: [["Min-Expires", "300"]] },
      { status: 200 },
      { status: 500, headers: [["Retry-After", "7"]] },
      { status: 403 },
    ] as const;
    answer = () => answers[asked.length - 1] ?? { status: 200 };
    await simulation.finish(east.login("alice", 100));
    await simulation.advance(170_000);
    expect(registers().map((each) => each.expires)).toEqual([100, 300, 300, 300]);
    expect(east.evicted).toEqual([{ user: "alice", by: "refusal" }]);
    await simulation.advance(600_000);
    expect(registers()).toHaveLength(4);
  });
});

describe("a server that is told of registrations (RFC 3680)", () => {
  async function told(body: string, options: Partial<ExampleServerOptions> = {}): Promise<void> {
    await servers(options);
    await simulation.finish(east.login("alice", 600));
    await simulation.finish(east.registrations());
    expect(await notify(dialogs[0]!, "active;expires=600", body, "reg")).toBe(200);
    await simulation.advance(100);
  }

  test("subscribes to all its users and keeps that up", async () => {
    await servers();
    const watch = await simulation.finish(east.registrations());
    const subscribes = asked.filter((request) => request.method === "SUBSCRIBE");
    expect(subscribes[0]?.requestUri).toBe("sip:reg@example.com;server=east");
    expect(subscribes[0]?.event?.package).toBe("reg");
    expect(watch.answer?.status).toBe(200);
    expect(await notify(dialogs[0]!, "active;expires=600", "", "reg")).toBe(200);
    await simulation.advance(700_000);
    expect(asked.filter((request) => request.to.tag !== undefined).length).toBeGreaterThan(1);
  });

  test("lets go of him whose contact is terminated and rejected, and says nothing to the proxy", async () => {
    await told(reginfo(0, { contacts: [contact("rejected")] }));
    expect(east.evicted).toEqual([{ user: "alice", by: "reg event" }]);
    await simulation.advance(700_000);
    expect(registers()).toHaveLength(1);
  });

  test("registers him again where the contact is deactivated; expired and other servers' contacts are nothing to it", async () => {
    await told(reginfo(0, { contacts: [contact("deactivated")] }));
    expect(registers()).toHaveLength(2);
    await notify(dialogs[0]!, "active", reginfo(1, { contacts: [contact("expired")] }), "reg");
    await notify(
      dialogs[0]!,
      "active",
      reginfo(2, { contacts: [contact("rejected", { uri: "sip:127.0.0.12:5060" })] }),
      "reg",
    );
    expect(east.evicted).toEqual([]);
  });

  test("passes over what is said of an older registration of his", async () => {
    await told(reginfo(0, { contacts: [contact("rejected", { callId: "an-older-one" })] }));
    expect(east.evicted).toEqual([]);
  });

  test("that knows whole registrations only: lets go when that is terminated, not when a contact is", async () => {
    await told(reginfo(0, { contacts: [contact("rejected")] }), { reginfo: "whole" });
    expect(east.evicted).toEqual([]);
    await notify(dialogs[0]!, "active", reginfo(1, { state: "terminated" }), "reg");
    expect(east.evicted).toEqual([{ user: "alice", by: "reg event" }]);
  });

  test("subscribes anew after deactivated, and not after rejected", async () => {
    await servers();
    const watch = await simulation.finish(east.registrations());
    await notify(dialogs[0]!, "terminated;reason=deactivated", "", "reg");
    await simulation.advance(100);
    expect(dialogs).toHaveLength(2);
    expect(watch.ended).toBe(false);
    await notify(dialogs[1]!, "terminated;reason=rejected", "", "reg");
    await simulation.advance(10_000);
    expect(dialogs).toHaveLength(2);
    expect(watch.ended).toBe(true);
  });
});

describe("a REGISTER with Contact: * and Expires: 0 from the proxy", () => {
  const evict = (): Promise<unknown> => {
    const request = buildRequest({
      method: "REGISTER",
      uri: "sip:example.com",
      headers: [
        ["Max-Forwards", "70"],
        ["From", "<sip:alice@example.com>;tag=1"],
        ["To", "<sip:alice@example.com>"],
        ["Call-ID", "evict"],
        ["CSeq", "1 REGISTER"],
        ["Contact", "*"],
        ["Expires", "0"],
      ],
    });
    return simulation.finish(proxy.ask(request, EAST));
  };

  test("takes the user away where the server is made so", async () => {
    await servers({ evictByRegister: true });
    await simulation.finish(east.login("alice", 600));
    const watch = await simulation.finish(west.watch("bob", "alice@example.com"));
    await evict();
    await simulation.advance(700_000);
    expect(east.evicted).toEqual([{ user: "alice", by: "REGISTER" }]);
    expect(watch.notified.at(-1)?.state).toBe("terminated;reason=deactivated");
    expect(registers()).toHaveLength(1);
  });

  test("is a phone's matter alone where it is not", async () => {
    await servers();
    await simulation.finish(east.login("alice", 600));
    await evict();
    expect(east.evicted).toEqual([]);
    expect(east.keeps("alice")).toBe(true);
  });
});

describe("a server that is a notifier", () => {
  test("knows its watchers by P-Asserted-Identity, lists its dialogs, and lets them in as its policy says", async () => {
    await servers({ leaving: "noresource" });
    east.hold("alice");
    east.policy = (watcher) => (watcher.includes("bob") ? "pending" : watcher.includes("eve") ? "rejected" : "active");
    const [bob, carol, eve] = await simulation.finish(
      Promise.all(["bob", "carol", "eve"].map((each) => west.watch(each, "alice@example.com"))),
    );
    await simulation.advance(100);
    expect(eve?.answer?.status).toBe(403);
    expect(bob).toMatchObject({ phase: "pending", notified: [{ document: "" }] });
    expect(carol?.phase).toBe("active");
    expect(east.accepted("alice").map((each) => `${each.watcher} ${each.verdict}`)).toEqual([
      "sip:bob@example.com pending",
      "sip:carol@example.com active",
    ]);
    east.policy = (watcher) => (watcher.includes("bob") ? "active" : "rejected");
    east.reconsider();
    await simulation.advance(100);
    expect(bob?.phase).toBe("active");
    expect(markOf(bob?.notified.at(-1)?.document ?? "")?.server).toBe("east");
    expect(carol?.notified.at(-1)?.state).toBe("terminated;reason=rejected");
    east.release("alice");
    await simulation.advance(100);
    expect(bob?.notified.at(-1)?.state).toBe("terminated;reason=noresource");
  });

  test("answers what a script says, or nothing", async () => {
    await servers();
    east.hold("alice");
    const script: Array<ReturnType<ExampleServer["script"]>> = [
      { status: 423, headers: [["Min-Expires", "900"]] },
      "silence",
      undefined,
    ];
    east.script = () => script.shift();
    const first = await simulation.finish(west.watch("bob", "alice@example.com"));
    expect([first.answer?.status, first.answer?.header("Min-Expires")]).toEqual([423, "900"]);
    const second = await simulation.finish(west.watch("bob", "alice@example.com"));
    expect(second.answer).toBeNull();
    const third = await simulation.finish(west.watch("bob", "alice@example.com"));
    expect(third.answer?.status).toBe(200);
  });

  test("loses a NOTIFY: its CSeq is gone, the next one comes", async () => {
    await servers();
    east.hold("alice");
    const watch = await simulation.finish(west.watch("bob", "alice@example.com"));
    await simulation.advance(100);
    east.lose(1);
    east.show("alice", "open");
    east.show("alice", "closed");
    await simulation.advance(100);
    expect(watch.notified.map((each) => each.cseq)).toEqual([1, 3]);
    expect(markOf(watch.notified.at(-1)?.document ?? "")?.serial).toBe(3);
  });

  test("sends the NOTIFY before the 200 where it is made so", async () => {
    await servers({ notifyFirst: true });
    east.hold("alice");
    const starting = west.watch("bob", "alice@example.com");
    let answered = 0;
    void starting.then(() => {
      answered = simulation.now;
    });
    const watch = await simulation.finish(starting);
    await simulation.advance(100);
    expect(watch.notified[0]?.at).toBeLessThan(answered);
  });
});

describe("a watchers' server", () => {
  const played = async (options: WatchOptions): Promise<Watch> => {
    await servers();
    return simulation.finish(east.watch("bob", "alice@example.com", options));
  };

  test("keeps every NOTIFY in order with CSeq, state, body and contact", async () => {
    const watch = await played({});
    await notify(dialogs[0]!, "pending;expires=600");
    await notify(dialogs[0]!, "active;expires=600", "one");
    expect(watch.notified).toMatchObject([
      { cseq: 1, state: "pending;expires=600", document: "", contact: "sip:127.0.0.1:5060", dialog: 0 },
      { cseq: 2, state: "active;expires=600", document: "one" },
    ]);
    expect(watch.phase).toBe("active");
  });

  test("answers 500 to a NOTIFY whose CSeq goes back, and counts it", async () => {
    const watch = await played({});
    await notify(dialogs[0]!, "active", "two");
    const older = { ...dialogs[0]!, localCSeq: 0 };
    expect(await notify(older, "active", "one")).toBe(500);
    expect(watch.backward).toBe(1);
    expect(watch.notified).toHaveLength(1);
  });

  test("refreshes halfway, where the last NOTIFY said its sender is", async () => {
    const watch = await played({ expires: 100, keep: true });
    await notify(dialogs[0]!, "active");
    await simulation.advance(101_000);
    expect(watch.refreshes).toEqual([200, 200]);
    const other = new Stack(
      simulation.runtime(["127.0.0.2"]),
      { host: "127.0.0.2", port: 5060 },
      { onRequest: play, onAck: () => {}, onCancel: () => {} },
    );
    await simulation.finish(other.start());
    const taken = inDialog(dialogs[0]!, "NOTIFY", [
      ["Contact", "<sip:127.0.0.2:5060>"],
      ["Event", "presence"],
      ["Subscription-State", "active"],
    ]);
    await simulation.finish(other.ask(taken));
    await simulation.advance(50_000);
    expect(asked.at(-1)?.requestUri).toBe("sip:127.0.0.2:5060");
    await simulation.finish(other.stop());
  });

  test("subscribes anew after a 481, in a new dialog of the same watch, until it is told to end", async () => {
    const watch = await played({ expires: 100, keep: true, again: true });
    await notify(dialogs[0]!, "active", "first");
    answer = (request) => ({ status: request.to.tag === undefined ? 200 : 481 });
    await simulation.advance(51_000);
    expect(dialogs).toHaveLength(2);
    expect(dialogs[1]?.callId).not.toBe(dialogs[0]?.callId);
    await notify(dialogs[1]!, "active", "second");
    expect(watch.notified.map((each) => [each.dialog, each.cseq, each.document])).toEqual([
      [0, 1, "first"],
      [1, 1, "second"],
    ]);
    answer = () => ({ status: 200 });
    await simulation.finish(watch.refresh(0));
    await notify(dialogs[1]!, "terminated;reason=timeout");
    await simulation.advance(200_000);
    expect(watch.ended).toBe(true);
    expect(dialogs).toHaveLength(2);
  });

  test("tries again a little later where the first SUBSCRIBE is refused", async () => {
    await servers();
    answer = () => ({ status: asked.length === 1 ? 500 : 200 });
    const watch = await simulation.finish(east.watch("bob", "alice@example.com", { again: true }));
    expect(watch.answer?.status).toBe(500);
    await simulation.advance(6_000);
    expect(watch.answer?.status).toBe(200);
  });
});

test("a message is kept with its Call-ID, which every copy of it has", async () => {
  await servers();
  east.hold("alice");
  const headers = [["Content-Type", "text/plain"]] as const;
  await simulation.finish(west.ask({ method: "MESSAGE", from: "bob", to: "alice@example.com", headers, body: "hi" }));
  expect(east.inboxes.get("alice")).toEqual([{ from: "sip:bob@example.com", text: "hi", callId: expect.any(String) }]);
});

describe("documents", () => {
  test("carry the server's name and a number that rises with every change", async () => {
    await servers();
    east.hold("alice");
    const watch = await simulation.finish(west.watch("bob", "alice@example.com"));
    await simulation.advance(100);
    for (const basic of ["open", "closed", "open"] as const) {
      east.show("alice", basic);
      await simulation.advance(100);
    }
    const marks = watch.notified.map((each) => markOf(each.document));
    expect(marks.map((mark) => mark?.server)).toEqual(["east", "east", "east", "east"]);
    expect(marks.map((mark) => mark?.serial)).toEqual([1, 2, 3, 4]);
    expect(watch.notified.map((each) => isOpen(each.document))).toEqual([false, true, false, true]);
    expect(markOf("<presence/>")).toBeUndefined();
  });
});
