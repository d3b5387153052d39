import { afterEach, describe, expect, it } from "vitest";
import type { Tree } from "../../src/federation/facts.ts";
import { requestWithin, uacDialog } from "../../src/sip/dialog/dialog.ts";
import type { HeaderPair } from "../../src/sip/message/build.ts";
import type { SipRequest } from "../../src/sip/message/message.ts";
import { ALICE, partsOf, Unioned } from "../support/unioned.ts";
import { Watcher } from "../support/watcher.ts";
import type { Client, SendOptions } from "../support/world.ts";

/** models.md, "Unioned, hierarchical": a middle node both goes up and fans out; by which listener, or by which credit. */

const NAMES = ["root", "mid", "low", "lower", "leaf"] as const;
const TREE: Tree = { name: "hq", root: "root", children: { root: ["mid", "leaf"], mid: ["low", "lower"] } };
const PROXY = "127.0.0.1";
const DOWN = 5070;
const BOB = "sip:bob@example.com";

let domain: Unioned;
afterEach(() => domain.world.stop());

async function begin(downListener: boolean, proxies = 1): Promise<void> {
  domain = new Unioned();
  await domain.begin({
    names: NAMES,
    tree: TREE,
    proxies,
    each: { mid: { onward: "both" } },
    ...(downListener ? { downPort: DOWN } : {}),
    options: { unions: { trees: [TREE], downListener, unreachable: "wait" } },
  });
}

const mid = (): Client => domain.world.scripted["mid"]!;

/** From a middle node's own user, or as its part of what it was sent. The final status. */
async function send(method: string, port: number, options: SendOptions = {}): Promise<number> {
  return (await sendRequest(asked(method, options), port)).status;
}

function asked(method: string, { body, ...options }: SendOptions): SipRequest {
  const text = method === "MESSAGE" && body !== undefined ? { body } : {};
  return mid().request(method, ALICE, { from: BOB, ...options, ...text });
}

async function sendRequest(request: SipRequest, port: number): Promise<{ status: number; retryAfter?: string }> {
  let status = 0;
  let retryAfter: string | undefined;
  const listen = {
    onResponse: (response: { status: number; header(name: string): string | undefined }) => {
      status = response.status;
      retryAfter = response.header("Retry-After");
    },
    onTimeout: () => undefined,
    onTransportError: () => undefined,
  };
  void mid().stack.send(request, listen, { host: PROXY, port });
  await domain.wait(1_000);
  return { status, ...(retryAfter === undefined ? {} : { retryAfter }) };
}

/** Draft, "Distributed Provisioning": it confirms when those below it have. */
function asksFirst(): void {
  domain.at["mid"]!.policy = () => ({ status: 200, state: "pending" });
}

const got = (method: string): Record<string, number> =>
  Object.fromEntries(NAMES.map((name) => [name, domain.world.scripted[name]!.seen(method).length]));
const WHOLE = { root: 1, mid: 1, low: 0, lower: 0, leaf: 1 };
const BELOW = { root: 0, mid: 0, low: 1, lower: 1, leaf: 0 };

