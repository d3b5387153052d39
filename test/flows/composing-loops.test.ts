import { afterEach, describe, expect, it } from "vitest";
import type { HeaderPair } from "../../src/sip/message/build.ts";
import type { SipRequest } from "../../src/sip/message/message.ts";
import type { Policy } from "../support/notifier.ts";
import { ALICE, AOR, partsOf, told, Unioned, type UnionedOptions } from "../support/unioned.ts";
import { Watcher } from "../support/watcher.ts";
import type { Outgoing } from "../support/world.ts";

/** models.md, "Unioned, peer": visited servers, 482, chains, second instances. */

const WATCHER = "sip:watcher@example.com";
const PAIR = { watcher: "watcher@example.com", aor: AOR, event: "presence" };
const ONWARD = { onward: "children" } as const;

let domain: Unioned;
let watcher: Watcher;

afterEach(() => domain.world.stop());

async function begin(options: UnionedOptions = {}): Promise<void> {
  domain = new Unioned();
  await domain.begin({ names: ["east", "west", "north"], ...options });
  watcher = new Watcher(domain.world, "127.0.0.50");
}

interface Onward {
  readonly callId?: string;
  readonly fromTag?: string;
  readonly headers?: readonly HeaderPair[];
  readonly expires?: number;
  readonly proxy?: string;
}

let tags = 0;

/** A SUBSCRIBE that a server of the user sends, as a B2BUA unless told otherwise. */
function from(server: string, options: Onward = {}): Outgoing {
  const self = domain.world.scripted[server]!;
  const request = self.request("SUBSCRIBE", ALICE, { from: WATCHER, fromTag: `${server}${++tags}`, ...options });
  return self.beginRequest(request, options.proxy);
}

async function ask(server: string, options: Onward = {}): Promise<Outgoing> {
  const outgoing = from(server, options);
  await domain.world.scripted[server]!.all(outgoing);
  await domain.wait(1_000);
  return outgoing;
}

const firsts = (): Record<string, number> =>
  Object.fromEntries(Object.values(domain.at).map(({ name, firsts }) => [name, firsts.length]));

async function visited(): Promise<string[]> {
  const rows = await domain.world.simulation.finish(domain.world.proxies[0]!.directory.unions.visited(PAIR));
  return rows
    .filter(({ gone }) => !gone)
    .map(({ role, server }) => `${role} ${server ?? "client"}`)
    .sort();
}

/** What a server was sent, as a NOTIFY in the dialog that its own SUBSCRIBE made. */
const notifiesTo = (server: string): SipRequest[] =>
  domain.world.scripted[server]!.requests.filter((request) => request.method === "NOTIFY");