for (const method of ["SUBSCRIBE", "MESSAGE"]) {
  describe(`${method} of a middle node that goes onward, by two listeners`, () => {
    it("up: the whole tree, itself for all below it; down: those below it", async () => {
      await begin(true);
      expect(await send(method, 5060, { body: "up" })).toBe(200);
      expect(got(method)).toEqual(WHOLE);
      await domain.world.stop();
      await begin(true);
      expect(await send(method, DOWN, { body: "down" })).toBe(200);
      expect(got(method)).toEqual(BELOW);
    });

    it("asks the database for no credit: with none there it goes all the same, many times", async () => {
      await begin(true);
      for (const body of ["1", "2", "3"]) expect(await send(method, DOWN, { body })).toBe(200);
      expect(got(method)).toEqual({ ...BELOW, low: 3, lower: 3 });
    });
  });

  describe(`${method} of a middle node that goes onward, by credits`, () => {
    const own = { from: BOB, body: "hello" };

    it("its own user's goes up, and what it is sent for that goes down", async () => {
      await begin(false);
      asksFirst();
      expect(await send(method, 5060, own)).toBe(200);
      expect(got(method)).toEqual(WHOLE);
      expect(await send(method, 5060, own)).toBe(200);
      expect(got(method)).toEqual({ ...WHOLE, low: 1, lower: 1 });
    });

    it("a credit lapses after 32 s: then it is its own user's again", async () => {
      await begin(false);
      expect(await send(method, 5060, own)).toBe(200);
      await domain.wait(33_000);
      expect(await send(method, 5060, own)).toBe(200);
      expect(got(method)).toMatchObject({ low: 0, lower: 0, root: 2 });
    });

    it("with the database away it is 500 with Retry-After: only a credit tells", async () => {
      await begin(false);
      domain.world.database.setAway(true);
      const sent = await sendRequest(asked(method, own), 5060);
      expect(sent).toEqual({ status: 500, retryAfter: "10" });
      expect(got(method)).toEqual({ root: 0, mid: 0, low: 0, lower: 0, leaf: 0 });
      domain.world.database.setAway(false);
    });
  });
}

describe("credits of a leg", () => {
  const watch = async (): Promise<void> => {
    const watcher = new Watcher(domain.world, "127.0.0.50");
    await watcher.subscribe(ALICE, 600, { from: BOB });
    await domain.wait(2_000);
  };

  it.each([
    ["could not be set up", { status: 503 }],
    ["was refused", { status: 404 }],
    ["has confirmed: its server has asked all below it by then", { status: 200 }],
  ] as const)(
    "that %s are taken back: what its server's own user wants goes up, and all are asked",
    async (_, answer) => {
      await begin(false);
      domain.at["mid"]!.policy = () => answer;
      await watch();
      domain.at["mid"]!.policy = () => ({ status: 200 });
      const before = domain.at["root"]!.firsts.length;
      expect(await send("SUBSCRIBE", 5060)).toBe(200);
      expect(domain.at["root"]!.firsts.length).toBe(before + 1);
    },
  );

  /** What mid was told in dialogs that its own SUBSCRIBEs made: the state, and whose elements. */
  const toldMid = (): string[] =>
    mid()
      .seen("NOTIFY")
      .map(
        (notify) =>
          `${notify.header("Subscription-State")!.replace(/;(expires|reason)=/, " ")} ${partsOf(notify.body)}`,
      );

  it.each([
    ["as it is", 0],
    ["also where the database is away when it fails", 3_000],
  ])(
    "whose SUBSCRIBE may never come to its server show nothing: its own user's takes one, waits, and is to ask anew; then all are asked (%s)",
    async (_, awayMs) => {
      await begin(false, 2);
      domain.at["mid"]!.policy = () => ({ status: 0 });
      domain.at["leaf"]!.policy = () => ({ status: 200, state: "pending" });
      await watch();
      const own = mid().beginRequest(asked("SUBSCRIBE", {}), "127.0.0.2");
      await domain.wait(10_000);
      expect(own.final).toBe(200);
      expect(got("SUBSCRIBE")).toMatchObject({ low: 1, lower: 1 });
      expect(toldMid().map((each) => each.split(" ")[0])).toEqual(["pending"]);
      domain.at["mid"]!.policy = () => ({ status: 200 });
      // 64*T1 after it was sent.
      await domain.wait(19_000);
      if (awayMs > 0) domain.world.database.setAway(true);
      await domain.wait(awayMs);
      domain.world.database.setAway(false);
      await domain.wait(5_000);
      expect(toldMid().at(-1)).toBe("terminated deactivated ");
      const before = domain.at["root"]!.firsts.length;
      expect(await send("SUBSCRIBE", 5060)).toBe(200);
      expect(domain.at["root"]!.firsts.length).toBe(before + 1);
      expect(toldMid().filter((each) => each.startsWith("active"))).toEqual([]);
    },
  );

  it("that has confirmed while the database was away are taken back when it is there again", async () => {
    await begin(false);
    asksFirst();
    await watch();
    domain.world.database.setAway(true);
    domain.at["mid"]!.notify(domain.at["mid"]!.live[0]!, "active;expires=600");
    await domain.wait(1_000);
    domain.world.database.setAway(false);
    await domain.wait(1_000);
    const before = domain.at["root"]!.firsts.length;
    expect(await send("SUBSCRIBE", 5060)).toBe(200);
    expect(domain.at["root"]!.firsts.length).toBe(before + 1);
  });

  it("that is not answered yet are there: what its server sends on goes down", async () => {
    await begin(false);
    asksFirst();
    await watch();
    const before = domain.at["root"]!.firsts.length;
    expect(await send("SUBSCRIBE", 5060)).toBe(200);
    expect(domain.at["root"]!.firsts.length).toBe(before);
    expect(got("SUBSCRIBE")).toMatchObject({ low: 1, lower: 1 });
    expect(toldMid().at(-1)).toMatch(/^active \d+ low open,lower open$/);
  });
});

describe("what a middle node has sent on for a leg, and ends while the leg lives", () => {
  /** Sends it on. @returns ends that. */
  async function sendOn(): Promise<() => Promise<void>> {
    const sent = asked("SUBSCRIBE", {});
    const outgoing = mid().beginRequest(sent);
    await domain.wait(1_000);
    const dialog = uacDialog(sent, outgoing.responses.at(-1)!);
    return async () => {
      const contact = `sip:${mid().host}:5060`;
      const headers: HeaderPair[] = [
        ["Event", "presence"],
        ["Expires", "0"],
      ];
      mid().beginRequest(requestWithin(dialog, { method: "SUBSCRIBE", cseq: 2, contact, headers }));
      await domain.wait(1_000);
    };
  }

  it("has it asked anew: at once, and after that not before half a minute has passed, but then", async () => {
    await begin(false);
    asksFirst();
    const watcher = new Watcher(domain.world, "127.0.0.50");
    await watcher.subscribe(ALICE, 600, { from: BOB });
    await domain.wait(1_000);
    const firsts = (): number => domain.at["mid"]!.firsts.length;
    await (await sendOn())();
    expect([firsts(), domain.at["low"]!.live.length]).toEqual([2, 0]);
    await (await sendOn())();
    expect([firsts(), domain.at["low"]!.live.length]).toEqual([2, 0]);
    await domain.wait(32_000);
    expect(firsts()).toBe(3);
    await domain.wait(60_000);
    expect(firsts()).toBe(3);
  });
});

describe("a MESSAGE that passes us twice under the same Call-ID", () => {
  it("up from a middle node and down from it again is no loop (RFC 5393 4.2): the direction is in the hash", async () => {
    await begin(false);
    const request = mid().request("MESSAGE", ALICE, { from: BOB, body: "hello" });
    expect((await sendRequest(request, 5060)).status).toBe(200);
    const back = mid().seen("MESSAGE")[0]!;
    expect(back.callId).toBe(request.callId);
    expect((await sendRequest(back, 5060)).status).toBe(200);
    expect(got("MESSAGE")).toEqual({ ...WHOLE, low: 1, lower: 1 });
    expect(domain.world.proxies[0]!.told.loop).toEqual([]);
  });

  it("the same way a third time is one: 482", async () => {
    await begin(false);
    const request = mid().request("MESSAGE", ALICE, { from: BOB, body: "hello" });
    await sendRequest(request, 5060);
    await sendRequest(mid().seen("MESSAGE")[0]!, 5060);
    const low = domain.world.scripted["low"]!.seen("MESSAGE")[0]!;
    await domain.wait(33_000);
    expect((await sendRequest(low, 5060)).status).toBe(482);
    expect(got("MESSAGE")).toEqual({ ...WHOLE, low: 1, lower: 1 });
  });
});