describe("a SUBSCRIBE from one of the user's servers", () => {
  it("goes to the others, each of which is visited; what it is told has nothing of its own", async () => {
    await begin();
    const first = await ask("east");
    expect(first.final).toBe(200);
    expect(firsts()).toEqual({ east: 0, west: 1, north: 1 });
    expect(await visited()).toEqual(["leg north", "leg west", "start east"]);
    expect(partsOf(notifiesTo("east").at(-1)!.body)).toEqual(["north open", "west open"]);
  });

  it("that comes back from a server it was sent to goes to those not yet visited, and where none is left it is 482 with a Warning", async () => {
    await begin({ each: { west: ONWARD } });
    await ask("east");
    const back = await ask("west");
    expect(back.final).toBe(482);
    expect(back.responses.at(-1)!.header("Warning")).toMatch(/^399 example\.com "/);
    expect(firsts()).toEqual({ east: 0, west: 1, north: 1 });
    expect(notifiesTo("west")).toEqual([]);
    const loops = domain.world.proxies[0]!.told.loop!;
    expect(loops.map(({ status }) => status)).toEqual([482]);
  });

  it("and by another proxy of the domain it is 482, too", async () => {
    await begin({ proxies: 2, each: { west: ONWARD } });
    await ask("east");
    expect((await ask("west", { proxy: "127.0.0.2" })).final).toBe(482);
  });

  it("from a server on the chain takes a server that has dropped out of it", async () => {
    await begin({ each: { west: ONWARD } });
    domain.at["north"]!.policy = (): Policy => ({ status: 404 });
    await ask("east");
    expect(await visited()).toEqual(["leg west", "start east"]);
    // What north may have set off is over by then.
    await domain.wait(70_000);
    domain.at["north"]!.policy = (): Policy => ({ status: 200 });
    expect((await ask("west")).final).toBe(200);
    expect(firsts()).toEqual({ east: 0, west: 1, north: 2 });
    expect(partsOf(notifiesTo("west").at(-1)!.body)).toEqual(["north open"]);
  });

  it("a refresh is never a loop (it has a To tag)", async () => {
    await begin({ each: { west: ONWARD } });
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    for (let i = 0; i < 3; i++) expect((await watcher.refresh(600)).status).toBe(200);
    expect(firsts()).toEqual({ east: 1, west: 1, north: 1 });
  });

  it("one server's fetch is looked at for loops as well, and leaves nothing", async () => {
    await begin({ each: { west: ONWARD } });
    await ask("east");
    expect((await ask("west", { expires: 0 })).final).toBe(482);
    // It sends nothing on, so that it asks for a user of its own.
    expect((await ask("north", { expires: 0 })).final).toBe(200);
    expect(partsOf(notifiesTo("north").at(-1)!.body)).toEqual(["east open", "west open"]);
    await domain.wait(60_000);
    expect((await visited()).length).toBe(3);
  });
});

describe("a server of the user that watches", () => {
  it("is to subscribe anew where another has not decided any more: shown closed, it would go on with its own data", async () => {
    await begin();
    await ask("east");
    expect(partsOf(notifiesTo("east").at(-1)!.body)).toEqual(["north open", "west open"]);
    domain.west.notify(domain.west.live[0]!, "pending;expires=600", null);
    await domain.wait(1_000);
    expect(notifiesTo("east").at(-1)!.header("Subscription-State")).toBe("terminated;reason=deactivated");
    expect(notifiesTo("east").at(-1)!.body).toBe("");
  });
});

describe("visited servers", () => {
  it("are free again when the watcher leaves", async () => {
    await begin();
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    expect((await visited()).length).toBe(4);
    await watcher.refresh(0);
    await domain.wait(60_000);
    expect(await visited()).toEqual([]);
    expect((await ask("west")).final).toBe(200);
  });

  it("one that cannot be asked is free meanwhile, and taken again by the next try", async () => {
    await begin();
    domain.west.policy = (): Policy => ({ status: 480 });
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(1_000);
    expect(await visited()).toEqual(["leg east", "leg north", "start client"]);
    domain.west.policy = (): Policy => ({ status: 200 });
    await domain.wait(10_000);
    expect(await visited()).toEqual(["leg east", "leg north", "leg west", "start client"]);
  });

  it("one that another of the chain has taken meanwhile is there by that way; when that ends it is asked again", async () => {
    await begin({ each: { east: ONWARD } });
    domain.west.policy = (): Policy => ({ status: 480 });
    await watcher.subscribe(ALICE, 3600);
    await domain.wait(195_000);
    domain.west.policy = (): Policy => ({ status: 200 });
    const taken = await ask("east", { expires: 600 });
    expect(taken.final).toBe(200);
    await domain.wait(70_000);
    // There by way of east: it is not waited for.
    expect(told(watcher)).toEqual(["pending", "active east open, north open"]);
    const to = notifiesTo("east").at(-1)!;
    const { firstHop, requestWithin, uacDialog } = await import("../../src/sip/dialog/dialog.ts");
    const dialog = uacDialog(taken.request, to);
    expect(firstHop(dialog).host).toBe("127.0.0.1");
    const self = domain.world.scripted["east"]!;
    const leave = requestWithin(dialog, {
      method: "SUBSCRIBE",
      cseq: 2,
      contact: "sip:127.0.0.11:5060",
      headers: [
        ["Event", "presence"],
        ["Expires", "0"],
      ],
    });
    expect(await self.all(self.beginRequest(leave))).toEqual([200]);
    await domain.wait(3_000);
    expect(told(watcher).at(-1)).toBe("active east open, north open, west open");
  });

  it("a server that answers 482 goes on with its own data elsewhere, and is not waited for", async () => {
    await begin();
    domain.west.policy = (): Policy => ({ status: 482 });
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    expect(told(watcher)).toEqual(["pending", "active east open, north open"]);
  });
});

describe("a chain that moves on", () => {
  it("with the From tag of our own leg is the same subscription: it goes to what is left, else 482", async () => {
    await begin({ each: { west: ONWARD } });
    await ask("east");
    const leg = domain.west.firsts[0]!;
    const proxied = await ask("west", { callId: leg.callId, fromTag: leg.from.tag! });
    expect(proxied.final).toBe(482);
  });

  it("with the Session-ID of a chain is that chain, whoever sends it", async () => {
    const each = { west: { ...ONWARD, preserves: ["session-id"] }, north: { preserves: ["session-id"] } } as const;
    await begin({ each });
    await ask("east");
    const session: HeaderPair = ["Session-ID", domain.west.firsts[0]!.header("Session-ID")!];
    expect((await ask("west", { headers: [session] })).final).toBe(482);
    expect((await ask("north", { headers: [session] })).final).toBe(482);
  });
});

describe("a second device of one watcher", () => {
  const session = (digit: string): readonly HeaderPair[] => [
    ["Session-ID", `${digit.repeat(32)};remote=${"0".repeat(32)}`],
  ];
  const preserving = { each: { west: { ...ONWARD, preserves: ["session-id"] as const } } };

  it("at a client gets in as the first did", async () => {
    await begin();
    await watcher.subscribe(ALICE);
    await new Watcher(domain.world, "127.0.0.51").subscribe(ALICE);
    await domain.wait(1_000);
    expect(firsts()).toEqual({ east: 2, west: 2, north: 2 });
  });

  it("of a server that preserves the evidence gets in, once the server has shown that it does", async () => {
    await begin(preserving);
    await watcher.subscribe(ALICE, 600, { headers: session("a") });
    await domain.wait(1_000);
    // It has not been seen to preserve anything.
    expect((await ask("west", { headers: session("b") })).final).toBe(482);
    // What it was sent comes back as it went: a loop, and a proof.
    expect((await ask("west", { headers: session("a") })).final).toBe(482);
    expect((await ask("west", { headers: session("b") })).final).toBe(200);
    expect((await ask("west", { headers: session("b") })).final).toBe(482);
  });

  it.each([
    ["none", 200],
    ["up", 200],
    ["children", 482],
    ["both", 482],
  ] as const)(
    "without evidence, of a server with onward %s: %i, by whether it sends on what it is sent",
    async (onward, status) => {
      await begin({ each: { west: { onward } } });
      expect((await ask("west")).final).toBe(200);
      expect((await ask("west")).final).toBe(status);
      expect(firsts()).toEqual(status === 200 ? { east: 2, west: 0, north: 2 } : { east: 1, west: 0, north: 1 });
    },
  );

  it("of a server that goes onward gets in where nothing was sent that could come back; copies of the first come at once", async () => {
    await begin({ proxies: 2, each: { west: ONWARD } });
    expect((await ask("west")).final).toBe(200);
    expect((await ask("west", { proxy: "127.0.0.2" })).final).toBe(482);
    await domain.wait(4_000);
    expect((await ask("west", { proxy: "127.0.0.2" })).final).toBe(200);
    expect((await ask("west")).final).toBe(482);
    expect(firsts()).toEqual({ east: 2, west: 0, north: 2 });
    await watcher.subscribe(ALICE);
    await domain.wait(6_000);
    expect((await ask("west")).final).toBe(482);
  });

  it("no more than eight of one server's live at once: the ninth is 480, not 482, or he would see that server's own data", async () => {
    await begin({ each: { west: ONWARD } });
    const finals: number[] = [];
    for (let i = 0; i < 9; i++) {
      finals.push((await ask("west")).final);
      await domain.wait(5_000);
    }
    expect(finals).toEqual([...Array.from({ length: 8 }, () => 200), 480]);
  });

  it("a loop through a server that rewrites what it is said to preserve never gets past", async () => {
    await begin(preserving);
    await watcher.subscribe(ALICE, 600, { headers: session("a") });
    await domain.wait(1_000);
    for (const digit of "bcdef") expect((await ask("west", { headers: session(digit) })).final).toBe(482);
    expect(firsts()).toEqual({ east: 1, west: 1, north: 1 });
  });
});

describe("in a tree", () => {
  const tree = { name: "t", root: "east", children: { east: ["west", "north"] } };

  it("a server that sends back what it is asked for does not have him: 404, whether as proxy or under a new Call-ID", async () => {
    await begin({ tree });
    const finals: number[] = [];
    const sendsBack = (asProxy: boolean) => (request: SipRequest) => {
      const own = asProxy ? { callId: request.callId, fromTag: request.from.tag! } : {};
      void from("west", own).done.then((final) => finals.push(final));
    };
    const asProxy = sendsBack(true);
    domain.west.policy = (request): Policy => {
      asProxy(request);
      return { status: 404 };
    };
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    expect(told(watcher)).toEqual(["pending", "active east open, north open"]);
    // One that waits for what becomes of it.
    const underNewCallId = sendsBack(false);
    domain.west.policy = (request): Policy => {
      underNewCallId(request);
      return { status: 0 };
    };
    await new Watcher(domain.world, "127.0.0.51").subscribe(ALICE);
    await domain.wait(100);
    expect(finals).toEqual([404, 404]);
    expect(firsts()).toEqual({ east: 2, west: 2, north: 2 });
  });

  it("a server may fetch as often as it likes, one fetch after the other", async () => {
    await begin({ tree });
    for (let i = 0; i < 20; i++) {
      expect((await ask("west", { expires: 0 })).final).toBe(200);
      expect(partsOf(notifiesTo("west").at(-1)!.body)).toEqual(["east open", "north open", "west open"]);
    }
    domain.at["north"]!.policy = (): Policy => ({ status: 403 });
    const finals: number[] = [];
    for (let i = 0; i < 12; i++) finals.push((await ask("west", { expires: 0 })).final);
    expect(finals.filter((each) => each === 480).length).toBe(4);
  });

  it("and who is turned away for that, and tries again and again, gets in when it is over", async () => {
    await begin({ tree });
    domain.at["north"]!.policy = (): Policy => ({ status: 403 });
    for (let i = 0; i < 8; i++) await ask("west");
    const finals: number[] = [];
    for (let i = 0; i < 35; i++) {
      finals.push((await ask("west")).final);
      await domain.wait(1_000);
    }
    expect([finals[0], finals.filter((each) => each !== 480).length > 0]).toEqual([480, true]);
  });

  it("what is denied at once goes round no more than a few times", async () => {
    await begin({ tree });
    domain.at["north"]!.policy = (): Policy => ({ status: 403 });
    const finals: number[] = [];
    for (let i = 0; i < 12; i++) finals.push((await ask("west")).final);
    expect(finals.filter((each) => each === 480).length).toBe(4);
  });

  it("no more than eight of one watcher come up from one server: the ninth is 480, not 482, or he would see that server's own data", async () => {
    await begin({ tree });
    const finals: number[] = [];
    for (let i = 0; i < 9; i++) finals.push((await ask("west")).final);
    expect(finals).toEqual([...Array.from({ length: 8 }, () => 200), 480]);
  });
});
